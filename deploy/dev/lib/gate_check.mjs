// @great-detail/whatsapp, as it comes from npm, against the gate. Started by a test of channel-service's.
import assert from "node:assert/strict";

const { default: Client } = await import(process.env.GATE_NODE_CLIENT);
const { GATE_BASE, GATE_NUMBER: phoneNumberID, GATE_TOKEN, GATE_PERSON: to } = process.env;

const sdk = new Client({
  prefixUrl: `${GATE_BASE}/graph`,
  graphVersion: "v23.0",
  request: { headers: { Authorization: `Bearer ${GATE_TOKEN}` } },
});
const sent = await sdk.message.createMessage({ phoneNumberID, to, type: "text", text: { body: "Halo dari Node" } });
const told = typeof sent.json === "function" ? await sent.json() : sent;
assert.match(told.messages[0].id, /^wamid\./);
assert.equal(told.contacts[0].wa_id, to);
await assert.rejects(async () => {
  const refused = await sdk.message.createMessage({ phoneNumberID: "1", to, type: "text", text: { body: "x" } });
  if (typeof refused.json === "function") await refused.json();
});
console.log("done");
