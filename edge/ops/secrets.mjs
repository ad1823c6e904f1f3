// The secrets of a local instance. What a person needs to know is in `.dev.vars` (wrangler reads it too); what only the
// Worker needs lives in the state folder, beside the data that it belongs to.
import { randomBytes } from "node:crypto";
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
// As a whole: Node 18, which only starts the project's own Node, has no `parseEnv` to import by name.
import util from "node:util";
import { Failure } from "./steps.mjs";

/** Names of `.dev.vars` that reach the Worker. */
export const DEV_VARS = ["ADMIN_TOKEN", "CURRENTS_TOKEN", "SITE_KEY"];

// base64url is a subset of the characters that RFC 6750 (2.1) allows in a bearer token.
const token = (bytes) => randomBytes(bytes).toString("base64url");

/** Reads `.dev.vars`, writing one with random values if there is none. */
export function devVars(root) {
  const file = join(root, ".dev.vars");
  const text = `# Secrets of local instances; not part of the repository. Made by \`npm start\`.
ADMIN_TOKEN="${token(32)}"
CURRENTS_TOKEN="${token(32)}"
# Public: it stands in the pages that carry the tracker.
SITE_KEY="${token(12)}"
`;
  const created = createOnce(file, text);
  const all = util.parseEnv(readFileSync(file, "utf8"));
  return { created, values: Object.fromEntries(DEV_VARS.filter((name) => all[name]).map((name) => [name, all[name]])) };
}

/**
 * Reads the secrets of the state folder, making them on its first start. The deployment key never changes after: slots
 * and ids are computed with it, so data and key belong together.
 */
export function stateSecrets(state) {
  const file = join(state, "secrets.json");
  if (!existsSync(file) && existsSync(join(state, "objects"))) {
    throw new Failure(`${file} is gone, but there is data in ${state} that needs its key.
Bring the file back from a backup, or remove the folder to begin anew.`);
  }
  createOnce(file, `${JSON.stringify({ DEPLOYMENT_KEY: randomBytes(32).toString("hex") }, null, 2)}\n`);
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Creates a file that only its owner may read, complete or not at all; leaves one that is there as it is. */
function createOnce(file, text) {
  if (existsSync(file)) return false;
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600 });
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft);
  }
}
