// Without WebAssembly: the page view, who the link was made for, and the first human signal. Nothing is retried.
import { send, uuid } from './send.js';

const IDENTITY = 'braze_id|br_user_id';
const NOBODY = /^(|[0-]+|null|undefined|anonymous|none|nil|nan|unknown)$|\{\{|\$\{|[\0-\x1f\x7f]/i;
const HUMAN = { pointerdown: 'pointer', keydown: 'key', wheel: 'scroll' };

/** A URL without the parameters of these names: what follows a removed first one takes over its separator. */
const without = (names, url) =>
  url
    .replace(RegExp(`([?&#])(?:${names})(?:=[^&#]*)?(?=[&#]|$)`, 'gi'), (_, first) => (first === '&' ? '' : `${first}\0`))
    .replace(/\0&|[?#]\0/g, '');

/** The first usable value of a parameter; empty if there is none, `undefined` if there is no such parameter. */
const read = (name, url) => {
  let first;
  for (const [, value = ''] of url.matchAll(RegExp(`[?&#]${name}(?:=([^&#]*))?(?=[&#]|$)`, 'gi'))) {
    let text = value;
    try {
      text = decodeURIComponent(value);
    } catch {
      // As written.
    }
    first ||= NOBODY.test(text.trim()) ? '' : text.trim();
  }
  return first;
};

const visitor = () => {
  let id;
  try {
    id = localStorage.wb_v ||= uuid();
  } catch {
    // Storage is denied.
  }
  return id || uuid();
};

export const fallback = (endpoint, site, refused) => {
  const { href } = location;
  const address = without(IDENTITY, href);
  try {
    if (address !== href) history.replaceState(history.state, '', address);
  } catch {
    // A sandboxed page.
  }
  if (refused) return;

  const brazeId = read('braze_id', href);
  const value = brazeId ?? read('br_user_id', href);
  const identity = value ? [{ type: brazeId ? 'braze_id' : 'external_id', value, from: 'url' }] : [];
  const id = visitor();
  const page = uuid();
  const post = (event) => {
    const events = [{ id: uuid(), at: Date.now(), page, identity, ...event }];
    send(endpoint, JSON.stringify({ v: 1, site, visitor: id, events })).catch(() => {});
  };
  const clean = (url) => without(`${IDENTITY}|lid`, url).slice(0, 2048);
  post({ kind: 'page_view', url: clean(href), referrer: clean(document.referrer), name: document.title.slice(0, 256) });

  const signal = ({ isTrusted, type }) => {
    if (!isTrusted) return;
    for (const kind in HUMAN) removeEventListener(kind, signal, true);
    post({ kind: 'engagement', human: HUMAN[type] });
  };
  for (const kind in HUMAN) addEventListener(kind, signal, { capture: true, passive: true });
};
