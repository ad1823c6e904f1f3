// Without WebAssembly: the page view, who the link was made for, and the first trusted input. Nothing is retried.
import { endpoint, listen, refused, showAddress, site, storage, transmit, uuid } from './site.js';

const IDENTITY = 'braze_id|br_user_id';
const NOBODY = /^([0-]*|null|undefined|anonymous)$|\{\{|\$\{|[\0-\x1f\x7f]/i;

/** A parameter: its separator, its name, its value; `names` is an alternation. */
const parameter = (names) => RegExp(`([?&#])(${names})(?:=([^&#]*))?(?=[&#]|$)`, 'gi');

/** A URL without some parameters: what follows a removed first one takes over its separator. */
const without = (names, url) =>
  url.replace(parameter(names), (_, separator) => (separator === '&' ? '' : `${separator}\0`)).replace(/\0&|[?#]\0/g, '');

/** What the URL claims, as tracker.rs and url.rs have it: any `braze_id` suppresses `br_user_id`. */
const claims = (url) => {
  const found = {};
  for (const [, , name, value = ''] of url.matchAll(parameter(IDENTITY))) {
    let text = value;
    try {
      text = decodeURIComponent(value);
    } catch {
      // As written.
    }
    found[name.toLowerCase()] ||= NOBODY.test(text.trim()) ? '' : text.trim();
  }
  const type = 'braze_id' in found ? 'braze_id' : 'external_id';
  const value = found.braze_id ?? found.br_user_id;
  return value ? [{ type, value, from: 'url' }] : [];
};

export const fallback = () => {
  const { href } = location;
  const address = without(IDENTITY, href);
  if (address !== href) showAddress(address);
  if (refused) return;

  const fresh = uuid();
  const visitor = storage() ?? storage(fresh) ?? fresh;
  const page = uuid();
  const identity = claims(href);
  const post = (event) => {
    const events = [{ id: uuid(), at: Date.now(), page, identity, ...event }];
    transmit(JSON.stringify({ v: 1, site, visitor, events })).catch(() => {});
  };
  const clean = (url) => without(`${IDENTITY}|lid`, url).slice(0, 2048);
  post({ kind: 'page_view', url: clean(href), referrer: clean(document.referrer), name: document.title.slice(0, 170) });
  listen((human) => post({ kind: 'engagement', human }));
};
