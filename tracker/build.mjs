// Builds the tracker into one file, `wb.js`: the crate as WebAssembly, what wasm-bindgen makes to call it, and
// `src/host.js`, which loads it. `node tracker/build.mjs [out]`, or `buildTracker({ out })`.
//
// The bytes of the module stand in a string of the characters 0 to 255. In UTF-8 brotli packs that nearly as well as
// the bytes themselves, and much better than base64, which hides where bytes begin. The file begins with a byte order
// mark, so that it is read as UTF-8 whatever the page or the server says.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

const crate = dirname(fileURLToPath(import.meta.url));
const root = dirname(crate);
const host = join(crate, 'src/host.js');
const target = 'wasm32-unknown-unknown';

export async function buildTracker({ out }) {
  const targetDir = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target');
  const work = join(targetDir, 'wb');
  compile(targetDir, work);
  const names = optimise(join(work, 'wingbeat_tracker_bg.wasm'), join(work, 'wb.wasm'));
  const wasm = readFileSync(join(work, 'wb.wasm'));
  const glue = readFileSync(join(work, 'wingbeat_tracker_bg.js'), 'utf8')
    .replace(/\bwasm\.(\w+)/g, (_, name) => `wasm.${names.exports.get(name)}`);
  const members = names.imports.map(([, name, short]) => `${short}: glue.${name}`);

  const modules = {
    'wingbeat:glue': glue,
    'wingbeat:wasm': `
      export const bytes = () => Uint8Array.from(WASM, (c) => c.charCodeAt());
      import * as glue from 'wingbeat:glue';
      export const imports = { a: { ${members} } };
      export const init = (exports) => { glue.__wbg_set_wasm(exports); exports.${names.exports.get('__wbindgen_start')}(); };`,
  };
  const { outputFiles } = await build({
    entryPoints: [host],
    bundle: true,
    minify: true,
    format: 'iife',
    charset: 'utf8',
    // The first browsers with all that wasm-bindgen's code needs (reference types).
    target: ['chrome96', 'firefox79', 'safari15'],
    write: false,
    plugins: [{
      name: 'wingbeat',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^wingbeat:/ }, ({ path }) => ({ path, namespace: 'wingbeat' }));
        // wasm-bindgen copies host.js; there must be only one.
        onResolve({ filter: /^\.\/snippets\/.*\/host\.js$/ }, () => ({ path: host }));
        onLoad({ filter: /.*/, namespace: 'wingbeat' }, ({ path }) => ({ contents: modules[path] }));
      },
    }],
  });
  const glueAndHost = outputFiles[0].text;
  const script = Buffer.from(`\ufeff${glueAndHost.replace('WASM', () => literal(wasm))}`);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, script);
  return {
    'wb.js': sizes(script),
    'of it wasm': sizes(wasm),
    'of it script': sizes(Buffer.from(glueAndHost)),
  };
}

/** Cargo, then wasm-bindgen. Never with `strip`: wasm-bindgen reads a section that it drops (workers-rs #1014). */
function compile(targetDir, work) {
  // 64 KiB of stack instead of 1 MiB: a page's memory is not ours.
  execFileSync(
    'cargo',
    ['rustc', '--locked', '-p', 'wingbeat-tracker', '--lib', '--crate-type', 'cdylib', '--profile', 'tracker',
      '--target', target, '--', '-Clink-arg=-zstack-size=65536'],
    { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, CARGO_TARGET_DIR: targetDir } },
  );
  execFileSync(
    process.env.WASM_BINDGEN_BIN ?? 'wasm-bindgen',
    ['--target', 'bundler', '--no-typescript', '--remove-name-section', '--remove-producers-section',
      '--out-dir', work, join(targetDir, target, 'tracker/wingbeat_tracker.wasm')],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
}

/** wasm-opt; at last it shortens the names of imports and exports and prints as JSON which became which. */
function optimise(from, to) {
  const wasmOpt = join(dirname(createRequire(import.meta.url).resolve('binaryen')), 'bin/wasm-opt');
  const run = (...args) => execFileSync(process.execPath, [wasmOpt, '-o', to, ...args]).toString();
  run(from, '-Oz', '--converge', '--strip-debug');
  const { imports, exports } = JSON.parse(run(to, '--minify-imports-and-exports-and-modules', '--strip-target-features'));
  return { imports, exports: new Map(exports) };
}

/** As little as a template literal must have escaped; esbuild would escape more. */
const literal = (bytes) => `\`${bytes.toString('latin1').replace(/[\\`]|\$\{/g, '\\$&').replaceAll('\r', '\\r')}\``;

const sizes = (buffer) => ({
  raw: buffer.length,
  brotli: brotliCompressSync(buffer, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length,
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = resolve(process.argv[2] ?? join(root, 'www/wb.js'));
  console.table(await buildTracker({ out }));
}
