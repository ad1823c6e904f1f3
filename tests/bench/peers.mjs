// Trackers from npm, as their documentation says to use them, pointed at the bench's own server. They are installed into a
// folder of the build by the bench alone.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { root } from "../../edge/ops/node.mjs";
import { run, step } from "../../edge/ops/steps.mjs";

const PEERS = [
  {
    name: "posthog-js",
    packages: { "posthog-js": "1.449.2" },
    code: `import posthog from 'posthog-js';
      posthog.init('phc_bench', { api_host: location.origin, capture_pageview: true, disable_external_dependency_loading: true });`,
  },
  {
    name: "@snowplow/browser-tracker, forms",
    packages: { "@snowplow/browser-tracker": "4.10.1", "@snowplow/browser-plugin-form-tracking": "4.6.8" },
    code: `import { newTracker, trackPageView } from '@snowplow/browser-tracker';
      import { FormTrackingPlugin, enableFormTracking } from '@snowplow/browser-plugin-form-tracking';
      newTracker('sp', location.origin, { appId: 'bench', plugins: [FormTrackingPlugin()] });
      enableFormTracking(); trackPageView();`,
  },
  {
    name: "@openpanel/web",
    packages: { "@openpanel/web": "1.4.1" },
    code: `import { OpenPanel } from '@openpanel/web';
      new OpenPanel({ clientId: 'bench', apiUrl: location.origin, trackScreenViews: true, trackOutgoingLinks: true });`,
  },
  {
    name: "@plausible-analytics/tracker",
    packages: { "@plausible-analytics/tracker": "0.4.6" },
    code: `import { init } from '@plausible-analytics/tracker';
      init({ domain: 'bench', endpoint: location.origin + '/event', captureOnLocalhost: true, formSubmissions: true });`,
  },
];

export async function peers() {
  const folder = join(root, "target/bench/peers");
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.assign({}, ...PEERS.map(({ packages }) => packages));
  const manifest = JSON.stringify({ private: true, dependencies });
  const file = join(folder, "package.json");
  if (!existsSync(join(folder, "node_modules")) || readFileSync(file, "utf8") !== manifest) {
    writeFileSync(file, manifest);
    await step("Installing the peers", (progress) => run("npm", ["install", "--ignore-scripts", "--no-package-lock", "--legacy-peer-deps"], { cwd: folder, progress }));
  }
  return Promise.all(PEERS.map(async ({ name, packages, code }, place) => {
    const { outputFiles } = await build({
      stdin: { contents: code, resolveDir: folder },
      bundle: true, minify: true, format: "iife", target: "chrome96", write: false, logLevel: "error",
    });
    return { name: `${name} ${Object.values(packages)[0]}`, files: { [`/peer${place}.js`]: outputFiles[0].contents } };
  }));
}
