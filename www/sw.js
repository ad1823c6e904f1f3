// For pages that were made for SalesWings: `sw('init' | 'trackPageviews' | 'trackForms' | 'custom-event', …)`, told to
// Wingbeat. Put its address in place of the old script's; loads wb.js, which stands beside it, or bind.js if there is a
// setting of that one's.
//
//   sw('init', { pid, consent?: 'wait' })           `pid` is the site key, unless data-site on the script says another
//   sw('init', { pid, emailFormat: 'sha256' })      addresses leave the browser only as a hash
//   sw('init', { pid, binding: { mode, trustedDomains } })
//                                                   mode `host`: frames of these domains are guests; `guest`: pages of them
//                                                   are hosts; `auto`: both
//   sw('init', { pid, link, guests, host })         as attributes of bind.js; an empty one loads it, too
//   sw('trackPageviews', { trackHashChange })       pages are viewed anyway; with it those after a `#`, too
//   sw('trackForms')                                nothing to do: they are
//   sw('custom-event', { kind, data, values, pid }) an event called `kind`, with `data` and the values as properties; not if
//                                                   `pid` is another than that of `init`
//
// What a page asks for beyond that, and would get there, is named in the browser's console, once each.
//
// The build makes this file small, and puts what pins the scripts that it loads in place of `BUILDS` (edge/ops/www.mjs).
(() => {
  /** Does what may fail: the page must not notice. Then the result is `undefined`. */
  const attempt = (use) => (...given) => {
    try {
      return use(...given);
    } catch {
      // Nothing to do about it.
    }
  };

  const begin = () => {
    const own = document.currentScript;
    const queue = window.sw?.q ?? [];
    // The same settings as attributes of the tracker's script, which are read when it comes.
    const script = document.createElement('script');
    script.async = true;
    script.nonce = own.nonce;
    Object.assign(script.dataset, own.dataset);

    window.wingbeat ??= function () {
      (wingbeat.q ??= []).push(arguments);
    };
    const bindings = ['link', 'guests', 'host'];
    const load = attempt(() => {
      if (!script.dataset.site || script.isConnected) return;
      const name = bindings.some((binding) => binding in script.dataset) ? 'bind.js' : 'wb.js';
      const address = new URL(name, own.src);
      // Who pins this script pins what it loads with it.
      if (/[?&]v=/.test(own.src)) {
        address.search = `v=${BUILDS[name].version}`;
        script.integrity = BUILDS[name].integrity;
        script.crossOrigin = '';
      }
      // For pages that trust no text as a script's address, if they know this policy.
      const trust = attempt(() =>
        trustedTypes.createPolicy('wingbeat-sw', { createScriptURL: (url) => url }).createScriptURL(address));
      script.src = trust() ?? address;
      document.head.append(script);
    });

    const warned = new Set();
    const lacks = (what) => {
      if (!warned.has(what)) console.warn(`Wingbeat's sw.js: there is nothing here for ${what}`);
      warned.add(what);
    };
    const lacksOptions = (command, options) => {
      for (const name in options) lacks(`'${name}' of sw('${command}')`);
    };

    /** Domains, or origins, in a list or a text, as origins with spaces between. */
    const origins = (domains) =>
      `${domains ?? ''}`.replace(/[^\s,]+/g, (domain) => (domain.includes('://') ? domain : `https://${domain}`));

    /** The key that `init` was called with first. */
    let project;
    const commands = {
      // Those that are named and not used say how events travel and where to, and about its cookie, which is the Worker's.
      init({ pid, consent, emailFormat, binding, transport, apiUrl, debug, clientSideCookie, cookieName, cookiePath, ...more }) {
        if (project && pid !== project) return lacks('a second project');
        project = pid;
        const { dataset } = script;
        dataset.site ??= pid;
        if (consent) dataset.consent ??= consent;
        if (emailFormat === 'sha256') dataset.email ??= emailFormat;
        const { mode = 'standalone', trustedDomains, ...unknown } = binding ?? {};
        const trusted = origins(trustedDomains);
        if (trusted && /host|auto/.test(mode)) more.guests ??= trusted;
        if (trusted && /guest|auto/.test(mode)) more.host ??= trusted;
        if (!trusted && mode !== 'standalone') lacks("'binding' of sw('init') without trustedDomains");
        for (const name of bindings) {
          if (more[name] !== undefined) dataset[name] ??= more[name];
          delete more[name];
        }
        lacksOptions('init', { ...unknown, ...more });
        // After the calls that stand beside it, which may be settings, too.
        queueMicrotask(load);
      },
      trackPageviews({ trackHashChange, trackLocationChange = true, ...more } = {}) {
        if (trackHashChange) script.dataset.hash = '';
        if (!trackLocationChange) lacks("'trackLocationChange: false' of sw('trackPageviews')");
        lacksOptions('trackPageviews', more);
      },
      trackForms({ mode = 'submit', ...more } = {}) {
        if (mode !== 'submit') lacks(`'mode: ${mode}' of sw('trackForms')`);
        lacksOptions('trackForms', more);
      },
      'custom-event'({ kind, data, pid, values, ...more }) {
        // Another project's, of several that the page told.
        if (pid && pid !== project && pid !== script.dataset.site) return;
        const properties = {};
        for (const name in values) {
          const value = values[name];
          if (/string|boolean/.test(typeof value) || Number.isFinite(value)) properties[name] = value;
        }
        wingbeat('event', { name: kind, properties: { ...properties, data } });
        lacksOptions('custom-event', more);
      },
    };
    window.sw = attempt((command, options) => {
      if (commands[command]) commands[command](options);
      else if (command) lacks(`sw('${command}')`);
    });
    attempt(() => {
      for (const call of queue) sw(...call);
    })();
    queueMicrotask(load);
  };
  attempt(begin)();
})();
