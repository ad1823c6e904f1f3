// One visitor over a site's domains, and in its frames. Put its address in place of wb.js, which stands beside it and which
// it loads, with the same attributes and these (origins, with spaces between):
//
//   data-link="https://shop.example"     who goes to these origins by a link, a form or a script of the page is carried over:
//                                        for a minute, once, and only to a page that has this script, too
//   data-guests="https://forms.example"  frames in this page that may know its visitor
//   data-host="https://www.example.com"  pages whose visitor this one takes on when it is in a frame of theirs
//
// What is captured until the visitor is known waits in memory, as without consent. Nothing is bound without consent, here
// and there. `wingbeat('status').binding` says what came of it: `none` (there was nothing to bind), `pending`, `linked`
// or `guest` (the other's visitor is this page's, too), `own` (this page had one of its own, and keeps it), `refused`.
//
// The build makes this file small, and puts what pins the tracker in place of `BUILDS` (edge/ops/www.mjs).
(() => {
  /** Does what may fail on a page that has replaced what it calls; then the result is `undefined`. */
  const attempt = (use) => (...given) => {
    try {
      return use(...given);
    } catch {
      // The page must not notice.
    }
  };

  const begin = () => {
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
    const on = (type, heard, early) => addEventListener(type, attempt(heard), early);

    /** The visitor that storage remembers, after it was asked to remember this one, if one is given. */
    const visitor = attempt((id) => {
      if (id) localStorage.wb_v = id;
      return isId(localStorage.wb_v) ? localStorage.wb_v : undefined;
    });

    /** What somebody has refused on another page stands in the visitor's place. */
    const refused = attempt(() => localStorage.wb_v === 'denied');

    const post = async (path, body) =>
      fetch(new URL(path, own.src), { method: 'POST', body: JSON.stringify(body), keepalive: true, credentials: 'include' });

    // What a link has brought here leaves the address at once; all other bytes stay.
    const parts = location.search.slice(1).split('&');
    const link = parts.find((part) => part.startsWith(PARAMETER))?.slice(PARAMETER.length);
    if (link !== undefined) {
      const rest = parts.filter((part) => !part.startsWith(PARAMETER)).join('&');
      // With the origin, since a path may begin with two slashes.
      const cleaned = location.origin + location.pathname + (rest && `?${rest}`) + location.hash;
      // A sandboxed page may not; the Worker takes it out of what is sent.
      attempt(() => history.replaceState(history.state, '', cleaned))();
    }

    /** Asks the Worker who followed the link. */
    const redeem = async () => {
      if (visitor()) return end('own');
      const from = new URL(document.referrer).origin;
      setTimeout(giveUp, ANSWER_MS);
      for (const wait of [0, 500]) {
        // The other page told the Worker in its last moment: it may arrive after us.
        await new Promise((done) => setTimeout(done, wait));
        const answer = await (await post('link/redeem', { site: own.dataset.site, from, link })).json();
        if (answer.visitor) return end(answer.own ? 'own' : 'linked', answer.visitor);
      }
      end('refused');
    };

    /** Asks the page around us, and goes on to hear it: as long as that waits for consent, or refuses it, so do we. */
    const ask = () => {
      on('message', ({ data, origin, source }) => {
        if (source !== parent || !hosts.includes(origin) || !data?.wingbeat) return;
        answered = true;
        if (data.wingbeat === 'granted') isId(data.visitor) ? end('guest', data.visitor) : end('refused');
        else {
          if (binding !== 'pending' && consent === 'granted') {
            tell('consent', 'denied');
            // That is not this page's own word, to be remembered: the next one asks again.
            tell('status', attempt(() => delete localStorage.wb_v));
          }
          binding = 'pending';
        }
      });
      // To anybody: the question says nothing. Only answers of those listed are heard.
      const who = () =>
        answered || binding !== 'pending' ? clearInterval(again) : parent.postMessage({ wingbeat: 'who' }, '*');
      const again = setInterval(who, ASK_AGAIN_MS);
      setTimeout(giveUp, ANSWER_MS);
      who();
    };

    // Where WebAssembly is forbidden or missing the tracker cannot wait: it sends what it must at once, by itself. These
    // bytes are `\0asm`, version 1, and nothing else.
    const canWait = attempt(() => new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)));
    let attempted = parent !== window && hosts.length ? ask : link && redeem;
    let binding = attempted ? 'pending' : 'none';
    if (attempted && !canWait()) [attempted, binding] = [undefined, 'refused'];

    let tracker;
    const queue = [];
    const tell = (...call) => (tracker ? tracker(...call) : void queue.push(call));

    /** What the page last said, or would have without a word. */
    let consent;
    /** Whether that is without a word. */
    let implied;
    let running = false;
    /** Whether the page around us has. */
    let answered = false;
    const end = (result, id) => {
      if (binding !== 'pending') return;
      // On another page, meanwhile.
      if (implied && refused()) consent = 'denied';
      // Storage that refuses it makes the next page another visitor.
      const bound = consent === 'granted' && id && visitor(id) === id;
      binding = bound || !id ? result : 'refused';
      if (consent === 'granted') wingbeat('consent', consent);
    };
    const giveUp = () => answered || end('refused');
    const bind = async () => {
      if (running) return;
      running = true;
      // The visitor may not be here yet: a minute may go by until then. In any case after what is being said now.
      await (document.prerendering &&
        new Promise((done) => document.addEventListener('prerenderingchange', done, { once: true })));
      try {
        await attempted();
      } catch {
        end('refused');
      }
    };

    /** Who is in a frame of ours and has asked, and from where. They are told of each change. */
    const asking = new Map();
    const answer = () =>
      tell('status', ({ consent: level }) => {
        for (const [guest, origin] of asking) {
          guest.postMessage({ wingbeat: level, visitor: level === 'granted' ? visitor() : undefined }, origin);
        }
      });

    const wingbeat = (command, argument) => {
      let told = argument;
      if (command === 'consent') {
        consent = argument;
        implied = false;
        if (argument === 'granted' && binding === 'pending') {
          told = 'pending';
          bind();
        }
      }
      if (command === 'status' && argument) told = (status) => argument({ ...status, binding });
      const status = tell(command, told);
      if (command === 'consent' && asking.size) answer();
      return status && { ...status, binding };
    };

    /**
     * An address with a name for who goes there, if it is of another of the site's domains and consent is given; the Worker
     * is told whose name it is. Nothing otherwise.
     */
    const carried = (address) => {
      const to = new URL(address, document.baseURI);
      const id = visitor();
      if (!links.includes(to.origin) || to.origin === location.origin || !id || to.search.includes(PARAMETER)) return;
      if (tell('status')?.consent !== 'granted') return;
      const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (byte + 256).toString(16).slice(1)).join('');
      to.search += `${to.search ? '&' : '?'}${PARAMETER}${name}`;
      post('link', { site: own.dataset.site, visitor: id, to: to.origin, link: name }).catch(() => {});
      return to.href;
    };

    /** Has an element lead to another address for this once: it is given its own back when it has. */
    const lead = (element, attribute, to) => {
      const before = element.getAttribute(attribute);
      element.setAttribute(attribute, to);
      setTimeout(() => (before === null ? element.removeAttribute(attribute) : element.setAttribute(attribute, before)));
    };

    const clicked = (event) => {
      const followed = event.composedPath().find(({ protocol }) => /^http/.test(protocol));
      if (!followed || event.button > 1 || followed.closest('[data-wb-ignore]')) return;
      const to = carried(followed.href);
      if (to) lead(followed, 'href', to);
    };

    /** A form on its way, and the button that sends it, if one does. */
    const sent = (form, button) => {
      const said = (name) => button?.getAttribute(`form${name}`) ?? form.getAttribute(name) ?? '';
      const by = said('method').toLowerCase();
      if (by === 'dialog' || form.closest('[data-wb-ignore]')) return;
      const to = carried(said('action'));
      if (!to) return;
      if (by === 'post') {
        if (button?.hasAttribute('formaction')) lead(button, 'formaction', to);
        else lead(form, 'action', to);
      } else {
        // What was filled in takes the place of the address's query.
        const [, name, value] = to.match(/[?&](wb_link)=(\w+)/);
        const add = ({ formData }) => formData.append(name, value);
        form.addEventListener('formdata', add);
        setTimeout(() => form.removeEventListener('formdata', add));
      }
    };

    /** Has `first` called before each call of a method, with what it is called on and with; it may return other arguments. */
    const precede = (object, name, first) => {
      const method = object[name];
      object[name] = function (...given) {
        return method.apply(this, attempt(first)(this, given) || given);
      };
    };

    const carry = () => {
      for (const type of ['click', 'auxclick']) on(type, clicked, true);
      // Last of all: the page may keep it here.
      on('submit', (event) => event.defaultPrevented || sent(event.target, event.submitter));
      precede(HTMLFormElement.prototype, 'submit', (form) => sent(form));
      precede(window, 'open', (_, [address, ...rest]) => address && [carried(address) ?? address, ...rest]);
      // What a script navigates to; what an element does has been seen.
      window.navigation?.addEventListener('navigate', attempt((event) => {
        const { sourceElement, cancelable, defaultPrevented, formData, downloadRequest, destination, navigationType } = event;
        if (sourceElement !== null || !cancelable || defaultPrevented || formData || downloadRequest !== null) return;
        const to = carried(destination.url);
        if (!to) return;
        event.preventDefault();
        location[navigationType === 'replace' ? 'replace' : 'assign'](to);
      }));
    };

    const { q } = window.wingbeat ?? {};
    window.wingbeat = wingbeat;
    wingbeat.q = queue;
    wingbeat.bound = true;
    if (attempted) {
      // Before the tracker hears of it: what is not sent by then never would be.
      on('pagehide', giveUp, true);
      const denied = navigator.globalPrivacyControl || navigator.doNotTrack === '1' || refused();
      if (!denied && own.dataset.consent !== 'wait') {
        wingbeat('consent', 'granted');
        implied = true;
      }
    }
    attempt(() => {
      for (const call of q ?? []) wingbeat(...call);
    })();
    if (guests.length) {
      on('message', ({ data, origin, source }) => {
        if (data?.wingbeat !== 'who' || !guests.includes(origin) || source?.parent !== window) return;
        asking.set(source, origin);
        answer();
      });
    }
    // When the tracker has begun, and after it has listened itself: it notes the link as it is written.
    if (links.length) tell('status', carry);

    const script = document.createElement('script');
    script.async = true;
    script.nonce = own.nonce;
    Object.assign(script.dataset, own.dataset);
    script.onload = attempt(() => {
      tracker = window.wingbeat;
      window.wingbeat = wingbeat;
      wingbeat.on = true;
    });
    const address = new URL('wb.js', own.src);
    // Who pins this script pins the tracker with it.
    if (/[?&]v=/.test(own.src)) {
      address.search = `v=${BUILDS['wb.js'].version}`;
      script.integrity = BUILDS['wb.js'].integrity;
      script.crossOrigin = '';
    }
    // For pages that trust no text as a script's address, if they know this policy.
    const trust = attempt(() => trustedTypes.createPolicy('wingbeat', { createScriptURL: (url) => url }).createScriptURL(address));
    script.src = trust() ?? address;
    document.head.append(script);
  };
  attempt(begin)();
})();
