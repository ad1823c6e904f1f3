// What leaves without WebAssembly: the first page view, which need not wait for it if there is nothing to be read in its
// address, and, where there is no WebAssembly, all that `fallback.js` sends.
import { attempt, look, status, transmit, uuid, visitor } from './site.js';

/** Of the first page view, if it has left: the id of the page load, the address, the event as JSON. */
export let page = '';
export let address = '';
export let view = '';
let sent;

/** Sends an event and returns it as JSON. */
export const send = (event) => {
  page ||= uuid();
  const whole = { id: uuid(), at: Date.now(), page, ...event };
  sent = transmit(JSON.stringify({ visitor: visitor(true), events: [whole] }));
  // Nobody may be there to hear that it failed. (`attempt` does nothing with an error, and a page may have put anything in
  // place of `catch`.)
  sent.then(attempt, attempt);
  return JSON.stringify(whole);
};

const bare = (url) => url.split(/[?#]/)[0];

/** Sends the page view, whose addresses lose what may be secret or somebody's. */
export const see = (identity) => {
  const { href } = location;
  const name = document.title.slice(0, 170);
  view = send({ kind: 'page_view', url: bare(href), name, referrer: bare(document.referrer), identity });
  address = href;
};

/** Sends the page view, if that is all that there is to it: WebAssembly reads addresses, and is there when the title
 * is. A page may have changed what JSON is. */
export const ahead = attempt(() => {
  look();
  const odd = /[?#]/.test(location.href + document.referrer) || ''.toJSON || [].toJSON;
  if (status.consent === 'granted' && document.title && !odd) see();
});

/** The answer to it, once: for the batch that holds it and nothing else. */
export const answer = () => {
  const answered = sent;
  sent = undefined;
  return answered;
};
