// The side of the page: loads the tracker, guards the page against it, listens and reads the document.
//
//   <script async src="https://EDGE/wb.js" data-site="SITE_KEY"></script>
//
// To call `wingbeat` before the file has come, put this before it:
//
//   <script>window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments) }</script>
import * as tracker from 'wingbeat:exports';
import { gives, load, takes } from './border.js';
import { fallback } from './fallback.js';
import * as own from './site.js';
import { endpoint, listen, off, refused, script, site, storage, transmit, uuidOrNone } from './site.js';

const HEADINGS = 'h1,h2,h3,h4,h5,h6';
const VISIBLE_MS = 2000;

// Whatever happens is put in this line and done one at a time, nothing inside anything else: the page may call
// `wingbeat` from within something that we called. Until WebAssembly is ready the line waits.
const line = [];
let busy = true;
const enqueue = (job) => {
  line.push(job);
  work();
};
const work = () => {
  while (!busy && line.length) {
    busy = true;
    try {
      line.shift()();
    } catch {
      // The page must not notice us.
    }
    busy = false;
  }
};

// What the tracker calls (`Host` in tracker.rs).
export const uuid = gives(own.uuid);
export const showAddress = takes(own.showAddress);
export const remember = takes(storage);
let waking;
export const wake = (ms) => {
  clearTimeout(waking);
  waking = setTimeout(() => enqueue(tracker.woke), ms);
};
export const beacon = takes((batch, body) => {
  navigator.sendBeacon(endpoint, body);
  // Only a page that comes back from the cache sees this.
  addEventListener('pageshow', () => enqueue(() => tracker.answered(batch, 0, 0, '', '')), { once: true });
});
export const post = takes(async (batch, body) => {
  let status = 0;
  let retryAfter = 0;
  let answer;
  try {
    const response = await transmit(body);
    ({ status } = response);
    retryAfter = +response.headers.get('Retry-After');
    answer = await response.json();
  } catch {
    // No answer, or none in JSON: the status says all.
  }
  const visitor = uuidOrNone(answer?.visitor) ?? '';
  enqueue(() => tracker.answered(batch, status, retryAfter, visitor, `${answer?.route ?? ''}`));
});

const signal = (human) => {
  const { scrollTop, clientHeight, scrollHeight } = document.documentElement;
  tracker.signal(human, Math.min(100, Math.round((100 * (scrollTop + clientHeight)) / scrollHeight)));
};

let visible;
const watch = () => {
  clearTimeout(visible);
  if (document.visibilityState !== 'visible') enqueue(tracker.send);
  else if (!navigator.webdriver) visible = setTimeout(() => enqueue(() => signal('visible')), VISIBLE_MS);
};

/** The first present of data-wb-name, id, name, aria-label, nearest heading (inside, else before), path. Attributes,
 * not properties: a field called `id` hides the form's property of that name. */
const nameOf = (form) => {
  for (const attribute of ['data-wb-name', 'id', 'name', 'aria-label']) {
    const name = form.getAttribute(attribute)?.trim();
    if (name) return name;
  }
  let nearest = form.querySelector(HEADINGS);
  if (!nearest) {
    for (const heading of document.querySelectorAll(HEADINGS)) {
      if (heading.compareDocumentPosition(form) & Node.DOCUMENT_POSITION_FOLLOWING) nearest = heading;
    }
  }
  return nearest?.textContent.trim().replace(/\s+/g, ' ') || location.pathname;
};

const submit = ({ target: form, isTrusted }) => {
  const ignored = (element) => element.closest('[data-wb-ignore]');
  if (ignored(form)) return;
  if (isTrusted) signal('pointer');
  // A field belongs to the form by its own account: `form=` is one way. Its value is read only if it may be.
  for (const field of document.querySelectorAll('input')) {
    if (field.form === form && !ignored(field)) {
      const meaning = tracker.meaning(field.type, field.autocomplete, field.name, field.id);
      if (meaning) tracker.field(meaning, field.value.trim());
    }
  }
  tracker.submit(location.href, nameOf(form));
};

const commands = {
  event: ({ name, properties }) => name && tracker.event(location.href, `${name}`, JSON.stringify(properties) ?? ''),
  identify: (traits) => {
    for (const type in traits) tracker.claim(type, `${traits[type]}`);
    tracker.identify(location.href);
  },
};

const begin = async () => {
  try {
    await load();
    tracker.start(refused ? '' : site, storage() ?? '', location.href, document.referrer, document.title);
  } catch {
    // No WebAssembly, or a content security policy without 'wasm-unsafe-eval'.
    fallback();
    return;
  }
  if (refused) return;
  const passive = { capture: true, passive: true };
  listen((human) => enqueue(() => signal(human)));
  // At once, because the page may clear the form; capturing, because it may stop the event.
  addEventListener('submit', (event) => enqueue(() => submit(event)), passive);
  addEventListener('visibilitychange', watch, passive);
  addEventListener('pagehide', () => enqueue(tracker.leave));
  watch();
  busy = false;
  work();
};

const { wingbeat } = window;
if (script && !wingbeat?.on && !off(script) && !off(document.documentElement)) {
  window.wingbeat = (command, argument) => enqueue(() => commands[command](argument));
  window.wingbeat.on = true;
  for (const call of wingbeat?.q ?? []) window.wingbeat(...call);
  // What is loaded ahead of a click that may never come has not been viewed.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
  else begin();
}
