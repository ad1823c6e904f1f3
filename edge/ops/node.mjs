// The npm packages and the project's own Node. A fresh machine needs any Node from 18 on; wrangler needs 22.12, and one
// pinned version for everybody saves surprises, so Node itself is one of the npm packages (`node` in package.json).
import { createHash } from "node:crypto";
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { locked } from "./lock.mjs";
import { run, runInForeground, step } from "./steps.mjs";

/** The project's root folder, without a slash at the end. */
export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Whether the module with this `import.meta` is the command being run, and not imported by one. */
export const isCommand = (meta) => realpathSync(process.argv[1]) === fileURLToPath(meta.url);

const modules = join(root, "node_modules");
const installed = join(modules, ".wingbeat-lock-hash");

/**
 * Installs the npm packages if they are missing or not those of package-lock.json, then makes sure that this command
 * runs on the project's Node: true where it does; otherwise the whole command has been run again on it, and its exit
 * code is ours.
 */
export async function onProjectNode() {
  if (!packagesAreCurrent()) {
    await locked(join(root, "target/ops/packages.lock"), async () => {
      if (!packagesAreCurrent()) await installPackages();
    });
  }
  if (process.versions.node === manifest().devDependencies.node) return true;
  const env = { ...process.env, PATH: [join(modules, ".bin"), process.env.PATH].join(delimiter) };
  // The child must notice when we are killed, as we notice when npm is.
  env.npm_lifecycle_event ??= "node";
  process.exitCode = await runInForeground(join(modules, ".bin/node"), process.argv.slice(1), { env });
  return false;
}

const manifest = () => JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const wanted = () =>
  createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");

function packagesAreCurrent() {
  try {
    return readFileSync(installed, "utf8") === wanted();
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

async function installPackages() {
  // npm runs on the machine's Node: the one in node_modules is about to be replaced.
  const path = process.env.PATH.split(delimiter).filter((folder) => !folder.startsWith(modules));
  const env = { ...process.env, PATH: path.join(delimiter) };
  await step("Installing npm packages", (progress) =>
    // Not `npm ci`: it refuses a lock file that was written where a foreign platform's optional package was not to be
    // had. `--no-save` takes the locked versions and leaves both files as they are.
    run("npm", ["install", "--no-save"], { cwd: root, env, progress }),
  );
  writeFileSync(installed, wanted());
}
