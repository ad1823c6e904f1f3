// The side of the page: loads the tracker, guards the page against it, and lends it promises, timers and random ids.
//
//   <script async src="https://EDGE/wb.js" data-site="SITE_KEY"></script>
//
// To call `wingbeat` before the file has come, put this before it:
//
//   <script>window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments); };</script>
import * as glue from 'wingbeat:glue';
import { bytes, imports, init } from 'wingbeat:wasm';
import { fallback } from './fallback.js';
import { send, uuid } from './send.js';

const script = document.currentScript ?? document.querySelector('script[data-site]');
const early = window.wingbeat;

// Whatever happens in here is put in this line and done one at a time, nothing inside anything else: the page may call
// `wingbeat` from within something that we called. Until WebAssembly is ready the line waits.
const jobs = [];
let busy = true;
const enqueue = (job) => {
  jobs.push(job);
  work();
};
const work = () => {
  if (busy) return;
  busy = true;
  while ((job = jobs.shift())) {
    try {
      job();
    } catch {
      // A page must not notice us.
    }
  }
  busy = false;
};
let job;

const begin = async () => {
  const endpoint = new URL('collect', script.src).href;
  const site = script.dataset.site;
  const refused = !!navigator.globalPrivacyControl || navigator.doNotTrack === '1';
  const host = {
    site,
    refused,
    automated: !!navigator.webdriver,
    listener: (event) => enqueue(() => glue.on(event)),
    uuid,
    wake: (ms, reason) => setTimeout(() => enqueue(() => glue.woke(reason)), ms),
    post: async (batch, body) => {
      let status = 0;
      let retryAfter = 0;
      let answer = {};
      try {
        const response = await send(endpoint, body);
        status = response.status;
        retryAfter = +response.headers.get('Retry-After');
        answer = await response.json();
      } catch {
        // No answer, or none that is JSON: the status says all.
      }
      enqueue(() => glue.answered(batch, status, retryAfter, `${answer.visitor ?? ''}`, `${answer.route ?? ''}`));
    },
    beacon: (body) => navigator.sendBeacon(endpoint, body),
    depth: () => {
      const { scrollTop, clientHeight, scrollHeight } = document.documentElement;
      return Math.min(100, Math.round((100 * (scrollTop + clientHeight)) / scrollHeight));
    },
  };
  try {
    const { instance } = await WebAssembly.instantiate(bytes(), imports);
    init(instance.exports);
    glue.start(host);
    busy = false;
    work();
  } catch {
    // No WebAssembly, or a content security policy without 'wasm-unsafe-eval'.
    fallback(endpoint, site, refused);
  }
};

const off = (element) => element.hasAttribute('data-wb-off');
if (script && !early?.on && !off(script) && !off(document.documentElement)) {
  window.wingbeat = (name, argument) => enqueue(() => glue.command(`${name}`, argument));
  window.wingbeat.on = true;
  for (const [name, argument] of early?.q ?? []) window.wingbeat(name, argument);
  // What is loaded ahead of a click that may never come is not viewed yet.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
  else begin();
}
