// What does an event cost from the moment it reaches the runtime until it is durable? Wingbeat against the bare platform: a
// JavaScript Worker whose Durable Object does one INSERT per request, with one object for all and with one per person.
//
// All contenders run on one workerd each, on one disk, and take turns in slices of a few seconds, so that a busy machine
// is busy for all; medians over the turns. Single events of anonymous browsers over 64 connections, and Currents batches
// of 100 over people who are known, 30 % of whose events score. `ROUNDS` (5), `SLICE` (4, in seconds) and `PEOPLE` (10000)
// make it shorter or longer.
import { randomUUID } from "node:crypto";
import { spawn } from "node:child_process";
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { build } from "../../edge/ops/build.mjs";
import { root } from "../../edge/ops/node.mjs";
import { claimPort } from "../../edge/ops/runtime.mjs";
import { Failure, step } from "../../edge/ops/steps.mjs";
import { BATCH, CURRENTS, CURRENTS_CONNECTIONS, SITE, bearer, currentsEvent, middle, person, post, startWingbeat } from "./wingbeat.mjs";

const TRACKER_CONNECTIONS = 64;
/** Browsers that send the single events: most have been here before. */
const VISITORS = 300;
/** `sysconf(_SC_CLK_TCK)` of every Linux that Node runs on. */
const TICKS_A_SECOND = 100;

const BARE = `
import { DurableObject } from "cloudflare:workers";
export class Bare extends DurableObject {
  constructor(state, env) {
    super(state, env);
    state.storage.sql.exec("CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, body TEXT NOT NULL)");
  }
  async fetch(request) {
    this.ctx.storage.sql.exec("INSERT INTO event (body) VALUES (?)", await request.text());
    return new Response("{}");
  }
}
export default {
  fetch(request, env) {
    return env.BARE.get(env.BARE.idFromName(new URL(request.url).pathname)).fetch(request);
  },
};
`;

export async function bench() {
  const { ROUNDS = 5, SLICE = 4, PEOPLE = 10_000 } = process.env;
  const [rounds, seconds, people] = [ROUNDS, SLICE, PEOPLE].map(Number);
  await build();
  const folder = mkdtempSync(join(root, "target/bench-"));
  const running = [];
  try {
    const wingbeat = await startWingbeat(join(folder, "wingbeat"));
    running.push(wingbeat);
    const bare = await startBare(join(folder, "bare"));
    running.push(bare);
    const known = Array.from({ length: people }, person);
    await step(`Making ${people} people known`, (progress) => introduce(wingbeat, known, progress));

    const tracked = { connections: TRACKER_CONNECTIONS, events: 1 };
    const batched = { connections: CURRENTS_CONNECTIONS, events: BATCH };
    const visitors = Array.from({ length: VISITORS }, () => randomUUID());
    const single = (path) => () => {
      const visitor = visitors[Math.floor(Math.random() * VISITORS)];
      return { path: path(visitor), body: trackerBody(visitor) };
    };
    const contenders = [
      { name: "bare Worker, one object", of: bare, ...tracked, make: single(() => "/all") },
      { name: "bare Worker, an object per person", of: bare, ...tracked, make: single((visitor) => `/${visitor}`) },
      { name: "Wingbeat, single tracker events", of: wingbeat, ...tracked, make: single(() => "/collect"), headers: { origin: "http://localhost" } },
      { name: "Wingbeat, Currents batches of 100", of: wingbeat, ...batched, make: () => ({ path: CURRENTS, body: currentsBody(known) }), headers: bearer(wingbeat) },
    ];
    const slices = contenders.map(() => []);
    // What is compiled and cached at the first requests is nobody's in particular.
    for (const contender of contenders) await slice(contender, Math.min(1, seconds));
    await step(`${rounds} turns of ${seconds} s each`, async (progress) => {
      for (let round = 0; round < rounds; round += 1) {
        for (let place = 0; place < contenders.length; place += 1) {
          const which = (place + round) % contenders.length;
          progress.last = `turn ${round + 1}: ${contenders[which].name}`;
          slices[which].push(await slice(contenders[which], seconds));
        }
      }
    });
    print(contenders, slices, fsyncMs(folder));
  } finally {
    for (const { stop } of running) await stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends for so many seconds, and looks at what that took. */
async function slice(contender, seconds) {
  const agent = new Agent({ keepAlive: true, maxSockets: contender.connections });
  const before = await look(contender.of);
  const began = performance.now();
  let sent = 0;
  const client = async () => {
    while (performance.now() - began < seconds * 1_000) {
      const { path, body } = contender.make();
      await post(contender.of.port, agent, path, contender.headers, body);
      sent += contender.events;
    }
  };
  await Promise.all(Array.from({ length: contender.connections }, client));
  const took = (performance.now() - began) / 1_000;
  const after = await look(contender.of);
  agent.destroy();
  const per = (name) => (after[name] - before[name]) / sent;
  return { rate: sent / took, cpu: 1_000_000 * per("cpu"), commits: per("commits"), rows: per("rows") };
}

/** Seconds of the process so far, user and system; and, of Wingbeat, what its objects have counted. */
async function look({ pid, port, counts }) {
  // Behind the name in brackets: user and system time are the 14th and 15th fields (proc_pid_stat(5)).
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  const cpu = (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
  if (!counts) return { cpu, commits: NaN, rows: NaN };
  const health = await (await fetch(`http://127.0.0.1:${port}/healthz`)).json();
  return { cpu, commits: health.commits, rows: health.rows_written };
}

function trackerBody(visitor) {
  const event = { id: randomUUID(), at: Date.now(), kind: "page_view", page: randomUUID(), url: "https://shop.example/pricing", name: "Pricing" };
  return JSON.stringify({ v: 1, site: SITE, visitor, events: [event] });
}

const currentsBody = (known) =>
  JSON.stringify({ events: Array.from({ length: BATCH }, (_, n) => currentsEvent(known[Math.floor(Math.random() * known.length)], n)) });

async function introduce(wingbeat, known, progress) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  let next = 0;
  const client = async () => {
    while (next < known.length) {
      const from = next;
      next += BATCH;
      progress.last = `${from}`;
      const events = known.slice(from, from + BATCH).map((user) => currentsEvent(user, 9));
      await post(wingbeat.port, agent, CURRENTS, bearer(wingbeat), JSON.stringify({ events }));
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
  agent.destroy();
}

async function startBare(state) {
  mkdirSync(join(state, "objects"), { recursive: true });
  writeFileSync(join(state, "bare.js"), BARE);
  const { port, addresses } = await claimPort(0);
  const config = join(state, "workerd.capnp");
  writeFileSync(config, `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "worker", worker = .worker), (name = "objects", disk = (path = ${JSON.stringify(join(state, "objects"))}, writable = true))],
  sockets = [(name = "http", address = ${JSON.stringify(addresses[0])}, http = (), service = "worker")],
);
const worker :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [(name = "bare.js", esModule = embed "bare.js")],
  durableObjectNamespaces = [(className = "Bare", uniqueKey = "bare", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [(name = "BARE", durableObjectNamespace = "Bare")],
);
`);
  const child = spawn(join(root, "node_modules/workerd/bin/workerd"), ["serve", config], { stdio: ["ignore", "inherit", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  for (let tries = 0; ; tries += 1) {
    const answered = await fetch(`http://127.0.0.1:${port}/all`, { method: "POST", body: "{}" }).then((response) => response.ok, () => false);
    if (answered) return { pid: child.pid, port, stop };
    if (tries === 200) throw new Failure("The bare Worker does not answer.");
    await new Promise((later) => setTimeout(later, 100));
  }
}

/** What a sync to this disk takes: the floor of every commit. */
function fsyncMs(folder) {
  const file = openSync(join(folder, "fsync"), "w");
  const times = Array.from({ length: 50 }, () => {
    writeSync(file, Buffer.alloc(4096));
    const began = performance.now();
    fdatasyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  return middle(times);
}

/** What DESIGN 9 allows, by contender. */
const BUDGETS = [
  {},
  {},
  { rate: "≥ 1 × one object, ≥ 3 × one per person", cpu: "≤ 1.5 ×", commits: "≤ 0.15", rows: "≤ 3" },
  { rate: "≥ 10 × one object", rows: "≤ 2.5" },
];

function print(contenders, slices, fsync) {
  const of = (which, what) => middle(slices[which].map((slice) => slice[what]));
  // Ratios turn by turn: what made one turn slow made both slow.
  const ratio = (which, what, over) => middle(slices[which].map((slice, turn) => slice[what] / slices[over][turn][what]));
  const number = (value, digits) => (Number.isNaN(value) ? "" : value.toFixed(digits));
  console.log("\n| | events/s | × one object | × one per person | CPU µs/event | × one object | commits/event | rows written/event | budget |");
  console.log("|---|---|---|---|---|---|---|---|---|");
  contenders.forEach(({ name }, which) => {
    const budget = Object.entries(BUDGETS[which]).map(([what, text]) => `${what} ${text}`).join("; ");
    console.log(
      `| ${name} | ${number(of(which, "rate"), 0)} | ${number(ratio(which, "rate", 0), 2)} | ${number(ratio(which, "rate", 1), 2)} | ${number(of(which, "cpu"), 0)} | ${number(ratio(which, "cpu", 0), 2)} | ${number(of(which, "commits"), 3)} | ${number(of(which, "rows"), 2)} | ${budget} |`,
    );
  });
  console.log(`\nOne sync to this disk takes ${fsync.toFixed(2)} ms.\n`);
}
