// Which trackers lose events? The script of faults of `tests/src/delivery.rs`, for Wingbeat's tracker and for peers from
// npm: pages with a few events each that are left, reloaded or closed; batches that are lost, unacknowledged, answered
// with errors or late; a network that is gone for some pages, and a server that dies. Then all is well again, and pages
// stay open until nothing more comes. The same events, pages and pauses for each; each batch meets the next fate of one
// series.
//
// The server is this bench's own: it answers as each tracker's documentation says, and what it has noted when it answers
// is durable. It stands on the page's own origin, which spares the peers their preflights. `FAULT_EVENTS` (300) and
// `FAULT_SEED` (7) as in the test.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildTracker } from "../../tracker/build.mjs";
import { installTools } from "../../edge/ops/tools.mjs";
import { step } from "../../edge/ops/steps.mjs";
import { launch } from "./chromium.mjs";
import { bundle } from "./peers.mjs";

const LOAD_WITHIN_MS = 20_000;
/** When nothing new has come for so long, though a page is open and all is well, no more will. */
const QUIET_MS = 30_000;
const SETTLE_WITHIN_MS = 180_000;

/**
 * `code` makes `window.track(name)`, which tells an event. `events` reads a request: `[[id, name]]`, ids being what the
 * tracker's own server tells repeats by. `answer` is what that server answers.
 */
const PEERS = [
  {
    name: "@snowplow/browser-tracker",
    packages: { "@snowplow/browser-tracker": "4.10.1" },
    // By default events are kept in localStorage and sent again after errors and without an answer.
    code: `import { newTracker, trackStructEvent } from '@snowplow/browser-tracker';
      newTracker('sp', location.origin, { appId: 'bench', eventMethod: 'post', keepalive: true });
      window.track = (name) => trackStructEvent({ category: 'bench', action: name });`,
    events: ({ data }) => data?.map((event) => [event.eid, event.se_ac]),
    answer: "ok",
  },
  {
    name: "@rudderstack/analytics-js, bundled",
    packages: { "@rudderstack/analytics-js": "3.34.1" },
    // By default events are kept in localStorage and sent again; here with room and patience for all of the script.
    code: `import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';
      const source = { id: 'bench', name: 'bench', writeKey: 'bench', enabled: true, workspaceId: 'bench', config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } }, destinations: [] };
      const rudder = new RudderAnalytics();
      rudder.load('bench', location.origin, { configUrl: location.origin, getSourceConfig: () => ({ source }), queueOptions: { maxItems: 1000, maxAttempts: 100, minRetryDelay: 500, maxRetryDelay: 30000 } });
      window.track = (name) => rudder.track(name);`,
    events: (body) => (body.batch ?? [body]).map((event) => [event.messageId, event.event]),
    answer: '"OK"',
  },
  {
    name: "posthog-js",
    packages: { "posthog-js": "1.449.2" },
    // It sends again from memory, and with a beacon when the page goes.
    code: `import posthog from 'posthog-js';
      posthog.init('phc_bench', { api_host: location.origin, persistence: 'localStorage', disable_compression: true, opt_out_useragent_filter: true, autocapture: false, capture_pageview: false, disable_session_recording: true, advanced_disable_flags: true, disable_external_dependency_loading: true });
      window.track = (name) => posthog.capture(name);`,
    events: (body) => [body.batch ?? body.data ?? body].flat().map((event) => [event.uuid, event.event]),
    answer: '{"status":"Ok"}',
  },
];

export async function bench() {
  const total = Number(process.env.FAULT_EVENTS || 300);
  const seed = Number(process.env.FAULT_SEED || 7);
  Object.assign(process.env, await installTools());
  const folder = mkdtempSync(join(tmpdir(), "wingbeat-bench-"));
  try {
    await step("Building the tracker", () => buildTracker({ out: join(folder, "wb.js") }));
    const bundled = await bundle(PEERS);
    const contenders = [
      {
        name: "wingbeat",
        files: { "/wb.js": Buffer.concat([readFileSync(join(folder, "wb.js")), Buffer.from("\nwingbeat('status',()=>{window.track=(name)=>wingbeat('event',{name})})")]) },
        events: ({ events }) => events?.filter(({ kind }) => kind === "custom").map(({ id, name }) => [id, name]),
        answer: '{"accepted":1,"duplicates":0,"rejected":[]}',
      },
      ...bundled.map((peer, place) => ({ ...peer, ...PEERS[place], name: peer.name })),
    ];
    const chromium = await launch(folder);
    const results = [];
    try {
      for (const contender of contenders) {
        await step(`${total} events of ${contender.name}`, async (progress) => {
          results.push(await trial(chromium, contender, script(seed, total), seed, progress));
        });
      }
    } finally {
      await chromium.close();
    }
    print(results, total, seed);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(results, total, seed) {
  const row = (cells) => console.log(`  ${cells[0].padEnd(44)}${cells.slice(1).map((cell) => String(cell).padStart(12)).join("")}`);
  console.log(`\n  ${total} events, seed ${seed}; lost: never stored; double: stored under two ids`);
  row(["", "lost", "double", "batches", "page loads"]);
  for (const { name, lost, double, batches, loads } of results) row([name, lost, double, batches, loads]);
  console.log("");
}

/** Random numbers below 1 from a seed (mulberry32). */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const below = (draw, end) => Math.floor(draw() * end);

/** What happens to a batch: half of them are fine. `stored` or not, `status` (0: no answer), after `ms`. */
function fate(draw) {
  const drawn = below(draw, 100);
  const either = (...of) => of[below(draw, of.length)];
  if (drawn < 50) return { stored: true, status: 200 };
  if (drawn < 60) return { stored: false, status: 0 };
  if (drawn < 75) return { stored: true, status: 0 };
  if (drawn < 80) return { stored: true, status: either(500, 502) };
  if (drawn < 85) return { stored: false, status: either(500, 503) };
  if (drawn < 90) return { stored: false, status: either(429, 503), retryAfter: 1 };
  return { stored: true, status: 200, ms: 50 + below(draw, 1_450) };
}

/** The pages: how many events each, with which pauses, whether there is a network, whether the server dies, and the end. */
function script(seed, total) {
  const draw = random(seed);
  const deaths = Math.max(Math.floor(total / 5), 60);
  const pages = [];
  let offline = 0;
  for (let made = 0; made < total; ) {
    const pauses = Array.from({ length: Math.min(1 + below(draw, 8), total - made) }, () => below(draw, 40));
    const dies = Math.floor((made + pauses.length) / deaths) > Math.floor(made / deaths);
    made += pauses.length;
    const page = { pauses, offline: offline > 0, dies, end: "next", wait: 0 };
    const drawn = below(draw, 10);
    if (drawn < 2) page.end = "reload";
    else if (drawn < 5) page.end = "close";
    else if (drawn < 8) page.wait = below(draw, 1_500);
    if (offline > 0) offline -= 1;
    else if (drawn === 8) offline = 1 + below(draw, 5);
    pages.push(page);
  }
  return pages;
}

/** Runs the script for one tracker, in a browser context of its own. */
async function trial(chromium, contender, pages, seed, progress) {
  const server = await serve(contender, random(seed + 1));
  const { browserContextId } = await chromium.send("Target.createBrowserContext");
  const tab = await openTab(chromium, browserContextId, server.origin);
  let made = 0;
  let loads = 0;
  const load = async (how) => {
    await tab.load(how);
    loads += 1;
  };
  for (const [place, { pauses, offline, dies, end, wait }] of pages.entries()) {
    progress.last = `page ${place + 1} of ${pages.length}`;
    server.offline = offline;
    await load("go");
    for (const pause of pauses) {
      made += 1;
      await tab.run(`track('e${made}')`);
      await sleep(pause);
    }
    if (dies) await server.die();
    await sleep(wait);
    if (end === "reload") await load("reload");
    if (end === "close") await tab.replace();
  }
  server.well = true;
  server.offline = false;
  await load("go");
  const began = performance.now();
  for (let last = began; performance.now() - last < QUIET_MS && performance.now() - began < SETTLE_WITHIN_MS; ) {
    const before = server.names.size;
    if (before === made) break;
    progress.last = `waiting for the last of them: ${before} of ${made}`;
    await sleep(500);
    if (server.names.size > before) last = performance.now();
  }
  await chromium.send("Target.disposeBrowserContext", { browserContextId });
  server.close();
  const double = [...server.names.values()].filter((ids) => ids.size > 1).length;
  return { name: contender.name, lost: made - server.names.size, double, batches: server.batches, loads };
}

/** A page with the tracker, and its server: `names` are the events that are stored, with their ids. */
async function serve({ files, events, answer }, draw) {
  const [[path, file]] = Object.entries(files);
  const page = `<!doctype html><title>A page</title><script async src="${path}" data-site="s"></script><h1>A page</h1>`;
  const state = { names: new Map(), batches: 0, offline: false, well: false };
  let dead = false;
  const store = (read) => {
    for (const [id, name] of read) {
      if (/^e\d+$/.test(name)) state.names.set(name, (state.names.get(name) ?? new Set()).add(id));
    }
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (request.method === "GET" && pathname === path) {
      response.writeHead(200, { "content-type": "text/javascript" }).end(file);
      return;
    }
    if (request.method === "GET" && pathname === "/") {
      response.writeHead(200, { "content-type": "text/html" }).end(page);
      return;
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const read = parse(events, body);
    if (!read.length) {
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
      return;
    }
    state.batches += 1;
    const drawn = fate(draw);
    const met = state.well ? { stored: true, status: 200 } : drawn;
    if (met.ms) await sleep(met.ms);
    if (state.offline || dead) {
      request.socket.destroy();
      return;
    }
    if (met.stored) store(read);
    if (!met.status) {
      request.socket.destroy();
      return;
    }
    response.writeHead(met.status, { "content-type": "application/json", ...(met.retryAfter && { "retry-after": met.retryAfter }) });
    response.end(met.status === 200 ? answer : "");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  state.origin = `http://127.0.0.1:${server.address().port}`;
  // What it was about to do is not done; nobody is answered until it is back.
  state.die = async () => {
    dead = true;
    await sleep(1_000);
    dead = false;
  };
  state.close = () => server.closeAllConnections() ?? server.close();
  return state;
}

/** The events of a body; none if it is something else, as settings and flags that a tracker asks for are. */
function parse(events, body) {
  try {
    // PostHog's beacons are forms.
    const text = body.startsWith("data=") ? Buffer.from(decodeURIComponent(body.slice(5)), "base64").toString() : body;
    return events(JSON.parse(text))?.filter(([id, name]) => id && name) ?? [];
  } catch {
    return [];
  }
}

/** A tab, and another one in its place when it is closed. */
async function openTab(chromium, browserContextId, origin) {
  let target;
  let session;
  const open = async () => {
    const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
    [target, session] = [targetId, sessionId];
    // Some trackers are silent where the browser says that it has no head.
    await chromium.send("Emulation.setUserAgentOverride", { userAgent: chromium.userAgent }, session);
  };
  const run = async (expression) => {
    const { result } = await chromium.send("Runtime.evaluate", { expression, returnByValue: true }, session);
    return result.value;
  };
  const load = async (how) => {
    await run("window.old = true");
    await (how === "reload" ? chromium.send("Page.reload", {}, session) : chromium.send("Page.navigate", { url: `${origin}/` }, session));
    // Until it can be told of events.
    const until = performance.now() + LOAD_WITHIN_MS;
    while (!(await run("!window.old && typeof window.track === 'function'").catch(() => false))) {
      if (performance.now() > until) throw new Error("the tracker does not begin");
      await sleep(20);
    }
  };
  const replace = async () => {
    const before = target;
    await open();
    await chromium.send("Target.closeTarget", { targetId: before });
  };
  await open();
  return { run, load, replace };
}
