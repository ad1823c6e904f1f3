// Without WebAssembly: the page view, who the link was made for, and the first trusted input. Nothing is retried, and what
// identifies nobody is left to the server to find.
import { see, send, view } from './first.js';
import { decode, listen, showAddress } from './site.js';

/** The URL without who it was made for. What follows a removed parameter takes over its separator. */
const without = (url) =>
  url.replace(/([?&#])(br(aze|_user)_id(=[^&#]*)?(&|(?=#)|$))+/gi, '$1').replace(/[?&](?=#|$)|#$/g, '');

/** What the URL claims: any `braze_id` suppresses `br_user_id`, which is the customer's own id. */
const claims = (url) => {
  const brazeId = url.match(/[?&#]braze_id(?:=([^&#]*)|[&#]|$)/i);
  const value = (brazeId ?? url.match(/[?&#]br_user_id=([^&#]*)/i))?.[1];
  return value ? [{ type: brazeId ? 'braze_id' : 'external_id', value: decode(value), from: 'url' }] : [];
};

let identity;
let consent;
let heard;

/** In place of the tracker's `consent`: 0 denied, 1 pending, 2 granted. */
export const fallback = (level) => {
  consent = level;
  if (!identity) {
    const { href } = location;
    identity = claims(href);
    if (without(href) !== href) showAddress(without(href));
  }
  if (consent > 1 && !heard) {
    heard = true;
    view || see(identity);
    listen((human) => consent > 1 && send({ kind: 'engagement', human, identity }));
  }
};
