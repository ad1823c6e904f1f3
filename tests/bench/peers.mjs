// Trackers from npm, as their documentation says to use them, pointed at the bench's own server. They are installed into a
// folder of the build by the bench alone.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { root } from "../../edge/ops/node.mjs";
import { run, step } from "../../edge/ops/steps.mjs";

/** As their documentation says to use them for what this bench looks at: the first page view, forms where they can. */
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
    name: "@segment/analytics-next",
    packages: { "@segment/analytics-next": "1.84.3" },
    // With its settings given: else it fetches them first.
    code: `import { AnalyticsBrowser } from '@segment/analytics-next';
      AnalyticsBrowser.load({ writeKey: 'bench', cdnSettings: { integrations: { 'Segment.io': { apiKey: 'bench', apiHost: location.host + '/v1', protocol: 'http' } } } },
        { integrations: { 'Segment.io': { apiHost: location.host + '/v1', protocol: 'http' } } }).page();`,
  },
  {
    name: "@rudderstack/analytics-js, bundled",
    packages: { "@rudderstack/analytics-js": "3.34.1" },
    // The same.
    code: `import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';
      const source = { id: 'bench', name: 'bench', writeKey: 'bench', enabled: true, workspaceId: 'bench', config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } }, destinations: [] };
      const rudder = new RudderAnalytics();
      rudder.load('bench', location.origin, { configUrl: location.origin, getSourceConfig: () => ({ source }) });
      rudder.page();`,
  },
  {
    name: "apache-unomi-tracker",
    // It looks for crawlers with Node's `Buffer`.
    packages: { "apache-unomi-tracker": "1.5.0", buffer: "6.0.3" },
    // It waits for the document: deferred, since after that it waits for ever.
    tag: (file) => `<script defer src="${file}"></script>`,
    code: `globalThis.Buffer = require('buffer/').Buffer;
      const { useTracker } = require('apache-unomi-tracker');
      document.cookie = 'wem-session-id=bench';
      const tracker = useTracker();
      tracker.initTracker({
        scope: 'bench', site: { siteInfo: { siteID: 'bench' } }, events: [],
        page: { pageInfo: { pageID: 'bench', pageName: document.title, pagePath: location.pathname, destinationURL: location.href }, attributes: {} },
        wemInitConfig: { contextServerUrl: location.origin, timeoutInMilliseconds: 1500, contextServerCookieName: 'context-profile-id', activateWem: true },
      });
      tracker.startTracker();`,
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

export const peers = () => bundle(PEERS);

/** Installs trackers and makes a script of each: `[{ name, files: { path: bytes }, tag }]`. */
export async function bundle(peers) {
  const folder = join(root, "target/bench/peers");
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.assign({}, ...PEERS.map(({ packages }) => packages));
  const manifest = JSON.stringify({ private: true, dependencies });
  const file = join(folder, "package.json");
  if (!existsSync(join(folder, "node_modules")) || readFileSync(file, "utf8") !== manifest) {
    writeFileSync(file, manifest);
    await step("Installing the peers", (progress) => run("npm", ["install", "--ignore-scripts", "--no-package-lock", "--legacy-peer-deps"], { cwd: folder, progress }));
  }
  return Promise.all(peers.map(async ({ name, packages, code, tag }, place) => {
    const { outputFiles } = await build({
      stdin: { contents: code, resolveDir: folder },
      bundle: true, minify: true, format: "iife", target: "chrome96", write: false, logLevel: "error",
    });
    const file = `/peer${place}.js`;
    return { name: `${name} ${Object.values(packages)[0]}`, files: { [file]: outputFiles[0].contents }, tag: tag?.(file) };
  }));
}
