// Where we are and how to send: what the tracker and its fallback share.

export const script = document.currentScript ?? document.querySelector('script[data-site]');
export const site = script?.dataset.site;
export const endpoint = script && new URL('collect', script.src).href;
export const off = (element) => element.hasAttribute('data-wb-off');

/** What `wingbeat('status')` tells. A browser that asks not to be tracked has denied, until the site knows better: then
 * nothing is sent or stored, and no id is made. */
export const status = { consent: 'granted', reason: '', rejected: 0 };
if (navigator.globalPrivacyControl) Object.assign(status, { consent: 'denied', reason: 'gpc' });
else if (navigator.doNotTrack === '1') Object.assign(status, { consent: 'denied', reason: 'dnt' });
else if (script?.dataset.consent === 'wait') Object.assign(status, { consent: 'pending', reason: 'wait' });

/** A random UUID. Not `crypto.randomUUID`: that is missing on http. */
export const uuid = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join('');
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
};

/** What has the form of a visitor's id; `undefined` for all else that a page or a server may leave in its place. */
export const uuidOrNone = (id) => (/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id) ? id : undefined);

/** Does what may fail, because it is denied, full or malformed; then the result is `undefined`. */
export const attempt = (use) => (...given) => {
  try {
    return use(...given);
  } catch {
    // The page must not notice.
  }
};

/** The visitor that storage remembers, after it was asked to remember this one, if one is given. Where it is denied,
 * every page load is a visitor of its own. */
export const storage = attempt((visitor) => {
  if (visitor) localStorage.wb_v = visitor;
  return uuidOrNone(localStorage.wb_v);
});

/** Posts a body, which outlives the page. A string goes as text/plain, which needs no preflight. */
export const transmit = (body) => fetch(endpoint, { method: 'POST', body, keepalive: true, credentials: 'include' });

/** Puts a URL into the address bar, changing nothing else of the history's entry. A sandboxed page may not: what we send
 * is clean all the same. */
export const showAddress = attempt((url) => history.replaceState(history.state, '', url));

/** Input that only a person makes, if it is trusted, and its name on the wire. `scroll` is not among it because a
 * script's and an anchor's scrolling are "trusted" too; the wheel is a person's. A finger's is told by the pointer. */
const INPUTS = { pointerdown: 'pointer', keydown: 'key', touch: 'touch', wheel: 'scroll' };

/** Calls `heard(human)` at the first trusted input, and listens no more. */
export const listen = (heard) => {
  const input = ({ isTrusted, type, pointerType }) => {
    if (!isTrusted) return;
    for (const kind in INPUTS) removeEventListener(kind, input, true);
    heard(INPUTS[pointerType] ?? INPUTS[type]);
  };
  for (const kind in INPUTS) addEventListener(kind, input, { capture: true, passive: true });
};

/** A part of a URL without its escapes; what cannot be decoded stays as it is. */
export const decode = (text) => attempt(decodeURIComponent)(text) ?? text;
