// Without WebAssembly: the page view, who the link was made for, and the first trusted input. Nothing is retried, and
// what identifies nobody is left to the server to find.
import { decode, listen, showAddress, site, status, storage, transmit, uuid } from './site.js';

/** A parameter: its separator and its value; `names` is an alternation. */
const parameter = (names, flags) => RegExp(`([?&#])(?:${names})(?:=([^&#]*))?(?=[&#]|$)`, flags);

/** A URL without some parameters: what follows a removed first one takes over its separator. */
const without = (names, url) =>
  url
    .replace(parameter(names, 'gi'), (_, separator) => (separator === '&' ? '' : `${separator}\0`))
    .replace(/\0&|[?#]\0(?!&)/g, '');

/** What the URL claims: any `braze_id` suppresses `br_user_id`, which is the customer's own id. */
const claims = (url) => {
  const brazeId = url.match(parameter('braze_id', 'i'));
  const value = (brazeId ?? url.match(parameter('br_user_id', 'i')))?.[2];
  return value ? [{ type: brazeId ? 'braze_id' : 'external_id', value: decode(value), from: 'url' }] : [];
};

export const fallback = () => {
  const { href } = location;
  const address = without('braze_id|br_user_id', href);
  if (address !== href) showAddress(address);
  if (status.consent !== 'granted') return;

  const fresh = uuid();
  const visitor = storage() ?? storage(fresh) ?? fresh;
  const page = uuid();
  const identity = claims(href);
  const post = (event) => {
    const events = [{ id: uuid(), at: Date.now(), page, identity, ...event }];
    transmit(JSON.stringify({ v: 1, site, visitor, events })).catch(() => {});
  };
  const sent = (url) => without('braze_id|br_user_id|lid', url).slice(0, 2048);
  post({ kind: 'page_view', url: sent(href), referrer: sent(document.referrer), name: document.title.slice(0, 170) });
  listen((human) => post({ kind: 'engagement', human }));
};
