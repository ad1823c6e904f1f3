// SHA-256 (FIPS 180-4) of a short text, at once: the browser's own takes a moment, in which a form that leads to another
// page takes this one away; and on http it is missing.
import { utf8 } from './site.js';

/** The first 32 bits after the point. */
const fraction = (root) => ((root % 1) * 2 ** 32) | 0;

/** A word rotated to the right by some numbers of bits, the results added without carry. */
const rotated = (word, ...by) => by.reduce((sum, bits) => sum ^ (word >>> bits) ^ (word << (32 - bits)), 0);

/** The hash in hex. The text is shorter than 8 KiB. */
export const sha256 = (text) => {
  const bytes = [...utf8(text), 128];
  const length = 8 * bytes.length - 8;
  while (bytes.length % 64 !== 56) bytes.push(0);
  bytes.push(0, 0, 0, 0, 0, 0, length >> 8, length & 255);

  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
  const hash = primes.slice(0, 8).map((prime) => fraction(prime ** 0.5));

  while (bytes.length) {
    const words = [];
    let state = hash;
    primes.forEach((prime, at) => {
      const [a, b, c, d, e, f, g, h] = state;
      const near = words[at - 2];
      const far = words[at - 15];
      words[at] =
        at < 16
          ? bytes.splice(0, 4).reduce((word, byte) => (word << 8) | byte)
          : (words[at - 16] + words[at - 7] + (rotated(far, 7, 18) ^ (far >>> 3)) + (rotated(near, 17, 19) ^ (near >>> 10))) | 0;
      const one = h + rotated(e, 6, 11, 25) + ((e & f) ^ (~e & g)) + fraction(prime ** (1 / 3)) + words[at];
      const two = rotated(a, 2, 13, 22) + ((a & b) ^ (a & c) ^ (b & c));
      state = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
    });
    state.forEach((word, at) => (hash[at] = (hash[at] + word) | 0));
  }
  return hash.map((word) => (word >>> 0).toString(16).padStart(8, 0)).join('');
};
