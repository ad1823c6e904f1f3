// `npm test`: installs what the tests need, builds, runs every test. Its last lines are the test runner's own.
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { build } from "./build.mjs";
import { onProjectNode, root } from "./node.mjs";
import { Failure, main, run, runInForeground, step } from "./steps.mjs";
import { installGeckodriver } from "./tools.mjs";

/** More end-to-end tests that fail than so many are no accident. */
const TRIED_AGAIN_MAX = 3;

await main(async () => {
  if (!(await onProjectNode())) return;
  const browser = await findBrowser();
  await build();
  const env = { ...process.env, ...browser, ...(await findFirefox()), WINGBEAT_ROOT: root };
  await cargoTest(["-p", "wingbeat-engine", "-p", "wingbeat-edge", "-p", "wingbeat-tracker"], env);
  await endToEnd(env);
});

async function cargoTest(packages, env) {
  const code = await runInForeground("cargo", ["test", "--locked", ...packages], { cwd: root, env });
  if (code !== 0) process.exit(code);
}

/**
 * Browsers, servers and crashes together, on whatever machine CI has: there a few tests that fail are tried once more, by
 * themselves, and named. Whoever runs them at home sees the failure at once.
 */
async function endToEnd(env) {
  const packages = ["-p", "wingbeat-tests"];
  if (!process.env.CI) return cargoTest(packages, env);
  let output = "";
  const heard = (text) => (output += text);
  const code = await runInForeground("cargo", ["test", "--locked", ...packages], { cwd: root, env, heard });
  const failed = [...output.matchAll(/^test (\S+) \.\.\. FAILED$/gm)].map(([, name]) => name);
  if (code === 0) return;
  if (!failed.length || failed.length > TRIED_AGAIN_MAX) process.exit(code);
  console.log(`\nTried again, by themselves: ${failed.join(", ")}
If they pass now, they or what they test have a defect all the same.`);
  await cargoTest([...packages, "--", "--exact", ...failed], env);
}

/** Where Chromium and its driver are: named by CHROMIUM and CHROMEDRIVER, found on the PATH, or installed now. */
async function findBrowser() {
  const look = () => ({
    CHROMIUM: process.env.CHROMIUM || onPath("chromium", "google-chrome", "google-chrome-stable", "chromium-browser"),
    CHROMEDRIVER: process.env.CHROMEDRIVER || onPath("chromedriver"),
  });
  let found = look();
  if (!(found.CHROMIUM && found.CHROMEDRIVER) && process.getuid() === 0 && onPath("apt-get")) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    await step("Installing Chromium and its driver", async (progress) => {
      await run("apt-get", ["update"], { env, progress });
      await run("apt-get", ["install", "--yes", "--no-install-recommends", "chromium", "chromium-driver"], { env, progress });
    });
    found = look();
  }
  for (const [name, path] of Object.entries(found)) {
    if (path && existsSync(path)) continue;
    throw new Failure(`The end-to-end tests need Chromium and a chromedriver of the same version; ${name} is ${path ? `set to ${path}, which is not there` : "not found"}.
Debian: apt-get install chromium chromium-driver. Elsewhere: install Chrome and its chromedriver, and set CHROMIUM and
CHROMEDRIVER to the two programs if they are not on the PATH.`);
  }
  return found;
}

/** Firefox, in which forms are filled in as well, where there is one; its driver is compiled if it is missing. */
async function findFirefox() {
  const FIREFOX = process.env.FIREFOX ?? onPath("firefox-esr", "firefox");
  if (!FIREFOX) return {};
  return { FIREFOX, GECKODRIVER: process.env.GECKODRIVER || onPath("geckodriver") || (await installGeckodriver()) };
}

function onPath(...names) {
  const candidates = names.flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name)));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
