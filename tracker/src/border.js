// How strings and numbers cross to WebAssembly and back: wasm-bindgen's conventions for them, without the rest of its
// JavaScript, which is eight times as long. A string is a pointer and a length in UTF-8; what is passed in is the
// callee's to free, what is passed out the caller's. `build.mjs` puts the short names in place of `wasm.…`
// and of `call('…'`.
import { source } from 'wingbeat:wasm';
import { attempt, utf8 } from './site.js';

let wasm;

const memory = (pointer, length) => new Uint8Array(wasm.memory.buffer, pointer, length);

const read = (pointer, length) => new TextDecoder().decode(memory(pointer, length));

const pass = (text) => {
  const bytes = utf8(text);
  const { length } = bytes;
  const pointer = wasm.__wbindgen_malloc(length, 1);
  memory(pointer, length).set(bytes);
  return [pointer, length];
};

/** Calls the export of a name with strings and numbers. */
export const call = (name, ...given) => wasm[name](...given.flatMap((value) => (value === +value ? value : pass(value))));

/** An import that takes numbers and, last, a string. It fails in silence: an exception would tear the tracker. */
export const takes = (use) =>
  attempt((...given) => {
    const text = read(...given.splice(-2));
    use(...given, text);
  });

/** An import that gives a string, or makes one of another. */
export const gives = (make) => (result, pointer, length) => {
  // Before the view is made: it may move the memory.
  const string = pass(make(pointer && read(pointer, length)));
  new Uint32Array(wasm.memory.buffer, result, 2).set(string);
};

/** Fails where there is no WebAssembly, or a content security policy without 'wasm-unsafe-eval'. */
export const load = async () => {
  wasm = (await source()).instance.exports;
};
