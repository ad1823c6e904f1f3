// `npm run bench [NAME]`: measures side by side in one run and prints ratios. Figures of different runs, let alone of
// different machines, say nothing about each other.
import { onProjectNode } from "./node.mjs";
import { Failure, main } from "./steps.mjs";

const BENCHES = {
  events: "../../tests/bench/events.mjs",
  faults: "../../tests/bench/faults.mjs",
  publish: "../../tests/bench/publish.mjs",
  scoring: "../../tests/bench/scoring.mjs",
  tracker: "../../tests/bench/tracker.mjs",
};

await main(async () => {
  if (!(await onProjectNode())) return;
  const names = process.argv.slice(2);
  for (const name of names) {
    if (!BENCHES[name]) throw new Failure(`There is no bench "${name}"; there are: ${Object.keys(BENCHES).join(", ")}.`);
  }
  for (const name of names.length ? names : Object.keys(BENCHES)) await (await import(BENCHES[name])).bench();
});
