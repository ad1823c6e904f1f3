// What one more event costs under 100 rules, natively and in the V8 that workerd has, too: one program for both
// (`scoring/`), which take turns. `ROUNDS` (3) says how many; the table shows the medians over them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../edge/ops/node.mjs";
import { Failure, run, step } from "../../edge/ops/steps.mjs";

const PACKAGE = "wingbeat-bench-scoring";
const TARGET = "wasm32-unknown-unknown";
/** µs for one more event: DESIGN 9. */
const BUDGET = { native: 10, wasm: 50 };

export async function bench() {
  const rounds = Number(process.env.ROUNDS || 3);
  const build = ["build", "--locked", "--release", "-p", PACKAGE];
  await step("Building the bench natively", (progress) => run("cargo", build, { cwd: root, progress }));
  await step("Building the bench as WebAssembly", (progress) =>
    run("cargo", [...build, "--target", TARGET], { cwd: root, progress }),
  );
  const target = process.env.CARGO_TARGET_DIR || join(root, "target");
  const module = new WebAssembly.Module(readFileSync(join(target, TARGET, "release", `${PACKAGE}.wasm`)));
  const figures = new Map();
  const note = (side, text) => {
    for (const line of text.trim().split("\n")) {
      const { what, past, ns } = JSON.parse(line);
      const row = figures.get(`${what} ${past}`) ?? { what, past, native: [], wasm: [] };
      row[side].push(ns / 1_000);
      figures.set(`${what} ${past}`, row);
    }
  };
  await step(`${rounds} rounds of each`, async () => {
    for (let round = 0; round < rounds; round += 1) {
      note("native", await run(join(target, "release", PACKAGE), [], { cwd: root }));
      note("wasm", inWebAssembly(module));
    }
  });
  print([...figures.values()]);
}

/** Runs the program once; answers what it printed. */
function inWebAssembly(module) {
  const lines = [];
  const host = {
    now_ns: () => performance.now() * 1e6,
    print: (start, bytes) => lines.push(Buffer.from(memory.buffer, start, bytes).toString()),
  };
  const { memory, main } = new WebAssembly.Instance(module, { host }).exports;
  if (main(0, 0) !== 0) throw new Failure("The bench failed in WebAssembly.");
  return lines.join("\n");
}

function print(rows) {
  console.log(`\nµs, medians. Budget for one more event: ${BUDGET.native} natively, ${BUDGET.wasm} in WebAssembly.\n`);
  console.log("| | events before | native | WebAssembly | ratio |\n|---|---:|---:|---:|---:|");
  for (const { what, past, native, wasm } of rows) {
    const [one, other] = [native, wasm].map((of) => of.toSorted((a, b) => a - b)[of.length >> 1]);
    console.log(`| ${what} | ${past.toLocaleString("en")} | ${one.toFixed(1)} | ${other.toFixed(1)} | ${(other / one).toFixed(1)} |`);
  }
}
