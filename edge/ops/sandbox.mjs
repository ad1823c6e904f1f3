// `npm run sandbox`: the tests' stand-in for Braze, until it is stopped.
import { onProjectNode, root } from "./node.mjs";
import { main, runInForeground } from "./steps.mjs";

await main(async () => {
  if (!(await onProjectNode())) return;
  const args = ["run", "--locked", "--quiet", "-p", "wingbeat-tests", "--example", "sandbox"];
  process.exitCode = await runInForeground("cargo", args, { cwd: root });
});
