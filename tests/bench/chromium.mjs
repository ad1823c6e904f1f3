// A Chromium for benches.
import { spawn } from "node:child_process";
import { join } from "node:path";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
];

/** Starts one, with its profile in a folder; it is spoken to in the protocol of its developer tools. */
export async function launch(folder) {
  const program = process.env.CHROMIUM || "chromium";
  const child = spawn(program, [...FLAGS, `--user-data-dir=${join(folder, "profile")}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const address = await new Promise((found, failed) => {
    let said = "";
    child.once("error", failed);
    child.stderr.on("data", (text) => {
      said += text;
      const [, url] = said.match(/listening on (ws:\S+)/) ?? [];
      if (url) found(url);
    });
  });
  const socket = new WebSocket(address);
  await new Promise((open, failed) => Object.assign(socket, { onopen: open, onerror: failed }));
  const waiting = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(new Error(error.message));
    else resolve?.(result);
  };
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });
  const { userAgent } = await send("Browser.getVersion");
  const close = async () => {
    await send("Browser.close").catch(() => {});
    await ended;
  };
  return { send, close, userAgent: userAgent.replace("Headless", "") };
}
