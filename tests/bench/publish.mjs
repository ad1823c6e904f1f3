// What does it cost to try another model on everything that is stored, and to publish it, on workerd? A million events of
// 50,000 people, over 90 days, in four objects; then a backtest and a publication, while events go on coming in. Prints how
// long each took, how long those events waited, beside what they wait when nothing else happens, and the memory of the
// runtime. `EVENTS` (1000000) and `PEOPLE` (50000) make it smaller: filling takes most of the time.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { build } from "../../edge/ops/build.mjs";
import { root } from "../../edge/ops/node.mjs";
import { Failure, step } from "../../edge/ops/steps.mjs";
import { BATCH, CURRENTS, CURRENTS_CONNECTIONS, bearer, currentsEvent, person, post, startWingbeat } from "./wingbeat.mjs";

const DAY = 86_400_000;
const HISTORY = 90 * DAY;
/** Between two events that come in while everybody is read, ms: the latencies of so many are looked at. */
const PAUSE = 20;

export async function bench() {
  const { EVENTS = 1_000_000, PEOPLE = 50_000 } = process.env;
  const [events, people] = [EVENTS, PEOPLE].map(Number);
  await build();
  const folder = mkdtempSync(join(root, "target/bench-"));
  const wingbeat = await startWingbeat(folder);
  try {
    const known = Array.from({ length: people }, person);
    const filled = await step(`Storing ${events} events of ${people} people`, (progress) => fill(wingbeat, known, events, progress));
    const rows = [["nothing else", await beside(wingbeat, known, () => new Promise((later) => setTimeout(later, 5_000)))]];
    const { model } = await api(wingbeat, "GET", "/api/model");
    for (const rule of model.scores[0].rules) if (rule.points) rule.points *= 2;
    await api(wingbeat, "PUT", "/api/model/draft", model);
    await step("Trying another model on all of it", async () => rows.push(["backtest", await beside(wingbeat, known, () => backtest(wingbeat, people))]));
    await step("Publishing it", async () => rows.push(["publish", await beside(wingbeat, known, () => publish(wingbeat))]));
    console.log(`\n${events} events of ${people} people came in at ${filled.toFixed(0)} a second.\n`);
    console.log("| meanwhile | took, s | events came in | median wait, ms | 99 % | longest | memory before, MB | most | after |");
    console.log("|---|---|---|---|---|---|---|---|---|");
    for (const [name, { took, waits, memory }] of rows) {
      const at = (share) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))].toFixed(0);
      console.log(`| ${name} | ${took.toFixed(1)} | ${waits.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} | ${memory.join(" | ")} |`);
    }
    console.log("");
  } finally {
    await wingbeat.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Everybody's events, the older ones first, as they would have come. Answers how many a second. */
async function fill(wingbeat, known, events, progress) {
  const agent = new Agent({ keepAlive: true, maxSockets: CURRENTS_CONNECTIONS });
  const [began, start] = [performance.now(), Date.now() - HISTORY];
  let next = 0;
  const client = async () => {
    while (next < events) {
      const from = next;
      next += BATCH;
      progress.last = `${from}`;
      const batch = Array.from({ length: Math.min(BATCH, events - from) }, (_, n) => {
        const at = start + Math.floor(((from + n) / events) * HISTORY);
        // Whose turn it is has nothing to do with what they do.
        return currentsEvent(known[(from + n) % known.length], Math.floor((from + n) / known.length) + ((from + n) % known.length), at);
      });
      await post(wingbeat.port, agent, CURRENTS, bearer(wingbeat), JSON.stringify({ events: batch }));
    }
  };
  await Promise.all(Array.from({ length: CURRENTS_CONNECTIONS }, client));
  agent.destroy();
  return (1_000 * events) / (performance.now() - began);
}

/** Does something while an event comes in every few ms: how long it took, how long these waited, sorted, and the memory before, at most and after. */
async function beside(wingbeat, known, work) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  // From now on the peak counts anew (proc_pid_clear_refs(5)).
  writeFileSync(`/proc/${wingbeat.pid}/clear_refs`, "5");
  const [began, before, waits] = [performance.now(), memory(wingbeat, "VmRSS"), []];
  let done = false;
  const events = (async () => {
    for (let n = 0; !done; n += 1) {
      const sent = performance.now();
      const body = JSON.stringify({ events: [currentsEvent(known[n % known.length], n)] });
      await post(wingbeat.port, agent, CURRENTS, bearer(wingbeat), body);
      waits.push(performance.now() - sent);
      await new Promise((later) => setTimeout(later, PAUSE));
    }
  })();
  await work();
  const took = (performance.now() - began) / 1_000;
  done = true;
  await events;
  agent.destroy();
  return { took, waits: waits.sort((a, b) => a - b), memory: [before, memory(wingbeat, "VmHWM"), memory(wingbeat, "VmRSS")] };
}

const memory = ({ pid }, line) => Math.round(Number(readFileSync(`/proc/${pid}/status`, "utf8").match(new RegExp(`^${line}:\\s+(\\d+)`, "m"))[1]) / 1_024);

async function backtest(wingbeat, people) {
  await api(wingbeat, "POST", "/api/model/backtest", {});
  for (;;) {
    const { state, people: tested } = await api(wingbeat, "GET", "/api/model/backtest");
    if (state === "done") {
      if (tested < people) throw new Failure(`The backtest knows of ${tested} people only.`);
      return;
    }
    if (state !== "running") throw new Failure(`The backtest is ${state}.`);
    await new Promise((later) => setTimeout(later, 200));
  }
}

async function publish(wingbeat) {
  await api(wingbeat, "POST", "/api/model/publish", {});
  while ((await api(wingbeat, "GET", "/api/model")).recompute) await new Promise((later) => setTimeout(later, 200));
}

async function api({ port, admin }, method, path, body) {
  const init = { method, headers: { ...bearer({ token: admin }), "content-type": "application/json" }, body: body && JSON.stringify(body) };
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
  if (!answer.ok) throw new Failure(`${method} ${path} is answered ${answer.status}: ${await answer.text()}`);
  return answer.json();
}
