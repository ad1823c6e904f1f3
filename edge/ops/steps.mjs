// Steps that take a while: run a program quietly, say how long it has been at it, show what it wrote only if it failed.
// Runs on Node 18, before the project's own Node is installed.
import { spawn } from "node:child_process";
import { constants } from "node:os";

const PROGRESS_EVERY_MS = 15_000;
// Enough to hold a compiler's last errors; the beginning of a long build log is of no use.
const OUTPUT_KEPT = 40_000;

/** A failure whose message is meant for the reader as it stands: no stack is printed. */
export class Failure extends Error {}

/** Runs `work`, telling the reader that it began, that it is still going on, and how long it took. */
export async function step(name, work) {
  const started = Date.now();
  const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
  const progress = { last: "" };
  console.log(`• ${name}`);
  const timer = setInterval(() => console.log(`  … ${seconds()}  ${progress.last}`), PROGRESS_EVERY_MS);
  try {
    const result = await work(progress);
    console.log(`✓ ${name} (${seconds()})`);
    return result;
  } catch (error) {
    console.log(`✗ ${name} (${seconds()})`);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Runs a program to its end and returns what it wrote. `progress.last` follows its last line.
 * It gets a process group of its own, so that ending us ends it with all its children (cargo's compilers).
 */
export function run(command, args, { cwd, env = process.env, progress } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    const take = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_KEPT);
      if (progress) progress.last = output.trimEnd().split("\n").pop().trim().slice(0, 100);
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    const release = onEndSignals((signal) => {
      process.kill(-child.pid, signal);
      // Not at once: other programs may be running beside this one and have to hear of it too.
      setImmediate(() => process.exit(128 + constants.signals[signal]));
    });
    child.on("error", (error) => {
      release();
      const missing = error.code === "ENOENT" && `\`${command}\` is not installed or not on the PATH.`;
      reject(new Failure(missing || `${command}: ${error.message}`));
    });
    child.on("close", (code, signal) => {
      release();
      if (code === 0) resolve(output);
      else reject(new Failure(`${output}\n\`${command} ${args.join(" ")}\` failed (${signal ?? `exit code ${code}`}).`));
    });
  });
}

/**
 * Runs a program with our own input and output. Resolves to its exit code, passing signals on to it. `heard` gets what it
 * writes, too, which then is a pipe to it and no terminal.
 */
export function runInForeground(command, args, { cwd, env = process.env, heard } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ["inherit", heard ? "pipe" : "inherit", "inherit"] });
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      process.stdout.write(text);
      heard(text);
    });
    const release = onEndSignals((signal) => child.kill(signal));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      release();
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

const firstParent = process.ppid;

/**
 * Calls `end` with the signal that asks this process to stop: Ctrl+C, SIGTERM, a closed terminal, or, where npm or
 * another script of ours started us, the death of that parent, which nothing else would tell us about. (npm itself is
 * our parent, and not a shell in between, because the scripts in package.json begin with `exec`.)
 * Returns the function that stops listening.
 */
export function onEndSignals(end) {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, end);
  const orphaned = () => process.ppid !== firstParent && end("SIGTERM");
  const watch = process.env.npm_lifecycle_event && setInterval(orphaned, 250).unref();
  return () => {
    clearInterval(watch);
    for (const signal of signals) process.off(signal, end);
  };
}

/** Runs a command's main function; a `Failure` is printed as it stands and ends the process with code 1. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    console.error(error instanceof Failure ? `\n${error.message}` : error);
    process.exit(1);
  }
}
