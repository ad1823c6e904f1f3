// Locks between commands that run at the same time: several `npm start` side by side share tools, builds and packages.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Takes the lock file if nobody alive holds it. Returns null when taken, else the process id of the holder. */
export function tryLock(file) {
  mkdirSync(dirname(file), { recursive: true });
  const own = `${file}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    for (;;) {
      try {
        // A link appears with its content or not at all, so that nobody ever reads a lock without a holder.
        linkSync(own, file);
        process.once("exit", () => unlock(file));
        return null;
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
      const holder = readHolder(file);
      if (holder !== null && isCommandOfOurs(holder)) return holder;
      // Moved away first: of two that find the same dead holder, one moves it and the other starts over.
      const dead = `${own}.dead`;
      try {
        renameSync(file, dead);
        rmSync(dead);
      } catch (error) {
        if (error.code !== "ENOENT") throw error;
      }
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** Gives the lock back, if it is ours. */
export function unlock(file) {
  if (readHolder(file) === process.pid) rmSync(file, { force: true });
}

/** Runs `work` while holding the lock, waiting for whoever holds it now. */
export async function locked(file, work) {
  for (let told = false, holder; (holder = tryLock(file)) !== null; told = true) {
    if (!told) console.log(`  waiting for process ${holder}, which is doing the same (${file})`);
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    unlock(file);
  }
}

function readHolder(file) {
  try {
    return Number(readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}

/** Process ids are used again after a reboot: where the system tells a process's command line, it must be one of ours. */
function isCommandOfOurs(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("edge/ops/");
  } catch {
    return true;
  }
}
