// Builds the tracker into one file, `wb.js`: the crate as WebAssembly, `src/border.js` to call it, and `src/host.js`,
// which loads it. `node tracker/build.mjs [out]`, or `buildTracker({ out })`.
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
import UglifyJS from 'uglify-js';

const crate = dirname(fileURLToPath(import.meta.url));
const root = dirname(crate);
const host = join(crate, 'src/host.js');
const target = 'wasm32-unknown-unknown';
const targetDir = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target');

/** Everything that a browser downloads (DESIGN, section 5). */
const BROTLI_MAX = 10_000;

/**
 * Orders of wasm-opt's passes. Which comes out smallest changes with every line of the code, by half a percent.
 */
const RECIPES = [
  ['-Oz', '--converge', '--reorder-locals'],
  ['-Oz', '--flatten', '--rereloop', '-Oz', '--converge', '--reorder-locals', '--reorder-functions'],
  ['-Oz', '--flatten', '--rereloop', '-Oz', '-Oz', '--flatten', '--rereloop', '-Oz', '--converge', '--reorder-locals'],
  ['-Oz', '--flatten', '--rereloop', '-Oz', '-Oz', '--flatten', '--rereloop', '-Oz', '--converge',
    '--merge-similar-functions', '-Oz', '--reorder-locals', '--reorder-functions'],
  ['-Oz', '--flatten', '--rereloop', '-Oz', '--merge-similar-functions', '-Oz', '--converge', '--reorder-locals'],
];

/** Steps of UglifyJS's without which the script may pack smaller: that changes with every line, too. */
const STEPS = [
  'varify', 'side_effects', 'arrows', 'join_vars', 'if_return', 'collapse_vars', 'merge_vars', 'evaluate', 'sequences',
  'booleans', 'comparisons', 'conditionals', 'loops', 'properties', 'reduce_vars', 'inline', 'dead_code', 'typeofs', 'switches', 'unused', 'hoist_props', 'templates',
];

/** How the script gets at the WebAssembly: as text within it, or as a file beside it. Measured: `npm run bench`. */
const WITHIN = 'export const source = () => WebAssembly.instantiate(Uint8Array.from(WB, (c) => c.charCodeAt()), imports());';
const BESIDE = (name) => `
  import { script } from ${JSON.stringify(join(crate, 'src/site.js'))};
  const file = fetch(new URL('${name}', script.src));
  export const source = () => WebAssembly.instantiateStreaming(file, imports());`;

/**
 * Builds the tracker into the file `out`; returns the sizes in bytes of it and of its two halves. With `beside` the
 * WebAssembly is a file of that name beside it.
 */
export async function buildTracker({ out, beside }) {
  const work = join(targetDir, 'wb');
  compile(work);
  const pack = (wasm, bundled, without) => {
    const script = minify(bundled, without);
    // The byte order mark makes it UTF-8, whatever the page or the server says. As the argument of a function the
    // WebAssembly stands behind the script: mixed into it, both pack worse. Which of the two ways of catching what the
    // page must not notice packs better changes, too.
    const argument = beside ? '' : literal(wasm);
    const texts = [`(WB=>{try{${script}}catch{}})(${argument});`, `try{(WB=>{${script}})(${argument})}catch{}`];
    const files = texts.map((text) => Buffer.from(`\ufeff${text}`));
    return files.map((file) => ({ file, size: sizes(file), wasm, bundled, without, script })).reduce(smaller);
  };
  const improve = (found) =>
    STEPS.reduce((best, step) => smaller(best, pack(best.wasm, best.bundled, [...best.without, step])), found);
  let best;
  for (const recipe of RECIPES) {
    const { wasm, imports, exports } = optimise(join(work, 'wingbeat_tracker_bg.wasm'), join(work, 'wb.wasm'), recipe);
    const bundled = await bundle(new Map(exports), {
      'wingbeat:wasm': `
        import * as host from ${JSON.stringify(host)};
        const imports = () => ({ a: { ${imports.map(([, name, short]) => `${short}: ${provider(name)}`)} } });
        ${beside ? BESIDE(beside) : WITHIN}`,
    });
    // Not of the smallest alone: what packs well with the script is another matter.
    const found = improve(pack(wasm, bundled, []));
    best = best ? smaller(best, found) : found;
  }
  best = improve(best);
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, best.file);
  if (beside) writeFileSync(join(dirname(out), beside), best.wasm);
  if (best.size.brotli > BROTLI_MAX) throw new Error(`wb.js has ${best.size.brotli} bytes of brotli, over ${BROTLI_MAX}`);
  return { file: best.size, wasm: sizes(best.wasm), script: sizes(Buffer.from(best.script)) };
}

/** Who provides an import: `__wbg_post_f7072b415c059caf` is `post` of host.js, and so is `now`, which needs no conversion. */
const provider = (name) => `host.${name.replace(/^__wbg_(\w+)_[\da-f]{16}$/, '$1')}`;

/** esbuild, with the modules that only exist here. */
async function bundle(exports, modules) {
  const { outputFiles } = await build({
    entryPoints: [host],
    bundle: true,
    format: 'iife',
    // The first browsers with all that the code needs: non-trapping conversions, bulk memory, `at`.
    target: ['chrome96', 'firefox79', 'safari15'],
    write: false,
    // Numbers in place of their names.
    minifySyntax: true,
    plugins: [{
      name: 'wingbeat',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^wingbeat:/ }, ({ path }) => ({ path, namespace: 'wingbeat' }));
        onLoad({ filter: /.*/, namespace: 'wingbeat' }, ({ path }) => ({ contents: modules[path], resolveDir: crate }));
        onLoad({ filter: /(border|host)\.js$/ }, ({ path }) => ({
          contents: readFileSync(path, 'utf8')
            .replace(/\bwasm\.(\w+)/g, (_, name) => `wasm.${exports.get(name)}`)
            .replace(/\bcall\('(\w+)'/g, (_, name) => `call('${exports.get(name)}'`),
        }));
      },
    }],
  });
  // Without the function that esbuild puts around it.
  const [, body] = outputFiles[0].text.match(/\(\(\) => \{(.*)\}\)\(\);\s*$/s);
  return body;
}

/** UglifyJS, after esbuild: what that makes packs smaller by a fortieth. */
function minify(script, without) {
  const left = Object.fromEntries(without.map((step) => [step, false]));
  const { code, error } = UglifyJS.minify(script, { toplevel: true, compress: { passes: 3, ...left } });
  if (error) throw error;
  return code;
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

/**
 * Drops the exports that border.js does not use, optimises, and at last shortens the names of imports and exports;
 * returns which became which.
 */
function optimise(from, to, recipe) {
  const bin = join(dirname(createRequire(import.meta.url).resolve('binaryen')), 'bin');
  const run = (tool, ...args) => execFileSync(process.execPath, [join(bin, tool), '-o', to, ...args]).toString();
  const used = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(from)))
    .map(({ name }) => name)
    .filter((name) => !name.startsWith('__') || name === '__wbindgen_malloc');
  const graph = `${to}.json`;
  writeFileSync(graph, JSON.stringify([
    { name: 'border.js', root: true, reaches: used },
    ...used.map((name) => ({ name, export: name })),
  ]));
  // What a function of wasm-bindgen's would say that is not among them.
  const bytes = readFileSync(from);
  const unsaid = 'closure invoked recursively or after being dropped';
  const place = bytes.indexOf(unsaid);
  if (place >= 0) bytes.fill(0, place, place + unsaid.length);
  writeFileSync(to, bytes);
  run('wasm-metadce', to, '--graph-file', graph);
  run('wasm-opt', to, ...recipe, '--strip-debug');
  const { imports, exports } = JSON.parse(
    run('wasm-opt', to, '--minify-imports-and-exports-and-modules', '--strip-target-features'),
  );
  return { wasm: readFileSync(to), imports, exports };
}

/**
 * The bytes as a template literal of the characters 0 to 255, with as little escaped as must be (esbuild escapes more).
 * In UTF-8 brotli packs that nearly as well as the bytes themselves; base64 hides where bytes begin and costs a quarter.
 */
const literal = (bytes) => `\`${bytes.toString('latin1').replace(/[\\`]|\$\{/g, '\\$&').replaceAll('\r', '\\r')}\``;

const smaller = (one, other) => (other.size.brotli < one.size.brotli ? other : one);

const sizes = (buffer) => ({
  raw: buffer.length,
  brotli: brotliCompressSync(buffer, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length,
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = resolve(process.argv[2] ?? join(targetDir, 'wb/wb.js'));
  console.table(await buildTracker({ out }));
}
