// When does a page's first beacon arrive? The tracker as it is (WebAssembly within the script) against the same with the
// WebAssembly in a file beside it, and against the floors: a script of 100 bytes that only sends, and one that first
// fetches the smallest WebAssembly. Peers from npm stand beside them.
//
// Each visit has a cold context in one Chromium: nothing cached, no connection open. The contenders take turns, so that a
// busy machine is busy for all. `ROUNDS` (20) says how many turns.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { buildTracker } from "../../tracker/build.mjs";
import { installTools } from "../../edge/ops/tools.mjs";
import { step } from "../../edge/ops/steps.mjs";
import { launch } from "./chromium.mjs";
import { peers } from "./peers.mjs";

/** `\0asm`, version 1, and nothing else. */
const EMPTY_WASM = Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]);
const VISIT_WITHIN_MS = 20_000;
/** The slower network and machine, as Chromium's tools imitate them. */
const SLOW = { latency: 100, bytesPerSecond: 10_000_000 / 8, cpu: 4 };

export async function bench() {
  const rounds = Number(process.env.ROUNDS || 20);
  Object.assign(process.env, await installTools());
  const folder = mkdtempSync(join(tmpdir(), "wingbeat-bench-"));
  try {
    const read = (name) => readFileSync(join(folder, name));
    await step("Building the tracker both ways", async () => {
      await buildTracker({ out: join(folder, "wb.js") });
      await buildTracker({ out: join(folder, "beside.js"), beside: "wb.wasm" });
    });
    const send = "fetch(new URL('/collect',document.currentScript.src),{method:'POST',body:'{}',keepalive:true})";
    const contenders = [
      { name: "floor: one script of 100 bytes", files: { "/a.js": send } },
      {
        name: "floor: a script and an empty wasm",
        files: { "/b.js": `WebAssembly.instantiateStreaming(fetch('/b.wasm')).then(()=>fetch('/collect',{method:'POST',body:'{}',keepalive:true}))`, "/b.wasm": EMPTY_WASM },
      },
      { name: "wingbeat, wasm within", files: { "/wb.js": read("wb.js") } },
      { name: "wingbeat, wasm beside", files: { "/beside.js": read("beside.js"), "/wb.wasm": read("wb.wasm") } },
      {
        name: "wingbeat, wasm beside, preloaded",
        files: { "/beside.js": read("beside.js"), "/wb.wasm": read("wb.wasm") },
        head: '<link rel=preload href="/wb.wasm" as=fetch crossorigin>',
      },
      ...(await peers()),
    ];
    const site = await serve(contenders);
    const chromium = await launch(folder);
    try {
      for (const [profile, slow, turns] of [["loopback", null, rounds], ["100 ms, 10 Mbit/s, CPU x4", SLOW, Math.ceil(rounds / 2)]]) {
        const times = contenders.map(() => []);
        // The browser's own first page of a kind costs more than any other.
        for (const which of contenders.keys()) await visit(chromium, site, which, slow);
        await step(`${turns} visits of each, ${profile}`, async (progress) => {
          for (let turn = 0; turn < turns; turn += 1) {
            progress.last = `turn ${turn + 1}`;
            // Starting with another each time.
            for (let place = 0; place < contenders.length; place += 1) {
              const which = (place + turn) % contenders.length;
              times[which].push(await visit(chromium, site, which, slow));
            }
          }
        });
        print(profile, contenders, times);
      }
    } finally {
      await chromium.close();
      site.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function print(profile, contenders, times) {
  const row = (cells) => console.log(`  ${cells[0].padEnd(40)}${cells.slice(1).map((cell) => String(cell).padStart(14)).join("")}`);
  const floor = middle(times[0].map(({ beacon }) => beacon));
  console.log(`\n  ${profile}, medians; first beacon in ms from navigation`);
  row(["", "first beacon", "over floor", "script ms", "long tasks", "when used", "brotli bytes"]);
  contenders.forEach(({ name, files }, which) => {
    const beacon = middle(times[which].map((visit) => visit.beacon));
    const script = middle(times[which].map((visit) => visit.script));
    // In how many of the visits there was one, and the longest.
    const long = (what) => {
      const tasks = times[which].map((visit) => visit[what]).filter(Boolean);
      return tasks.length ? `${tasks.length}, ${Math.max(...tasks)} ms` : "none";
    };
    const bytes = Object.values(files).reduce((sum, file) => sum + compressed(file).length, 0);
    row([name, beacon.toFixed(1), `x ${(beacon / floor).toFixed(2)}`, script.toFixed(1), long("start"), long("use"), bytes]);
  });
  console.log("");
}

const compressed = (file) => brotliCompressSync(Buffer.from(file));

/** Pages `/0`, `/1`, … of the contenders, and their files. `heard` is called with whatever is posted. */
async function serve(contenders) {
  const files = new Map(contenders.flatMap(({ files }) => Object.entries(files)).map(([path, file]) => [path, compressed(file)]));
  const site = { heard: () => {} };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const contender = contenders[pathname.slice(1)];
    const headers = { "access-control-allow-origin": "*", "access-control-allow-headers": "*" };
    if (contender) {
      const [script] = Object.keys(contender.files);
      const tag = contender.tag ?? `<script async src="${script}" data-site="s"></script>`;
      response.writeHead(200, { ...headers, "content-type": "text/html" });
      response.end(`<!doctype html><title>A page</title>${contender.head ?? ""}${tag}<h1>A page</h1>`);
    } else if (files.has(pathname)) {
      const type = pathname.endsWith(".wasm") ? "application/wasm" : "text/javascript";
      response.writeHead(200, { ...headers, "content-type": type, "content-encoding": "br" });
      response.end(files.get(pathname));
    } else {
      if (request.method === "POST") site.heard(performance.now());
      request.resume();
      response.writeHead(200, { ...headers, "content-type": "application/json" });
      response.end("{}");
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  site.origin = `http://127.0.0.1:${server.address().port}`;
  site.close = () => server.closeAllConnections() ?? server.close();
  return site;
}

/** Notes how long each task of 50 ms or more was: the browser tells of no shorter ones. */
const LONGEST = `window.longest = [];
  new PerformanceObserver((list) => longest.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask", buffered: true })`;

/** One visit in a context of its own: when the first beacon came, how long scripts ran until half a second later, and the
 * longest task until then (`start`) and while the page is used after it (`use`); 0 if none had 50 ms. */
async function visit(chromium, site, which, slow) {
  const { browserContextId } = await chromium.send("Target.createBrowserContext");
  const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank", browserContextId });
  const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => chromium.send(method, params, sessionId);
  await send("Performance.enable");
  await send("Page.enable");
  await send("Page.addScriptToEvaluateOnNewDocument", { source: LONGEST });
  // Some trackers are silent where the browser says that it has no head.
  await send("Emulation.setUserAgentOverride", { userAgent: chromium.userAgent });
  if (slow) {
    await send("Network.enable");
    const { latency, bytesPerSecond, cpu } = slow;
    await send("Network.emulateNetworkConditions", { offline: false, latency, downloadThroughput: bytesPerSecond, uploadThroughput: bytesPerSecond });
    await send("Emulation.setCPUThrottlingRate", { rate: cpu });
  }
  const arrived = new Promise((heard, failed) => {
    site.heard = heard;
    setTimeout(() => failed(new Error(`no beacon of contender ${which}`)), VISIT_WITHIN_MS).unref();
  });
  const began = performance.now();
  await send("Page.navigate", { url: `${site.origin}/${which}` });
  const beacon = (await arrived) - began;
  await new Promise((later) => setTimeout(later, 500));
  const { metrics } = await send("Performance.getMetrics");
  const script = 1_000 * metrics.find(({ name }) => name === "ScriptDuration").value;
  site.heard = () => {};
  const longest = async () => (await send("Runtime.evaluate", { expression: "longest.splice(0)", returnByValue: true })).result.value;
  const starting = await longest();
  // What listeners hear of, and a single-page site's next page.
  for (const type of ["mouseMoved", "mousePressed", "mouseReleased"]) {
    await send("Input.dispatchMouseEvent", { type, x: 50, y: 30, button: "left", clickCount: 1 });
  }
  for (const type of ["keyDown", "keyUp"]) await send("Input.dispatchKeyEvent", { type, key: "a", text: "a" });
  await send("Input.dispatchMouseEvent", { type: "mouseWheel", x: 50, y: 30, deltaX: 0, deltaY: 100 });
  await send("Runtime.evaluate", { expression: "history.pushState({}, '', '?next')" });
  await new Promise((later) => setTimeout(later, 500));
  const using = await longest();
  await chromium.send("Target.disposeBrowserContext", { browserContextId });
  return { beacon, script, start: Math.max(0, ...starting), use: Math.max(0, ...using) };
}
