// For pages that were made for SalesWings: `sw('init' | 'trackPageviews' | 'trackForms' | 'custom-event', …)`, told to
// Wingbeat. Put its address in place of the old script's; loads wb.js, which stands beside it, or bind.js if there is a
// setting of that one's.
//
//   sw('init', { pid, consent?: 'wait' })           `pid` is the site key, unless data-site on the script says another
//   sw('init', { pid, emailFormat: 'sha256' })      addresses leave the browser as hashes
//   sw('init', { pid, link, guests, host })         as attributes of bind.js; an empty one loads it, too
//   sw('trackPageviews', { trackHashChange })       pages are viewed anyway; with it those after a `#`, too
//   sw('trackForms')                                nothing to do: they are
//   sw('custom-event', { kind, data, values })      an event called `kind`, with `data` and the values as properties
(() => {
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
  const load = () => {
    if (!script.dataset.site || script.isConnected) return;
    const binds = bindings.some((name) => name in script.dataset);
    const { href } = new URL(binds ? 'bind.js' : 'wb.js', own.src);
    // See bind.js.
    script.src = window.trustedTypes?.createPolicy('wingbeat-sw', { createScriptURL: () => href }).createScriptURL(href) ?? href;
    document.head.append(script);
  };
  const commands = {
    init({ pid, consent, emailFormat, ...more }) {
      script.dataset.site ??= pid;
      if (consent) script.dataset.consent ??= consent;
      if (emailFormat) script.dataset.email ??= emailFormat;
      for (const name of bindings) if (more[name] !== undefined) script.dataset[name] ??= more[name];
      // After the calls that stand beside it, which may be settings, too.
      queueMicrotask(load);
    },
    trackPageviews(options) {
      if (options?.trackHashChange) script.dataset.hash = '';
    },
    'custom-event'({ kind, data, values }) {
      wingbeat('event', { name: kind, properties: { ...values, data } });
    },
  };
  window.sw = (command, options) => {
    try {
      commands[command]?.(options);
    } catch {
      // The page must not notice.
    }
  };
  for (const call of queue) sw(...call);
  queueMicrotask(load);
})();
