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
import { sha256 } from './sha256.js';
import * as own from './site.js';
import { attempt, CAPTURE, endpoint, listen, off, script, site, status, storage, transmit, utf8, uuidOrNone } from './site.js';

const HEADINGS = 'h1,h2,h3,h4,h5,h6';
const FILES = /\.(pdf|docx?|xlsx?|pptx?|od[tsp]|rtf|csv|txt|zip|rar|7z|gz|dmg|exe|msi|pkg|apk|mp[34]|mov|epub)$/i;
const VISIBLE_MS = 2000;
/** What a person does is looked at no more often. */
const STIR_MS = 500;

// Whatever happens is put in this line and done one at a time, nothing inside anything else: the page may call
// `wingbeat` from within something that we called. Until WebAssembly is ready the line waits.
const line = [];
let busy = true;
const enqueue = (job) => {
  line.push(job);
  while (!busy && line.length) {
    busy = true;
    attempt(line.shift())();
    busy = false;
  }
};

/** An address as `sha256:` and the hash of it, if the site wants that: then nothing with an `@` leaves the browser as it
 * is. */
const veil = (given) => {
  const value = given.trim();
  if (script.dataset.email !== 'sha256' || !/@/.test(value)) return value;
  return /^[^\s@,;]{1,64}@[^\s@,;]{1,255}$/.test(value) ? `sha256:${sha256(value.toLowerCase())}` : '';
};

const on = (types, heard) => {
  for (const type of types.split(' ')) addEventListener(type, (event) => enqueue(() => heard(event)), CAPTURE);
};

// What the tracker calls (`Host` in tracker.rs).
export const uuid = gives(own.uuid);
export const decode = gives(own.decode);
export const title = gives(() => document.title);
export const showAddress = takes(own.showAddress);
export const remember = takes(storage);
const key = (kept) => `wb_${kept.split('"')[3]}`;
export const keep = takes((kept) => {
  localStorage[key(kept)] = kept;
});
export const drop = takes((kept) => localStorage.removeItem(key(kept)));
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
  let code = 0;
  let retryAfter = 0;
  let answer;
  try {
    const response = await transmit(body);
    // A page may have put anything in place of `fetch`.
    code = response.status | 0;
    retryAfter = +response.headers.get('Retry-After');
    answer = await response.json();
  } catch {
    // No answer, or none in JSON: the status says all.
  }
  const visitor = uuidOrNone(answer?.visitor) ?? '';
  status.rejected += answer?.rejected?.length ?? 0;
  enqueue(() => tracker.answered(batch, code, retryAfter, visitor, `${answer?.route ?? ''}`));
});

/** How far down the page is seen, in percent. */
const depth = () => {
  const { scrollTop, clientHeight, scrollHeight } = document.documentElement;
  return Math.min(100, Math.round((100 * (scrollTop + clientHeight)) / scrollHeight));
};

let visible;
const watch = () => {
  clearTimeout(visible);
  if (document.visibilityState !== 'visible') tracker.leave(0, depth());
  else if (!navigator.webdriver) visible = setTimeout(() => enqueue(() => tracker.signal('visible', depth())), VISIBLE_MS);
};

let stirred = 0;
const stir = ({ timeStamp }) => {
  if (timeStamp < stirred) return;
  stirred = timeStamp + STIR_MS;
  tracker.active(depth());
};

const clicked = (event) => {
  // Links alone have a protocol.
  const link = event.composedPath().find(({ protocol }) => /^http/.test(protocol));
  // The second button asks for a menu.
  if (!link || event.button > 1 || ignored(link)) return;
  const download = link.hasAttribute('download') || FILES.test(link.pathname);
  if (download || link.host !== location.host) tracker.click(+download, link.href);
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
    for (const heading of form.getRootNode().querySelectorAll(HEADINGS)) {
      // The form follows it.
      if (heading.compareDocumentPosition(form) & 4) nearest = heading;
    }
  }
  return nearest?.textContent.trim().replace(/\s+/g, ' ') || location.pathname;
};

const ignored = (element) =>
  element && (element.closest('[data-wb-ignore]') || ignored(element.getRootNode().host));

// What was filled in and then taken out of the page, as the steps of a form are, still belongs to the form.
const filled = new WeakMap();

/** `scripted` if the page's code called `submit()`: it may do so after a submission that we have seen. */
const submit = (form, scripted) => {
  if (ignored(form)) return;
  // A field belongs to the form by its own account: `form=` is one way.
  const present = [...form.getRootNode().querySelectorAll('input')].filter((field) => field.form === form);
  // Its value is read only if it may be.
  for (const field of new Set([...present, ...(filled.get(form) ?? [])])) {
    if (!ignored(field)) {
      const meaning = tracker.meaning(field.type, field.getAttribute('autocomplete') ?? '', field.name, field.id);
      if (meaning) tracker.field(meaning, veil(field.value));
    }
  }
  tracker.submit(nameOf(form), +scripted);
};
const submitted = ({ target }) => enqueue(() => submit(target, false));

const entered = (event) => {
  const path = event.composedPath();
  const [field] = path;
  if (field.form) filled.set(field.form, (filled.get(field.form) ?? new Set()).add(field));
  // A submission does not leave a shadow tree: we listen inside, where a listener counts only once.
  for (const node of path) if (node instanceof ShadowRoot) node.addEventListener('submit', submitted, CAPTURE);
};

/** Has `heard` called after each call of a method. */
const overhear = (object, name, heard) =>
  attempt(() => {
    const method = object[name];
    object[name] = function (...given) {
      method.apply(this, given);
      enqueue(() => heard(this));
    };
  })();

/** As `DENIED`, `PENDING` and `GRANTED` of tracker.rs have them. */
const LEVELS = ['denied', 'pending', 'granted'];
let level;

/** The keys of what storage keeps of ours. */
const keys = (pattern) => Object.keys(localStorage).filter((key) => pattern.test(key));

const commands = {
  event: ({ name, properties }) => name && tracker.event(`${name}`, JSON.stringify(properties) ?? ''),
  identify: (traits) => {
    for (const type in traits) tracker.claim(type, veil(`${traits[type]}`));
    tracker.identify();
  },
  consent: () => {
    const given = LEVELS.indexOf(status.consent);
    if (given === level) return;
    level = given;
    // Read before the page's own events are among them, sent after them.
    let kept = [];
    attempt(() => {
      if (level > 1) kept = keys(/^wb_.{36}$/).map((key) => localStorage[key]);
      else if (level < 1) keys(/^wb_/).forEach((key) => localStorage.removeItem(key));
    })();
    tracker.consent(level, (level > 1 && storage()) || '');
    kept.forEach((event) => tracker.restore(event));
  },
  status: (hear) => {
    hear?.({ ...status });
  },
};

let address;
const here = () => (script.hasAttribute('data-hash') ? location.href : location.href.split('#')[0]);
/** Another address, or the same again if `again`. */
const navigated = (again) => {
  if (again || here() !== address) tracker.navigated(location.href);
  // After it was cleaned, which is a navigation, too.
  address = here();
};

const begin = async () => {
  try {
    await load();
    tracker.start(site, location.href, document.referrer);
    address = here();
    commands.consent();
  } catch {
    // No WebAssembly, or a content security policy without 'wasm-unsafe-eval'.
    fallback();
    return;
  }
  busy = false;
  for (const name of ['pushState', 'replaceState']) overhear(history, name, () => navigated());
  on('popstate hashchange', () => navigated());
  // Back from the cache.
  on('pageshow', ({ persisted }) => persisted && navigated(true));
  listen((human) => enqueue(() => tracker.signal(human, depth())));
  on('scroll pointermove pointerdown keydown', stir);
  on('click auxclick', clicked);
  addEventListener('submit', submitted, CAPTURE);
  overhear(HTMLFormElement.prototype, 'submit', (form) => submit(form, true));
  on('focusin', entered);
  on('visibilitychange', watch);
  on('pagehide', () => tracker.leave(1, depth()));
  enqueue(watch);
};

const { wingbeat } = window;
if (script && !wingbeat?.on && !off(script) && !off(document.documentElement)) {
  window.wingbeat = (command, argument) => {
    // At once: what was denied before we began must not begin.
    if (command === 'consent' && LEVELS.includes(argument)) Object.assign(status, { consent: argument, reason: command });
    enqueue(() => commands[command](argument));
    return { ...status };
  };
  window.wingbeat.on = true;
  for (const call of wingbeat?.q ?? []) window.wingbeat(...call);
  // What is loaded ahead of a click that may never come has not been viewed.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
  else begin();
}
