// One workerd process with its configuration: the Worker, its Durable Objects on disk, the static files.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { worker, www } from "./build.mjs";
import { root } from "./node.mjs";
import { Failure } from "./steps.mjs";

// A start touches every object, and recovering thousands of them from a crash takes a while.
const READY_WITHIN_MS = 60_000;
// Requests under way may end; then the runtime is killed, which loses nothing that was acknowledged.
const DRAIN_MS = 3_000;

/**
 * Finds out on which loopback addresses the port is free: both families, since `localhost` may mean either, or only
 * IPv4 on a machine without IPv6. Port 0 means any free one.
 */
export async function claimPort(port) {
  const v4 = await probe(port, "127.0.0.1");
  const addresses = [`127.0.0.1:${v4}`];
  try {
    await probe(v4, "::1");
    addresses.push(`[::1]:${v4}`);
  } catch (error) {
    if (!["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(error.code)) throw error;
  }
  return { port: v4, addresses };
}

function probe(port, host) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      const inUse = new Failure(`Port ${port} is in use by another program. Choose another one: PORT=${port + 1} npm start`);
      reject(error.code === "EADDRINUSE" ? inUse : error);
    });
    server.listen({ port, host, exclusive: true }, () => {
      const { port: bound } = server.address();
      server.close(() => resolve(bound));
    });
  });
}

/**
 * Starts workerd on the state folder. `variables` become the Worker's text bindings.
 * Returns the child process and `stop()`, which ends it and resolves when it has ended.
 */
export function startRuntime({ state, addresses, variables }) {
  mkdirSync(join(state, "objects"), { recursive: true });
  const config = join(state, "workerd.capnp");
  writeFileSync(config, configuration({ state, addresses, names: Object.keys(variables) }));
  const binary = join(root, "node_modules/workerd/bin/workerd");
  // In a group of its own: Ctrl+C reaches every process of the terminal's group, and ending the runtime is up to us.
  const child = spawn(binary, ["serve", `--import-path=${root}`, config], {
    env: variables,
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`)));
  const guard = guardAgainstOurDeath(child.pid);
  ended.then(() => guard.kill());
  const stop = async () => {
    child.kill("SIGTERM");
    const kill = setTimeout(() => child.kill("SIGKILL"), DRAIN_MS);
    await ended;
    clearTimeout(kill);
  };
  return { pid: child.pid, ended, stop };
}

/** Ends the runtime if we are killed and can't: the kernel then closes our end of this pipe, and the guard reads its end. */
function guardAgainstOurDeath(pid) {
  return spawn("/bin/sh", ["-c", 'cat >/dev/null; kill -KILL "$0"', String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
}

/** Waits until the Worker answers `GET /healthz` and returns its answer. */
export async function healthy(port, ended) {
  let died = null;
  ended.then((how) => (died = how));
  let last = "no answer";
  for (const until = Date.now() + READY_WITHIN_MS; Date.now() < until; await sleep(50)) {
    if (died !== null) throw new Failure(`The runtime did not start (${died}); what it wrote is above.`);
    try {
      const response = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(READY_WITHIN_MS) });
      if (response.ok) return await response.json();
      last = `${response.status} ${(await response.text()).slice(0, 500)}`;
    } catch (error) {
      last = error.cause?.message ?? error.message;
    }
  }
  throw new Failure(`GET /healthz is not answered with 200 after ${READY_WITHIN_MS / 1000} s. The last answer: ${last}`);
}

/** The compatibility date of the deployment, so that both run the same semantics. */
function compatibilityDate() {
  const date = /^compatibility_date = "([0-9-]+)"/m.exec(readFileSync(join(root, "wrangler.toml"), "utf8"))?.[1];
  if (!date) throw new Failure("wrangler.toml has no compatibility_date.");
  return date;
}

function configuration({ state, addresses, names }) {
  const fromRoot = (path) => text(`/${relative(root, path)}`);
  const wasm = readdirSync(worker).filter((file) => file.endsWith(".wasm"));
  const modules = [
    `(name = "index.js", esModule = embed ${fromRoot(join(worker, "index.js"))})`,
    ...wasm.map((file) => `(name = ${text(file)}, wasm = embed ${fromRoot(join(worker, file))})`),
  ];
  const sockets = addresses.map(
    (address, index) => `(name = "http${index}", address = ${text(address)}, http = (), service = "worker")`,
  );
  // Values stay out of this file: workerd takes them from its environment, which only its owner can read.
  const variables = names.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`);
  return `# Written by npm start at every start.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "objects", disk = (path = ${text(join(state, "objects"))}, writable = true)),
    # A bare disk: every file is an octet stream, a folder answers with a listing in JSON, and only GET and HEAD of exact
    # file names mean anything. Content types, index pages and page addresses are the Worker's business; wrangler.toml
    # gives it the same binding with the deployment's static assets behind it, told to be just as literal.
    (name = "assets", disk = (path = ${text(www)})),
    # Loopback and private networks too, unlike workerd's default: local stand-ins for Braze and Salesforce are there.
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [
    ${sockets.join(",\n    ")},
  ],
);

const worker :Workerd.Worker = (
  compatibilityDate = ${text(compatibilityDate())},
  modules = [
    ${modules.join(",\n    ")},
  ],
  # The unique keys name the folders of the objects and go into their ids: never change them.
  durableObjectNamespaces = [
    (className = "Partition", uniqueKey = "wingbeat-partition", enableSql = true),
    (className = "Registry", uniqueKey = "wingbeat-registry", enableSql = true),
    (className = "Destination", uniqueKey = "wingbeat-destination", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "PARTITION", durableObjectNamespace = "Partition"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "DESTINATION", durableObjectNamespace = "Destination"),
    (name = "ASSETS", service = "assets"),
    ${variables.join(",\n    ")},
  ],
);
`;
}

// Cap'n Proto's text literals have C's escapes, which JSON's are for every character that a path or an address holds.
const text = (value) => JSON.stringify(value);
