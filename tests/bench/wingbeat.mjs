// Wingbeat as the benches run it, and what they send to it.
import { randomBytes, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { request } from "node:http";
import { claimPort, healthy, startRuntime } from "../../edge/ops/runtime.mjs";
import { Failure } from "../../edge/ops/steps.mjs";

/** Events of a batch: as many as Braze sends at most (facts on Braze, 1). */
export const BATCH = 100;
/** Braze says nothing of how many it opens (facts on Braze, 9). */
export const CURRENTS_CONNECTIONS = 8;
export const CURRENTS = "/api/braze/currents/events";
export const SITE = "bench";
const PARTITIONS = 4;

export async function startWingbeat(state) {
  mkdirSync(state, { recursive: true });
  const { port, addresses } = await claimPort(0);
  const [token, admin] = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
  const variables = {
    ADMIN_TOKEN: admin, CURRENTS_TOKEN: token, SITE_KEY: SITE,
    DEPLOYMENT_KEY: randomBytes(32).toString("hex"), PARTITIONS: String(PARTITIONS), WINGBEAT_DEMO: "1",
  };
  const runtime = startRuntime({ state, addresses, variables });
  await healthy(port, runtime.ended);
  return { ...runtime, port, token, admin, counts: true };
}

export const bearer = ({ token }) => ({ authorization: `Bearer ${token}` });

export function post(port, agent, path, headers, body) {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, agent, path, method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) } }, (response) => {
      response.resume();
      response.once("end", () => (response.statusCode === 200 ? resolve() : reject(new Failure(`POST ${path} is answered ${response.statusCode}.`))));
    });
    asked.once("error", reject);
    asked.end(body);
  });
}


export const person = () => ({ user_id: randomBytes(12).toString("hex"), external_user_id: randomUUID() });

/** As Braze sends a campaign's: of every ten, three clicks, which score, three opens and four deliveries. */
export function currentsEvent(user, n, at = Date.now()) {
  const name = n % 10 < 3 ? "Click" : n % 10 < 6 ? "Open" : "Delivery";
  const properties = {
    app_group_id: "5fbd99bac125ca40511f2cb0", campaign_id: "0b1c7a52-5d3e-4f6a-8f39-6a4c1d2e3f40", campaign_name: "Spring sale",
    dispatch_id: "639a35d192b0df004d06514c", send_id: "spring", email_address: `${user.user_id}@example.com`,
    from_domain: "example.com", ip_pool: "main", esp: "SPARKPOST", message_variation_name: "Variant 1",
    ...(name === "Click" && { url: "https://shop.example/spring?utm_source=mail", link_alias: "hero" }),
    ...(name !== "Delivery" && { user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)", device_class: "phone" }),
  };
  return { event_type: `users.messages.email.${name}`, id: randomUUID(), time: Math.floor(at / 1_000), user, properties };
}

export const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
