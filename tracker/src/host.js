// The side of the page: loads the tracker, guards the page against it, listens and reads the document.
//
//   <script async src="https://EDGE/wb.js" data-site="SITE_KEY"></script>
//
// To call `wingbeat` before the file has come, put this before it:
//
//   <script>window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments) }</script>
import { call, gives, load, takes } from './border.js';
import { sha256 } from './sha256.js';
import { fallback } from './fallback.js';
import * as first from './first.js';
import * as own from './site.js';
import { asked, attempt, CAPTURE, forget, listen, look, off, refused, say, script, site, status, storage, transmit, utf8, uuidOrNone, visitor } from './site.js';

const HEADINGS = 'h1,h2,h3,h4,h5,h6';
const FILES = /\.(pdf|docx?|xlsx?|pptx?|od[tsp]|rtf|csv|txt|zip|rar|7z|gz|dmg|exe|msi|pkg|apk|mp[34]|mov|epub)$/i;
const VISIBLE_MS = 2000;
/** What a person does is looked at no more often. */
const STIR_MS = 500;

// Whatever happens is put in this line and done one at a time, nothing inside anything else: the page may call
// `wingbeat` from within something that we called. Until WebAssembly is ready the line waits.
const line = [];
let busy = true;
const enqueue = attempt((job) => {
  line.push(job);
  while (!busy && line.length) {
    busy = true;
    attempt(line.shift())();
    busy = false;
  }
});

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
export const { now } = Date;
export const showAddress = takes(own.showAddress);
const key = (kept) => `wb_${kept.split('"')[3]}`;
export const keep = takes((kept) => {
  localStorage[key(kept)] = kept;
});
export const drop = takes((lost, kept) => {
  status.rejected += lost;
  delete localStorage[key(kept)];
});
let waking;
export const wake = (ms) => {
  clearTimeout(waking);
  waking = setTimeout(() => enqueue(() => call('woke')), ms);
};
let retryAfter;
export const post = takes(async (batch, body) => {
  let code = 0;
  retryAfter = 0;
  let answer;
  try {
    const response = await (first.answer() ?? transmit(body));
    // A date is no number of seconds; and a page may have put anything in place of `fetch`.
    retryAfter ||= response.headers.get('Retry-After') | 0;
    answer = await response.json();
    code = response.status | 0;
  } catch {
    // No answer, or not the Worker's, which is JSON.
  }
  status.rejected += answer?.rejected?.length ?? 0;
  enqueue(() => {
    // The Worker may know the browser by another name.
    const known = (level > 1 && !refused() && storage(uuidOrNone(answer?.visitor))) || '';
    call('answered', batch, code, retryAfter, Math.random() * 256, known);
  });
});

/** How far down the page is seen, in percent. */
const depth = () =>
  // 0 of nothing.
  Math.min(100, (100 * (scrollY + innerHeight)) / document.documentElement.scrollHeight + 0.5) | 0;

let visible;
const watch = () => {
  clearTimeout(visible);
  if (document.visibilityState !== 'visible') call('leave', depth());
  else if (!navigator.webdriver) visible = setTimeout(() => enqueue(() => call('signal', 'visible', depth())), VISIBLE_MS);
};

let stirred = 0;
const stir = ({ timeStamp }) => {
  if (timeStamp < stirred) return;
  stirred = timeStamp + STIR_MS;
  call('active', depth());
};

const clicked = (event) => {
  // Links alone have a protocol.
  const link = event.composedPath().find(({ protocol }) => /^http/.test(protocol));
  // The second button asks for a menu.
  if (!link || event.button > 1 || ignored(link)) return;
  const download = link.hasAttribute('download') || FILES.test(link.pathname);
  if (download || link.host !== location.host) call('click', +download, link.href);
};

/** Asks a form's own method, which a field of that name hides. */
const ask = (element, method, ...given) => Element.prototype[method].apply(element, given);

/** The first present of data-wb-name, id, name, aria-label, nearest heading (inside, else before), path. Attributes,
 * not properties: a field called `id` hides the form's property of that name. */
const nameOf = (form) => {
  for (const attribute of ['data-wb-name', 'id', 'name', 'aria-label']) {
    const name = ask(form, 'getAttribute', attribute)?.trim();
    if (name) return name;
  }
  // Inside, else the last that the form follows.
  const nearest =
    ask(form, 'querySelector', HEADINGS) ??
    [...ask(form, 'getRootNode').querySelectorAll(HEADINGS)].filter((heading) => heading.compareDocumentPosition(form) & 4).pop();
  return nearest?.textContent.trim().replace(/\s+/g, ' ') || location.pathname;
};

const ignored = (element) =>
  element && (ask(element, 'closest', '[data-wb-ignore]') || ignored(ask(element, 'getRootNode').host));

// What was filled in and then hidden or taken out of the page, as the steps of a form are, still belongs to the form.
const filled = new WeakMap();
/** What has been submitted since, and counts again only if it still is in the page. */
const sent = new WeakSet();
/** Fields that were passwords before the page showed them. */
const secret = new WeakSet();
/** The last submission that was heard of. */
let heard;
/** The last form that was seen to be submitted, if nothing was entered since. */
let last;

/** The page's code submits (`scripted`) what a person did, once it has checked that. */
const submit = (form, scripted) => {
  if (ignored(form) || (scripted && form === last)) return;
  last = form;
  const entered = [...new Set(filled.get(form))].filter((field) => field.isConnected || !sent.has(field));
  filled.set(form, entered);
  // A field belongs to the form by its own account: `form=` is one way. Those that nobody saw, nobody filled in.
  const present = [...ask(form, 'getRootNode').querySelectorAll('input')].filter(
    (field) => field.form === form && (field.getClientRects()[0] || entered.includes(field)),
  );
  // Its value is read only if it may be.
  for (const field of new Set([...present, ...entered])) {
    sent.add(field);
    if (!(secret.has(field) || field.matches(':disabled') || ignored(field))) {
      const meaning = call('meaning', field.type, field.getAttribute('autocomplete') ?? '', field.name, field.id);
      if (meaning) call('field', meaning, veil(field.value));
    }
  }
  call('submit', nameOf(form));
};
const submitted = (event) =>
  enqueue(() => {
    // It passes the trees of what the form is slotted into, too.
    if (heard !== event) submit(event.target, !event.submitter);
    heard = event;
  });

/** Finds what is a password now, and listens in open shadow trees, which a submission does not leave. */
const search = (root) => {
  for (const element of root.querySelectorAll('*')) {
    if (element.type === 'password') secret.add(element);
    if (element.shadowRoot) search(element.shadowRoot);
  }
  // Counts only once.
  root.addEventListener('submit', submitted, CAPTURE);
};

/** What a person turns to, before the page hears of it. */
const entered = (event) => {
  search(document);
  const path = event.composedPath();
  const [field] = path;
  // A field within a component belongs to the form around that.
  const form = field.type && (field.form ?? path.find((node) => node instanceof HTMLFormElement));
  if (!form || ignored(field)) return;
  sent.delete(field);
  // What is there no more stands behind what took its place.
  filled.set(form, [...new Set(filled.get(form)).add(field)].sort((one, other) => other.isConnected - one.isConnected));
};

/** Has `heard` called after each call of a method. */
const overhear = (object, name, heard) =>
  attempt(() => {
    const method = object[name];
    object[name] = function (...given) {
      const result = method.apply(this, given);
      enqueue(() => heard(this));
      return result;
    };
  })();

/** As `DENIED`, `PENDING` and `GRANTED` of tracker.rs have them. */
const LEVELS = 'denied pending granted'.split(' ');
let level;

/** The keys of what storage keeps of ours: the visitor and events. Not of a refusal. */
const keys = () =>
  Object.keys(localStorage).filter((key) => /^wb_(v|[\da-f-]{36})$/.test(key) && localStorage[key] !== 'denied');

/** What is told of consent: the tracker or, without WebAssembly, the fallback. */
let consents = (level, visitor) => call('consent', level, visitor);

const commands = {
  event: ({ name, properties }) => {
    const json = attempt(() => JSON.stringify(properties) ?? '')();
    if (name && json !== undefined) call('event', `${name}`, json);
    else status.rejected += 1;
  },
  identify: (traits) => {
    for (const type in traits) call('claim', type, veil(`${traits[type]}`));
    call('identify');
  },
  consent: () => {
    look();
    const given = LEVELS.indexOf(status.consent);
    if (given === level) return;
    // Once: those who have refused before, or whose browser asks, are told of to nobody.
    let refuses = !given && (level > 1 || !(asked || refused()));
    level = given;
    // Read before the page's own events are among them, sent after them.
    let kept = [];
    attempt(() => {
      if (level > 1) kept = keys().map((key) => localStorage[key]);
      else if (level < 1) {
        keys().forEach((key) => delete localStorage[key]);
        if (!asked) localStorage.wb_v = 'denied';
      }
      if (refuses) localStorage.wb_owed = 1;
      // By an earlier page, perhaps.
      refuses = localStorage.wb_owed;
    })();
    if (refuses) forget();
    consents(level, visitor(level > 1));
    kept.forEach((event) => call('restore', event));
  },
  status: (hear) => hear?.({ ...status }),
};

let address;
// No address has a space.
const here = () => location.href.split(script.hasAttribute('data-hash') ? ' ' : '#')[0];
const navigated = () => {
  if (here() !== address) call('navigated', location.href);
  // After it was cleaned, which is a navigation, too.
  address = here();
};

const begin = async () => {
  try {
    first.ahead();
    try {
      await load();
      call('start', first.address || location.href, document.referrer, first.page, first.view);
      address = first.address || here();
    } catch {
      // No WebAssembly, or a content security policy without 'wasm-unsafe-eval'.
      consents = fallback;
    }
    attempt(commands.consent)();
    // It is of the first batch, or of none.
    first.answer();
    busy = false;
    if (consents === fallback) {
      // What has waited.
      enqueue(() => {});
      return;
    }
    for (const name of ['pushState', 'replaceState']) overhear(history, name, navigated);
    on('popstate', navigated);
    // What `navigation.navigate()` leads to, and whatever else calls neither of the two.
    window.navigation?.addEventListener('currententrychange', () => enqueue(navigated));
    // Back from the cache.
    on('pageshow', ({ persisted }) => {
      if (persisted) address = 0;
      navigated();
    });
    listen((human) => enqueue(() => call('signal', human, depth())));
    on('click auxclick', clicked);
    on('scroll pointermove pointerdown keydown', stir);
    addEventListener('submit', submitted, CAPTURE);
    overhear(HTMLFormElement.prototype, 'submit', (form) => submit(form, true));
    on('focusin pointerdown', entered);
    on('input', () => {
      last = 0;
    });
    on('visibilitychange', watch);
    on('pagehide', () => call('leave', depth()));
    // Unless the Worker has asked for patience.
    on('online', () => retryAfter || call('woke'));
    enqueue(watch);
    // Before the page shows what is a password now.
    enqueue(() => search(document));
    // It may have gone on since its first view left.
    enqueue(navigated);
  } catch {
    // Whatever the page has done to its objects, it must not notice.
  }
};

const { wingbeat } = window;
if (script && !wingbeat?.on && !off(script) && !off(document.documentElement)) {
  window.wingbeat = attempt((command, argument) => {
    // At once: what was denied before we began must not begin.
    if (command === 'consent' && LEVELS.includes(argument)) say(argument, command);
    enqueue(() => commands[command](argument));
    return { ...status };
  });
  window.wingbeat.on = true;
  for (const call of wingbeat?.q ?? []) window.wingbeat(...call);
  // What is loaded ahead of a click that may never come has not been viewed.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin);
  else begin();
  // Another page was told of a refusal, while this one was open or in the browser's cache.
  // If browsers ask, that is not remembered: then the visitor is no more.
  on('storage pageshow', ({ key, persisted }) => {
    if ((persisted || key === 'wb_v') && (asked ? !storage() : refused())) window.wingbeat('consent', 'denied');
  });
}
