// What the tracker and its fallback share.

/** A random UUID. Not `crypto.randomUUID`: that is missing on http. */
export const uuid = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join('');
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
};

/** Posts a body that outlives the page. A string goes as text/plain, which needs no preflight. */
export const send = (endpoint, body) =>
  fetch(endpoint, { method: 'POST', body, keepalive: true, credentials: 'include' });
