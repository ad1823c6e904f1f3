// Where we are and how to send: what the tracker and its fallback share.

export const script = document.currentScript ?? document.querySelector('script[data-site]');
export const site = script?.dataset.site;
export const off = (element) => element.hasAttribute('data-wb-off');

/** Does what may fail, because it is denied, full or malformed; then the result is `undefined`. */
export const attempt = (use) => (...given) => {
  try {
    return use(...given);
  } catch {
    // The page must not notice.
  }
};

/** Whether somebody has refused, here or on another page: that stands in the visitor's place, until the site says
 * `granted`. */
export const refused = attempt(() => localStorage.wb_v === 'denied');

/** How a browser asks not to be tracked, if it does. That is not remembered: it may ask no more. */
export const asked = (navigator.globalPrivacyControl && 'gpc') || (navigator.doNotTrack === '1' && 'dnt');

/** What `wingbeat('status')` tells. */
export const status = { rejected: 0 };
export const say = (consent, reason) => Object.assign(status, { consent, reason });
// Who asks not to be tracked has denied, until the site knows better: then nothing is sent or stored, and no id is made.
if (asked) say('denied', asked);
else if (script?.dataset.consent === 'wait') say('pending', 'wait');
else say('granted', '');

/** So has who has refused. Looked at again before an id is made: that may have been on another page, and since. */
export const look = () => {
  if (status.reason !== 'consent' && refused()) say('denied', 'remembered');
};
look();

/** A random UUID: each 0, 1 and 8 of the pattern becomes random in as many bits as a UUID of version 4 leaves open. Not
 * `crypto.randomUUID`: that is missing on http. */
export const uuid = () =>
  '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
  );

/** What may be a visitor's id; `undefined` for all else that a page or a server may leave in its place. */
export const uuidOrNone = (id) => (/^[\da-f-]{36}$/i.test(id) ? id : undefined);

/** The visitor that storage remembers, after it was asked to remember this one, if one is given. Where it is denied,
 * every page load is a visitor of its own. */
export const storage = attempt((visitor) => {
  if (visitor) localStorage.wb_v = visitor;
  return uuidOrNone(localStorage.wb_v);
});

let own;

/** The visitor, if there may be one: what storage remembers, or a new one, which lives as long as the page where storage
 * is denied. If there may be none, it is forgotten: empty. */
export const visitor = (granted) => {
  own = granted && (storage() ?? storage((own ||= uuid())) ?? own);
  return own || '';
};

/** Posts what outlives the page. A string goes as text/plain, which needs no preflight. */
const post = async (path, body) =>
  fetch(new URL(path, script.src), { method: 'POST', body, keepalive: true, credentials: 'include' });

/** Has the Worker end its cookie, which no script can reach. What it owes a page until it answers, another may ask for. */
export const forget = () => post('forget').then(attempt(() => delete localStorage.wb_owed), attempt);

/** Posts `{"visitor":…,"events":…}`. */
export const transmit = async (batch) => {
  const response = await post('collect', `{"v":1,"site":"${site}",${batch.slice(1)}`);
  // It was on its way when it was denied, and has brought the cookie back.
  if (status.consent === 'denied') forget();
  return response;
};

/** Puts a URL into the address bar, changing nothing else of the history's entry. A sandboxed page may not: what we send
 * is clean all the same. */
export const showAddress = attempt((url) => history.replaceState(history.state, '', url));

/** Input that only a person makes, if it is trusted, and its name on the wire. `scroll` is not among it because a
 * script's and an anchor's scrolling are "trusted" too; the wheel is a person's. A finger's is told by the pointer. */
const INPUTS = { pointerdown: 'pointer', keydown: 'key', touch: 'touch', wheel: 'scroll' };

/** Capturing, because the page may stop the event. */
export const CAPTURE = { capture: true, passive: true };

/** Calls `heard(human)` at the first trusted input. */
export const listen = (heard) => {
  let waits = true;
  const input = ({ isTrusted, type, pointerType }) => {
    if (!isTrusted || !waits) return;
    waits = false;
    heard(INPUTS[pointerType] ?? INPUTS[type]);
  };
  for (const kind in INPUTS) addEventListener(kind, input, CAPTURE);
};

/** A text's bytes. */
export const utf8 = (text) => new TextEncoder().encode(text);

/** A part of a URL without its escapes; what cannot be decoded stays as it is. */
export const decode = (text) => attempt(decodeURIComponent)(text) ?? text;
