// `npm run simulate`: runs as many seeds of the simulator as asked, optimised and on all cores.
//   npm run simulate -- --seeds 1000000 --first 0 --threads 2
// The same by environment: WINGBEAT_SEEDS, WINGBEAT_FIRST_SEED, WINGBEAT_THREADS.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { onProjectNode, root } from "./node.mjs";
import { Failure, main, run, runInForeground, step } from "./steps.mjs";

const TEST = "partition::simulation::seeds::as_many_seeds_as_asked";
const SEEDS = 100_000;

await main(async () => {
  if (!(await onProjectNode())) return;
  const env = { ...process.env, ...asked() };
  const args = ["test", "--locked", "--profile", "simulate", "-p", "wingbeat-engine", "--lib"];
  await step("Building the simulator (the first time takes some minutes)", (progress) =>
    run("cargo", [...args, "--no-run"], { cwd: root, env, progress }),
  );
  // What it prints is progress, a summary, or the seed that fails: exit code 0 only if none did.
  const only = ["--", "--ignored", "--exact", "--nocapture", TEST];
  process.exitCode = (await runInForeground("cargo", [...args, "--quiet", ...only], { cwd: root, env })) === 0 ? 0 : 1;
});

/** What the command line asks for, as the environment that the simulator reads. */
function asked() {
  const { values } = parseArgs({
    options: { seeds: { type: "string" }, first: { type: "string" }, threads: { type: "string" } },
  });
  const numbers = {
    WINGBEAT_SEEDS: values.seeds ?? process.env.WINGBEAT_SEEDS ?? SEEDS,
    WINGBEAT_FIRST_SEED: values.first ?? process.env.WINGBEAT_FIRST_SEED ?? 0,
    WINGBEAT_THREADS: values.threads ?? process.env.WINGBEAT_THREADS ?? availableParallelism(),
  };
  for (const [name, number] of Object.entries(numbers)) {
    if (!/^\d+$/.test(String(number))) throw new Failure(`${name} is "${number}"; it must be a number.`);
  }
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, String(number)]));
}
