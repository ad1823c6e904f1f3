// What browsers are served, in one folder: the tracker, the scripts of `www/` that load it, made small, and the demo site.
// Each script stands there under the name of its content, too, and packed by brotli.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { root } from "./node.mjs";
import { Failure } from "./steps.mjs";

/**
 * What `bind.js` may add to the 10,000 bytes of `wb.js` (tracker/build.mjs): a page that binds several domains or frames
 * downloads both.
 */
const BIND_BROTLI_MAX = 2_200;
/** What `sw.js` may add, which loads `wb.js` or `bind.js`. */
const SW_BROTLI_MAX = 1_300;

/** Fills the folder; returns the scripts that pages name, without their folder. */
export async function makeWww(folder, tracker) {
  cpSync(join(root, "www"), folder, { recursive: true });
  const builds = {};
  // In the order in which they name one another: one that is pinned loads what it was built with, by its hash.
  for (const name of ["wb.js", "bind.js", "sw.js"]) {
    const bytes = name === "wb.js" ? readFileSync(tracker) : await makeSmall(join(root, "www", name), builds);
    builds[name] = identify(bytes);
    writeFileSync(join(folder, name), bytes);
    // What `?v=` asks for (edge/src/assets.rs). Builds that are to outlive the next are kept below www/, by these names.
    const named = join(folder, basename(name, ".js"));
    mkdirSync(named, { recursive: true });
    writeFileSync(join(named, `${builds[name].version}.js`), bytes);
  }
  for (const file of readdirSync(folder, { recursive: true })) {
    if (file.endsWith(".js")) writeFileSync(join(folder, `${file}.br`), pack(readFileSync(join(folder, file))));
  }
  for (const [name, most] of [["bind.js", BIND_BROTLI_MAX], ["sw.js", SW_BROTLI_MAX]]) {
    const size = readFileSync(join(folder, `${name}.br`)).length;
    if (size > most) throw new Failure(`${name} has ${size} bytes of brotli, over ${most}`);
  }
  return Object.keys(builds);
}

/** What a page pins a build of a script by: the version in its address, and its hash for Subresource Integrity. */
export function identify(bytes) {
  const hash = (name, encoding) => createHash(name).update(bytes).digest(encoding);
  return { version: hash("sha256", "hex").slice(0, 24), integrity: `sha384-${hash("sha384", "base64")}` };
}

/** A script without comments and long names; `BUILDS` in it becomes what pins those that it may load. */
async function makeSmall(path, builds) {
  // Here, since the file is read before npm has installed anything.
  const { default: uglify } = await import("uglify-js");
  const { code, error } = uglify.minify(readFileSync(path, "utf8"), {
    compress: { passes: 3, unsafe_comps: true, global_defs: { BUILDS: builds } },
  });
  if (error) throw error;
  return Buffer.from(code);
}

/** As the tracker's own build measures it. */
const pack = (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
