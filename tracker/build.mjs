// Builds the tracker into one file, `wb.js`: the crate as WebAssembly, what wasm-bindgen makes to call it, and
// `src/host.js`, which loads it. `node tracker/build.mjs [out]`, or `buildTracker({ out })`.
//
// Needs cargo, wasm-bindgen (`WASM_BINDGEN_BIN`, else on the PATH) of the version in Cargo.lock, and the npm packages
// esbuild and binaryen. Honours `CARGO_TARGET_DIR`.
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
const targetDir = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target');

/** Builds the tracker into the file `out`; returns the sizes in bytes of it and of its two halves. */
export async function buildTracker({ out }) {
  const work = join(targetDir, 'wb');
  compile(work);
  const { wasm, imports, exports } = optimise(join(work, 'wingbeat_tracker_bg.wasm'), join(work, 'wb.wasm'));
  const glue = readFileSync(join(work, 'wingbeat_tracker_bg.js'), 'utf8');
  const script = await bundle({
    'wingbeat:glue': glue.replace(/\bwasm\.(\w+)/g, (_, name) => `wasm.${exports.get(name)}`),
    'wingbeat:wasm': `
      import * as glue from 'wingbeat:glue';
      export const bytes = () => Uint8Array.from(WASM_BYTES, (c) => c.charCodeAt());
      export const imports = { a: { ${imports.map(([, name, short]) => `${short}: glue.${name}`)} } };
      export const init = (exports) => {
        glue.__wbg_set_wasm(exports);
        exports.${exports.get('__wbindgen_start')}();
      };`,
  });
  // The byte order mark makes it UTF-8, whatever the page or the server says.
  const file = Buffer.from(`\ufeff${script.replace('WASM_BYTES', () => literal(wasm))}`);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, file);
  return { file: sizes(file), wasm: sizes(wasm), script: sizes(Buffer.from(script)) };
}

/** esbuild, with the modules that only exist here. */
async function bundle(modules) {
  const { outputFiles } = await build({
    entryPoints: [host],
    bundle: true,
    minify: true,
    format: 'iife',
    // The first browsers with all that wasm-bindgen's code needs (reference types).
    target: ['chrome96', 'firefox79', 'safari15'],
    write: false,
    plugins: [{
      name: 'wingbeat',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^wingbeat:/ }, ({ path }) => ({ path, namespace: 'wingbeat' }));
        onLoad({ filter: /.*/, namespace: 'wingbeat' }, ({ path }) => ({ contents: modules[path] }));
        // wasm-bindgen copies host.js; there must be only one.
        onResolve({ filter: /^\.\/snippets\/.*\/host\.js$/ }, () => ({ path: host }));
      },
    }],
  });
  return outputFiles[0].text;
}

/** Cargo, then wasm-bindgen. Never with `strip`: wasm-bindgen reads a section that it drops (workers-rs #1014). */
function compile(work) {
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
  return { wasm: readFileSync(to), imports, exports: new Map(exports) };
}

/**
 * The bytes as a template literal of the characters 0 to 255, with as little escaped as must be (esbuild escapes more).
 * In UTF-8 brotli packs that nearly as well as the bytes themselves; base64 hides where bytes begin and costs a quarter.
 */
const literal = (bytes) => `\`${bytes.toString('latin1').replace(/[\\`]|\$\{/g, '\\$&').replaceAll('\r', '\\r')}\``;

const sizes = (buffer) => ({
  raw: buffer.length,
  brotli: brotliCompressSync(buffer, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length,
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = resolve(process.argv[2] ?? join(targetDir, 'wb/wb.js'));
  console.table(await buildTracker({ out }));
}
