// Builds what the runtime serves: `target/www` (tracker and static files) and `edge/build` (the Worker). Each part is built
// again only if a file that it is made of has changed.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { locked } from "./lock.mjs";
import { isCommand, onProjectNode, root } from "./node.mjs";
import { Failure, main, run, step } from "./steps.mjs";
import { installTools } from "./tools.mjs";
import { identify, makeWww } from "./www.mjs";

const stamps = join(root, "target/ops");
const tracker = join(root, "target/tracker/wb.js");
/** What browsers are served: the ASSETS binding of start.mjs and of wrangler.toml. */
export const www = join(root, "target/www");
/** The Worker's modules: `index.js` and the WebAssembly beside it. */
export const worker = join(root, "edge/build");

// Folders of `edge` that the Worker is not made of.
const NOT_COMPILED = ["edge/build/", "edge/ops/", "edge/salesforce/"];

const MODES = { release: "--release", dev: "--dev" };

/** Builds what is out of date. Returns the sizes of the tracker's files and of the Worker, and whether anything was built. */
export async function build() {
  const mode = process.env.WINGBEAT_BUILD || "release";
  if (!MODES[mode]) throw new Failure(`WINGBEAT_BUILD is "${mode}"; it can be: ${Object.keys(MODES).join(", ")}.`);
  const parts = [
    { name: "tracker", inputs: ["tracker"], output: tracker, make: makeTracker },
    { name: "www", inputs: ["tracker", "www", "edge/ops/www.mjs"], output: join(www, "wb.js.br"), make: gatherWww },
    { name: "worker", inputs: ["edge"], output: join(worker, "index.js"), make: (tools) => makeWorker(tools, mode), mode },
  ];
  if (parts.every(isCurrent)) return { built: false, sizes: parts.flatMap((part) => readStamp(part).sizes) };
  return locked(join(stamps, "build.lock"), async () => {
    const tools = await installTools();
    const sizes = [];
    for (const part of parts) {
      if (!isCurrent(part)) {
        // Taken before the build: a file saved during it must count as changed afterwards.
        const hash = hashInputs(part);
        const files = await part.make(tools);
        writeFileSync(stampFile(part), JSON.stringify({ hash, sizes: files.map(measure) }));
      }
      sizes.push(...readStamp(part).sizes);
    }
    return { built: true, sizes };
  });
}

/** Prints the sizes as a table: bytes as they are, by gzip and by brotli. */
export function printSizes(sizes) {
  const row = (cells) => console.log(`  ${cells[0].padEnd(34)}${cells.slice(1).map((cell) => String(cell).padStart(12)).join("")}`);
  row(["size in bytes", "raw", "gzip", "brotli"]);
  for (const { file, raw, gzip, brotli } of sizes) row([file, raw, gzip, brotli]);
}

async function makeTracker(tools) {
  // In a process of its own: it waits for cargo without letting go of the thread, which would silence the progress.
  await step("Building the tracker", (progress) =>
    run(process.execPath, [join(root, "tracker/build.mjs"), tracker], { cwd: root, env: { ...process.env, ...tools }, progress }),
  );
  return [];
}

async function gatherWww() {
  const staged = `${www}.next`;
  rmSync(staged, { recursive: true, force: true });
  const scripts = await makeWww(staged, tracker);
  // File by file, since a running instance holds the folder itself open.
  const made = files(staged);
  for (const file of made) {
    mkdirSync(dirname(join(www, file)), { recursive: true });
    renameSync(join(staged, file), join(www, file));
  }
  const kept = new Set(made);
  for (const file of files(www)) if (!kept.has(file)) rmSync(join(www, file));
  rmSync(staged, { recursive: true });
  return scripts.map((name) => join(www, name));
}

async function makeWorker(tools, mode) {
  await step(`Building the Worker (${mode}; the first time takes some minutes)`, (progress) =>
    run(tools.WORKER_BUILD_BIN, [MODES[mode]], { cwd: join(root, "edge"), env: { ...process.env, ...tools }, progress }),
  );
  const modules = files(worker)
    .filter((file) => file.endsWith(".wasm"))
    .map((file) => join(worker, file));
  // worker-build keeps the names of functions, a seventeenth of what is uploaded: no path of the Worker panics, and only a
  // panic's trace would show them. `npm run build` with WINGBEAT_BUILD=dev keeps them.
  if (mode === "release") {
    for (const module of modules) await run(tools.WASM_OPT_BIN, ["--strip-debug", module, "-o", module], { cwd: root });
  }
  return modules;
}

function measure(path) {
  const bytes = readFileSync(path);
  return {
    file: relative(root, path),
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes).length,
  };
}

const stampFile = ({ name }) => join(stamps, `${name}.json`);

function readStamp(part) {
  try {
    return JSON.parse(readFileSync(stampFile(part), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}

const isCurrent = (part) => existsSync(part.output) && readStamp(part)?.hash === hashInputs(part);

function hashInputs({ inputs, mode }) {
  const hash = createHash("sha256").update(mode ?? "");
  const shared = ["Cargo.toml", "Cargo.lock", "package-lock.json", "edge/ops/build.mjs", "edge/ops/tools.mjs"];
  const below = (folder) => files(join(root, folder)).map((file) => join(folder, file));
  const compiled = (file) => !NOT_COMPILED.some((folder) => file.startsWith(folder));
  const own = inputs.flatMap((input) => (input.endsWith(".mjs") ? [input] : below(input).filter(compiled)));
  for (const file of [...shared, ...own]) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

/** All files below a folder, sorted, as paths relative to it; none if it is not there. */
function files(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

if (isCommand(import.meta)) {
  await main(async () => {
    if (!(await onProjectNode())) return;
    const { sizes } = await build();
    printSizes(sizes);
    const packed = (name) => readFileSync(join(www, `${name}.br`)).length;
    console.log(`\n  A page with bind.js downloads ${packed("wb.js") + packed("bind.js")} bytes, both scripts together.`);
    console.log("\n  To pin this build:");
    for (const name of ["wb.js", "bind.js", "sw.js"]) {
      const { version, integrity } = identify(readFileSync(join(www, name)));
      console.log(`  ${name}?v=${version}\n    integrity="${integrity}"`);
    }
  });
}
