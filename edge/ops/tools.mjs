// The tools that are neither npm packages nor part of Rust: compiled once per machine, at pinned versions, into a
// folder that outlives the clone.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { locked } from "./lock.mjs";
import { isCommand, onProjectNode, root } from "./node.mjs";
import { Failure, main, run, step } from "./steps.mjs";

const WASM_TARGET = "wasm32-unknown-unknown";
// Goes with `worker` 0.8 of Cargo.toml; a skew between the two has broken everyone's builds before (workers-rs #808).
const WORKER_BUILD = "0.8.7";

const GECKODRIVER = "0.37.1";

const folder =
  process.env.WINGBEAT_TOOLS ?? join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "wingbeat/tools");

/** Installs what is missing. Returns the environment variables by which the builds find every tool. */
export async function installTools() {
  // The generated glue and the library must be of one version, so Cargo.lock decides.
  const wasmBindgen = lockedVersion("wasm-bindgen");
  await addWasmTarget();
  const [bindgenBin, workerBuildBin] = await Promise.all([
    installTool("wasm-bindgen-cli", wasmBindgen, "wasm-bindgen"),
    installTool("worker-build", WORKER_BUILD, "worker-build"),
  ]);
  const npmTool = (name) => join(root, "node_modules/.bin", name);
  return {
    WORKER_BUILD_BIN: workerBuildBin,
    // Given these three, worker-build downloads nothing.
    WASM_BINDGEN_BIN: bindgenBin,
    WASM_OPT_BIN: npmTool("wasm-opt"),
    ESBUILD_BIN: npmTool("esbuild"),
  };
}

/** Firefox's driver, which is no npm package: returns its path. */
export const installGeckodriver = () => installTool("geckodriver", GECKODRIVER, "geckodriver");

function lockedVersion(name) {
  const lock = readFileSync(join(root, "Cargo.lock"), "utf8");
  const version = new RegExp(`name = "${name}"\\nversion = "([^"]+)"`).exec(lock)?.[1];
  if (!version) throw new Failure(`Cargo.lock holds no ${name}.`);
  return version;
}

async function addWasmTarget() {
  // Asked of rustc, not of rustup: a distribution's Rust has no rustup.
  const libraries = await run("rustc", ["--print", "target-libdir", "--target", WASM_TARGET], { cwd: root }).catch(() => {
    throw new Failure("Rust is missing. Install it with rustup (https://rustup.rs), then start again.");
  });
  if (existsSync(libraries.trim())) return;
  await step(`Adding Rust's target ${WASM_TARGET}`, (progress) =>
    run("rustup", ["target", "add", WASM_TARGET], { cwd: root, progress }),
  );
}

async function installTool(name, version, binary) {
  const home = join(folder, `${name}-${version}`);
  const path = join(home, "bin", binary);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  await locked(`${home}.lock`, async () => {
    if (existsSync(path)) return;
    // Renamed into place when complete: an interrupted installation is never taken for a tool.
    const unfinished = `${home}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    const env = { ...process.env };
    delete env.CARGO_TARGET_DIR;
    await step(`Compiling ${name} ${version} (once per machine, a minute or two)`, (progress) =>
      // A debug build takes a fifth of a release build's time and is fast enough. No `--locked`: it does not resolve.
      run("cargo", ["install", "--debug", "--root", unfinished, `${name}@${version}`], { cwd: root, env, progress }),
    );
    renameSync(unfinished, home);
  });
  return path;
}

if (isCommand(import.meta)) {
  await main(async () => {
    if (await onProjectNode()) await installTools();
  });
}
