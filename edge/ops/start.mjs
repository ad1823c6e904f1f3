// `npm start`: installs and builds what is missing, then runs the Worker on workerd with durable local state until it is
// stopped. PORT (8787; 0 for any free one) and WINGBEAT_STATE (.wingbeat) let several instances run side by side.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { build, printSizes } from "./build.mjs";
import { tryLock } from "./lock.mjs";
import { onProjectNode, root } from "./node.mjs";
import { claimPort, healthy, startRuntime } from "./runtime.mjs";
import { DEV_VARS, devVars, stateSecrets } from "./secrets.mjs";
import { Failure, main, onEndSignals } from "./steps.mjs";

// What a new state starts with: enough that everything between partitions happens here, too. A state keeps its number.
const PARTITIONS = 4;

await main(async () => {
  if (await onProjectNode()) await start();
});

async function start() {
  const began = Date.now();
  const state = resolve(root, process.env.WINGBEAT_STATE || ".wingbeat");
  const wantedPort = Number(process.env.PORT || 8787);
  if (!Number.isInteger(wantedPort) || wantedPort < 0 || wantedPort > 65_535) {
    throw new Failure(`PORT is "${process.env.PORT}"; it has to be a number from 0 to 65535.`);
  }

  const wantedPartitions = Number(process.env.PARTITIONS || PARTITIONS);
  if (!Number.isInteger(wantedPartitions) || wantedPartitions < 1 || wantedPartitions > 256) {
    throw new Failure(`PARTITIONS is "${process.env.PARTITIONS}"; it has to be a number from 1 to 256.`);
  }

  // Asked before the build, which may take minutes.
  await claimPort(wantedPort);
  // Personal data: for its owner only.
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const holder = tryLock(join(state, "lock"));
  if (holder !== null) {
    throw new Failure(`The state folder ${state} is in use by another instance (process ${holder}).
Stop that one, or start this one with a folder of its own: WINGBEAT_STATE=.wingbeat-2 PORT=${wantedPort + 1} npm start`);
  }

  const { built, sizes } = await build();
  if (built) printSizes(sizes);
  const { created, values } = devVars(root);
  const missing = DEV_VARS.filter((name) => !values[name]);
  if (created) console.log("• Made .dev.vars with random secrets");
  if (missing.length > 0) console.log(`! .dev.vars has no ${missing.join(", ")}: what needs it answers 503.`);

  const variables = {
    ...values,
    // Empty: as a deployment that has lost it.
    ...(process.env.CURRENTS_TOKEN !== undefined && { CURRENTS_TOKEN: process.env.CURRENTS_TOKEN }),
    DEPLOYMENT_KEY: stateSecrets(state).DEPLOYMENT_KEY,
    PARTITIONS: String(wantedPartitions),
    ...(process.env.INTERNAL_PEOPLE && { INTERNAL_PEOPLE: process.env.INTERNAL_PEOPLE }),
    ...(process.env.BLOCKED_IDENTIFIERS && { BLOCKED_IDENTIFIERS: process.env.BLOCKED_IDENTIFIERS }),
    ...(process.env.CURRENTS_TOKENS && { CURRENTS_TOKENS: process.env.CURRENTS_TOKENS }),
    ...(process.env.USER_DELETE_REQUESTS && { USER_DELETE_REQUESTS: process.env.USER_DELETE_REQUESTS }),
    // Demo pages and connections to loopback hosts, which a deployment does not have.
    WINGBEAT_DEMO: "1",
    ...(process.env.PUBLIC_URL && { PUBLIC_URL: process.env.PUBLIC_URL }),
  };
  const { port, addresses } = await claimPort(wantedPort);
  const runtime = startRuntime({ state, addresses, variables });
  const about = join(state, "runtime.json");
  writeFileSync(about, JSON.stringify({ pid: runtime.pid, port }));

  let stopping = false;
  onEndSignals(async () => {
    if (stopping) return;
    stopping = true;
    await runtime.stop();
    rmSync(about, { force: true });
    process.exit(0);
  });
  try {
    const { version, partitions } = await healthy(port, runtime.ended);
    banner({ version, partitions, state: shown(state), port, seconds: (Date.now() - began) / 1000 });
  } catch (error) {
    if (stopping) return;
    await runtime.stop();
    throw error;
  }
  const how = await runtime.ended;
  if (!stopping) throw new Failure(`The runtime has ended (${how}). What was acknowledged is in ${state}; start again to go on.`);
}

/** A folder as the reader would write it: from the project's root if it is below it. */
function shown(folder) {
  const path = relative(root, folder);
  return path.startsWith("..") ? folder : path;
}

function banner({ version, partitions, state, port, seconds }) {
  const base = (process.env.PUBLIC_URL || `http://localhost:${port}`).replace(/\/$/, "");
  const objects = partitions === 1 ? "1 partition" : `${partitions} partitions`;
  console.log(`
Wingbeat ${version} is running (state in ${state}/, ${objects}, ready after ${seconds.toFixed(1)} s)

  Demo shop   ${base}/demo/
  API         ${base}/api/   token: ADMIN_TOKEN in .dev.vars
  Currents    ${base}/api/braze/currents/events   token: CURRENTS_TOKEN in .dev.vars

  Nothing leaves this machine.   Stop: Ctrl+C
`);
}
