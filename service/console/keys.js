// The keys of the workspace: make, rotate, revoke.
import { useState } from "preact/hooks";

import { Asked, Choice, Confirm, Failure, Notice, TextField, html, useAction, useAsked } from "./elements.js";
import { http, listAll, say } from "./session.js";
import { when } from "./words.js";

const ROLES = [
  ["reader", "reader: search and predict"],
  ["annotator", "annotator: label too"],
  ["curator", "curator: upload and teach too"],
  ["operator", "operator: collections, erasure, export"],
  ["auditor", "auditor: read what happened"],
  ["admin", "admin: everything, keys too"],
];

const VALID = "valid";
const REPLACED = "replaced, still works"; // until it ends

export function Keys() {
  const asked = useAsked(() => listAll((cursor) => http.GET("/v1/keys", { params: { query: { limit: 100, cursor } } })), []);
  const [made, setMade] = useState(null);
  const [going, setGoing] = useState(null);
  const rotate = useAction(async (key) => {
    const params = { path: { key_id: key.key_id } };
    setMade({ ...(await http.POST("/v1/keys/{key_id}/rotate", { params, body: {} })).data, isSuccessor: true });
    asked.again();
  });
  const revoke = useAction(async () => {
    await http.DELETE("/v1/keys/{key_id}", { params: { path: { key_id: going.key_id } } });
    say(`${going.name} was revoked.`);
    setGoing(null);
    asked.again();
  });
  return html`${made && html`<${Notice} kind="good"><p>The key <strong>${made.key.name}</strong>, shown only now:</p>
      ${made.isSuccessor && html`<p class="quiet">The old key still works for a day, so that the device can be changed.</p>`}
      <p><code class="secret">${made.secret}</code></p><button type="button" onClick=${() => setMade(null)}>I have stored it</button><//>`}
    <${Failure} error=${rotate.error} />
    <${Asked} asked=${asked}>${(items) => html`<div class="scroll" tabindex="0" role="region" aria-label="Keys"><table>
      <thead><tr><th scope="col">Name</th><th scope="col">May</th><th scope="col">In</th><th scope="col">Last used</th><th scope="col">Ends</th><th scope="col">State</th><th></th></tr></thead>
      <tbody>${items.map((key) => html`<tr key=${key.key_id}><th scope="row">${key.name}</th><td>${[...key.roles, ...key.scopes].join(", ")}</td><td>${limitsOf(key)}</td>
        <td>${when(key.last_used_at)}</td><td>${key.expires_at ? when(key.expires_at) : "no end"}</td><td>${stateOf(key)}</td>
        <td class="buttons">${stateOf(key) === VALID && html`<button type="button" disabled=${rotate.busy} onClick=${() => rotate.run(key)} aria-label=${`Rotate ${key.name}`}>Rotate</button>`}
          ${[VALID, REPLACED].includes(stateOf(key)) && html`<button type="button" class="danger" onClick=${() => setGoing(key)} aria-label=${`Revoke ${key.name}${stateOf(key) === REPLACED ? ", the replaced key" : ""}`}>Revoke</button>`}</td></tr>`)}</tbody></table></div>`}<//>
    <${NewKey} onMade=${(answer) => {
      setMade(answer);
      asked.again();
    }} />
    ${going && html`<${Confirm} title=${`Revoke ${going.name}?`} action="Revoke it" isBusy=${revoke.busy} onCancel=${() => setGoing(null)} onConfirm=${revoke.run}>
      <p>Programs with this key get an error from now on.</p><${Failure} error=${revoke.error} /><//>`}`;
}

function stateOf(key) {
  if (key.revoked_at) return "revoked";
  if (key.expires_at && new Date(key.expires_at) <= new Date()) return "expired";
  return key.replaced_by ? REPLACED : VALID;
}

const LIVES = [["", "no end"], ["1", "after a day"], ["30", "after 30 days"], ["90", "after 90 days"], ["365", "after a year"]];
const DAY_MS = 86_400_000;

function NewKey({ onMade }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState("reader");
  const [days, setDays] = useState("90");
  const [collections, setCollections] = useState("");
  const [classifiers, setClassifiers] = useState("");
  const create = useAction(async () => {
    const body = {
      name,
      roles: [role],
      expires_at: days === "" ? null : new Date(Date.now() + DAY_MS * Number(days)).toISOString(),
      collections: namesIn(collections),
      classifiers: namesIn(classifiers),
    };
    const { data } = await http.POST("/v1/keys", { body });
    setName("");
    onMade(data);
  });
  return html`<h2>New key</h2><form onSubmit=${(event) => {
      event.preventDefault();
      create.run();
    }}><div class="row"><${TextField} label="Name of the device or program" value=${name} onInput=${setName} required />
      <${Choice} label="Role" value=${role} options=${ROLES} onChange=${setRole} />
      <${Choice} label="Ends" value=${days} options=${LIVES} onChange=${setDays} /></div>
      <details><summary>Only some collections or classifiers</summary><div class="row">
        <${TextField} label="Collections" value=${collections} onInput=${setCollections} hint="Names with commas; study7-* means all that begin so. Empty: all." />
        <${TextField} label="Classifiers" value=${classifiers} onInput=${setClassifiers} hint="The same for classifiers." /></div></details>
      <button type="submit" disabled=${create.busy || name.trim() === ""}>Make a key</button></form>
    <${Failure} error=${create.error} />`;
}

/** The names between commas; null if there is none. */
function namesIn(text) {
  const names = text.split(",").map((one) => one.trim()).filter(Boolean);
  return names.length > 0 ? names : null;
}

/** What a key is limited to, in words. */
function limitsOf(key) {
  const parts = [
    ["collections", key.collections],
    ["classifiers", key.classifiers],
  ].filter(([, names]) => names);
  return parts.map(([kind, names]) => `${kind}: ${names.join(", ") || "none"}`).join("; ") || "everything";
}
