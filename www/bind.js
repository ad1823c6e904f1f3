// One visitor over a site's domains, and in its frames. Put its address in place of wb.js, which stands beside it and which
// it loads, with the same attributes and these (origins, with spaces between):
//
//   data-link="https://shop.example"     links to these origins carry the visitor over: for a minute, once, and only to a
//                                        page that has this script, too
//   data-guests="https://forms.example"  frames in this page that may know its visitor
//   data-host="https://www.example.com"  pages whose visitor this one takes on when it is in a frame of theirs
//
// What is captured until the visitor is known waits in memory, as without consent. Nothing is bound without consent, here
// and there. `wingbeat('status').binding` says what came of it: `none` (there was nothing to bind), `pending`, `linked`
// or `guest` (the other's visitor is this page's, too), `own` (this page had one of its own, and keeps it), `refused`.
(() => {
  const own = document.currentScript;
  const off = (element) => element.hasAttribute('data-wb-off');
  if (!own || window.wingbeat?.on || window.wingbeat?.bound || off(own) || off(document.documentElement)) return;

  const PARAMETER = 'wb_link=';
  /** How long the Worker, and a page around us, may take to answer. */
  const ANSWER_MS = 5000;
  /** The page around us may get its script later than we. */
  const ASK_AGAIN_MS = 250;

  const listed = (name) => (own.dataset[name] ?? '').split(/[\s,]+/).filter(Boolean);
  const links = listed('link');
  const guests = listed('guests');
  const hosts = listed('host');
  const isId = (id) => /^[\da-f-]{36}$/i.test(id);

  /** The visitor that storage remembers, after it was asked to remember this one, if one is given. */
  const visitor = (id) => {
    try {
      if (id) localStorage.wb_v = id;
      return isId(localStorage.wb_v) ? localStorage.wb_v : undefined;
    } catch {
      return undefined;
    }
  };

  // A page may have put anything in place of `fetch`.
  const post = async (path, body) =>
    fetch(new URL(path, own.src), { method: 'POST', body: JSON.stringify(body), keepalive: true, credentials: 'include' });

  // What a link has brought here leaves the address at once; all other bytes stay.
  const parts = location.search.slice(1).split('&');
  const link = parts.find((part) => part.startsWith(PARAMETER))?.slice(PARAMETER.length);
  if (link !== undefined) {
    const rest = parts.filter((part) => !part.startsWith(PARAMETER)).join('&');
    try {
      history.replaceState(history.state, '', location.origin + location.pathname + (rest && `?${rest}`) + location.hash);
    } catch {
      // A sandboxed page may not; the Worker takes it out of what is sent.
    }
  }

  /** Asks the Worker who followed the link. */
  const redeem = async () => {
    if (visitor()) return ['own'];
    const from = new URL(document.referrer).origin;
    setTimeout(() => end('refused'), ANSWER_MS);
    for (const wait of [0, 500]) {
      // The other page told the Worker in its last moment: it may arrive after us.
      await new Promise((done) => setTimeout(done, wait));
      const answer = await (await post('link/redeem', { site: own.dataset.site, from, link })).json();
      if (answer.visitor) return [answer.own ? 'own' : 'linked', answer.visitor];
    }
    return ['refused'];
  };

  /** Asks the page around us. As long as that waits for consent, so do we. */
  const ask = () =>
    new Promise((heard) => {
      const stop = () => {
        clearInterval(again);
        clearTimeout(enough);
      };
      const give = (...result) => {
        stop();
        heard(result);
      };
      addEventListener('message', ({ data, origin, source }) => {
        if (source !== parent || !hosts.includes(origin) || !data?.wingbeat) return;
        stop();
        if (data.wingbeat === 'granted' && isId(data.visitor)) give('guest', data.visitor);
        else if (data.wingbeat !== 'pending') give('refused');
      });
      // To anybody: the question says nothing. Only answers of those listed are heard.
      const who = () => parent.postMessage({ wingbeat: 'who' }, '*');
      const again = setInterval(who, ASK_AGAIN_MS);
      const enough = setTimeout(() => give('refused'), ANSWER_MS);
      who();
    });

  /** Where WebAssembly is forbidden or missing the tracker cannot wait: it sends what it must at once, by itself. */
  const canWait = () => {
    try {
      // `\0asm`, version 1, and nothing else.
      return !!new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
    } catch {
      return false;
    }
  };
  let attempt = parent !== window && hosts.length ? ask : link && redeem;
  let binding = attempt ? 'pending' : 'none';
  if (attempt && !canWait()) [attempt, binding] = [undefined, 'refused'];

  let tracker;
  const queue = [];
  const tell = (...call) => (tracker ? tracker(...call) : void queue.push(call));

  /** What the page last said, or would have without a word. */
  let consent;
  let running = false;
  const end = (result, id) => {
    if (binding !== 'pending') return;
    // Storage that refuses it makes the next page another visitor.
    const bound = consent === 'granted' && id && visitor(id) === id;
    binding = bound || !id ? result : 'refused';
    if (consent === 'granted') wingbeat('consent', consent);
  };
  const bind = async () => {
    if (running) return;
    running = true;
    // The visitor is not here yet: a minute may go by until then.
    if (document.prerendering) await new Promise((on) => document.addEventListener('prerenderingchange', on, { once: true }));
    try {
      end(...(await attempt()));
    } catch {
      end('refused');
    }
  };

  /** Who is in a frame of ours and waits for an answer, and from where. */
  const waiting = new Map();
  const answer = () =>
    tell('status', ({ consent: level }) => {
      for (const [guest, origin] of waiting) {
        guest.postMessage({ wingbeat: level, visitor: level === 'granted' ? visitor() : undefined }, origin);
      }
      if (level !== 'pending') waiting.clear();
    });

  const wingbeat = (command, argument) => {
    let told = argument;
    if (command === 'consent') {
      consent = argument;
      if (argument === 'granted' && binding === 'pending') {
        told = 'pending';
        bind();
      }
    }
    if (command === 'status' && argument) told = (status) => argument({ ...status, binding });
    const status = tell(command, told);
    if (command === 'consent' && waiting.size) answer();
    return status && { ...status, binding };
  };

  /** A link to another of the site's domains is given a name in the click, and its own address back after it. */
  const carry = (event) => {
    const followed = event.composedPath().find(({ protocol, origin }) => /^http/.test(protocol) && links.includes(origin));
    const id = visitor();
    if (!followed || event.button > 1 || followed.origin === location.origin || !id) return;
    if (followed.closest('[data-wb-ignore]') || tell('status')?.consent !== 'granted') return;
    const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const before = followed.getAttribute('href');
    followed.search += `${followed.search ? '&' : '?'}${PARAMETER}${name}`;
    setTimeout(() => followed.setAttribute('href', before));
    post('link', { site: own.dataset.site, visitor: id, to: followed.origin, link: name }).catch(() => {});
  };

  const { q } = window.wingbeat ?? {};
  window.wingbeat = wingbeat;
  wingbeat.q = queue;
  wingbeat.bound = true;
  if (attempt) {
    // Before the tracker hears of it: what is not sent by then never would be.
    addEventListener('pagehide', () => end('refused'), true);
    const asked = navigator.globalPrivacyControl || navigator.doNotTrack === '1';
    if (!asked && own.dataset.consent !== 'wait') wingbeat('consent', 'granted');
  }
  for (const call of q ?? []) wingbeat(...call);
  if (guests.length) {
    addEventListener('message', ({ data, origin, source }) => {
      if (data?.wingbeat !== 'who' || !guests.includes(origin) || source?.parent !== window) return;
      waiting.set(source, origin);
      answer();
    });
  }
  // When the tracker has begun, and after it has listened itself: it notes the link as it is written.
  if (links.length) tell('status', () => ['click', 'auxclick'].forEach((type) => addEventListener(type, carry, true)));

  const script = document.createElement('script');
  script.async = true;
  const { href } = new URL('wb.js', own.src);
  // A page may take scripts' addresses from policies only; `trusted-types`, if it says which, must name this one.
  script.src = window.trustedTypes?.createPolicy('wingbeat', { createScriptURL: () => href }).createScriptURL(href) ?? href;
  script.nonce = own.nonce;
  Object.assign(script.dataset, own.dataset);
  script.onload = () => {
    tracker = window.wingbeat;
    window.wingbeat = wingbeat;
    wingbeat.on = true;
  };
  document.head.append(script);
})();
