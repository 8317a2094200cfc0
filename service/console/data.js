// The page "Data": collections, what is held of a patient and its erasure, operations, keys.
import { useState } from "preact/hooks";

import { Audit } from "./audit.js";
import { Asked, Confirm, Failure, Notice, Tabs, TextField, html, useAction, useAsked } from "./elements.js";
import { Keys } from "./keys.js";
import { ScanTile } from "./search.js";
import { http, isLimited, listAll, listCollections, may, say } from "./session.js";
import { count, problemWords, when } from "./words.js";

/** Name, title, scopes; the last ones concern the whole workspace, which a limited key may not ask about. */
const TABS = [
  ["collections", "Collections", ["collection.read"]],
  ["patients", "Patients", ["subject.read"]],
  ["operations", "Operations", ["operation.read"]],
  ["keys", "Keys", ["admin"]],
  ["audit", "Audit log", ["audit.read"]],
];
const OF_WORKSPACE = new Set(["audit"]);

export function Data({ name }) {
  const tabs = TABS.filter(([known, , scopes]) => may(...scopes) && !(isLimited() && OF_WORKSPACE.has(known)));
  const tab = tabs.some(([known]) => known === name) ? name : "collections";
  const Shown = { collections: Collections, patients: Patients, operations: Operations, keys: Keys, audit: Audit }[tab];
  return html`<h1>Data</h1>
    <${Tabs} tabs=${tabs} value=${tab} onChange=${(next) => (window.location.hash = `#/data/${next}`)} label="Kinds of data" />
    <${Shown} />`;
}

function Collections() {
  const asked = useAsked(listCollections, []);
  const [gone, setGone] = useState(null);
  const [name, setName] = useState("");
  const create = useAction(async () => {
    await http.POST("/v1/collections", { body: { name } });
    setName("");
    asked.again();
  });
  return html`<${Asked} asked=${asked}>${(items) => html`
    <div class="scroll" tabindex="0" role="region" aria-label="Collections"><table>
      <thead><tr><th scope="col">Name</th><th scope="col">Scans</th><th scope="col">Pictures</th><th scope="col">Kept for</th><th scope="col">Made</th><th></th></tr></thead>
      <tbody>${items.map((one) => html`<tr key=${one.name}><th scope="row"><a href=${`#/search/${one.name}`}>${one.name}</a></th>
        <td>${one.scans.toLocaleString("en")}</td><td>${one.keep_images ? "kept" : "small ones only"}</td>
        <td>${one.retention_days === null ? "until deleted" : count(one.retention_days, "day")}</td><td>${when(one.created_at)}</td>
        <td>${may("collection.delete") && html`<button type="button" class="danger" onClick=${() => setGone(one)} aria-label=${`Delete ${one.name}`}>Delete</button>`}</td></tr>`)}</tbody></table></div>
    ${items.length === 0 && html`<p>There is no collection yet.</p>`}
    ${gone && html`<${DeleteCollection} one=${gone} onEnd=${() => {
      setGone(null);
      asked.again();
    }} />`}`}<//>
    ${may("collection.write") && html`<form class="row" onSubmit=${(event) => {
      event.preventDefault();
      create.run();
    }}><${TextField} label="New collection" value=${name} onInput=${setName} hint="Letters, digits, dots, hyphens" required />
      <button type="submit" disabled=${create.busy || name === ""}>Create</button></form>`}
    <${Failure} error=${create.error} />`;
}

function DeleteCollection({ one, onEnd }) {
  const [typed, setTyped] = useState("");
  const remove = useAction(async () => {
    await http.DELETE("/v1/collections/{collection}", { params: { path: { collection: one.name } } });
    say(`${one.name} was deleted.`);
    onEnd();
  });
  return html`<${Confirm} title=${`Delete ${one.name}?`} action="Delete it" isBusy=${remove.busy || typed !== one.name} onCancel=${onEnd} onConfirm=${remove.run}>
    <p>${count(one.scans, "scan")} will be gone for good. Classifiers that learned from them stay.</p>
    <${TextField} label=${`Type ${one.name} to confirm`} value=${typed} onInput=${setTyped} />
    <${Failure} error=${remove.error} /><//>`;
}

function Patients() {
  const [typed, setTyped] = useState("");
  const [held, setHeld] = useState(null);
  const [receipt, setReceipt] = useState(null);
  const [isAsked, setAsked] = useState(false);
  const look = useAction(async () => {
    setReceipt(null);
    setHeld(null);
    setHeld((await http.GET("/v1/subjects", { params: { query: { subject_id: typed, limit: 24 } } })).data);
  });
  const erase = useAction(async () => {
    const { data } = await http.DELETE("/v1/subjects", { params: { query: { subject_id: held.subject_id } } });
    // Kept as it was at this moment: the field above may hold another pseudonym by the time it is saved.
    setReceipt({ subject_id: held.subject_id, erased_at: new Date().toISOString(), ...data });
    setHeld(null);
    setAsked(false);
    say("The patient was erased.");
  });
  return html`<form class="row" onSubmit=${(event) => {
      event.preventDefault();
      look.run();
    }}><${TextField} label="Pseudonym of the patient" value=${typed} onInput=${setTyped} required />
      <button type="submit" class="primary" disabled=${look.busy || typed === ""}>Show what is held</button></form>
    <${Failure} error=${look.error} />
    ${held && html`<section aria-labelledby="held"><h2 id="held">Held of ${held.subject_id}</h2>
      <p>${count(held.scans, "scan")} in ${held.collections.map((one) => one.collection).join(", ") || "no collection"};
        ${" "}${held.study_ids.length > 0 ? count(held.study_ids.length, "study", "studies") : "no study named"}.</p>
      ${held.classifiers.length > 0 && html`<p>Learned by ${held.classifiers.map((one) => `${one.classifier} (versions ${one.versions.join(", ")})`).join("; ")}.</p>`}
      <ul class="grid">${held.items.map((scan) => html`<li class="card" key=${`${scan.collection}/${scan.scan_id}`}><${ScanTile} scan=${scan} note=${`${scan.scan_id} in ${scan.collection}`} /></li>`)}</ul>
      ${may("subject.erase") && !isLimited() && html`<button type="button" class="danger" onClick=${() => setAsked(true)}>Erase this patient</button>`}</section>`}
    ${isAsked && html`<${Confirm} title=${`Erase ${held.subject_id}?`} action="Erase for good" isBusy=${erase.busy} onCancel=${() => setAsked(false)} onConfirm=${erase.run}>
      <p>Every scan of this patient goes from every collection, and nothing brings it back.</p><${Failure} error=${erase.error} /><//>`}
    ${receipt && html`<${Receipt} receipt=${receipt} />`}`;
}

function Receipt({ receipt }) {
  const text = JSON.stringify(receipt, null, 2);
  return html`<${Notice} kind="good"><h2>Receipt</h2>
    <p>Patient ${receipt.subject_id}: ${count(receipt.scans.length, "scan")} erased. ${receipt.uploads > 0 ? `${count(receipt.uploads, "uploaded example")} erased.` : ""}</p>
    ${receipt.classifiers.length > 0 && html`<p>These classifiers learned from the patient and stay: ${receipt.classifiers.join(", ")}.
      Refit them to forget what they learned.</p>`}
    ${receipt.copies.length > 0 && html`<p>The same pictures are stored under another patient: ${receipt.copies.map((one) => `${one.collection}/${one.scan_id}`).join(", ")}.</p>`}
    ${receipt.backups_know === false && html`<p><strong>The backups could not be told yet.</strong> The service tells them as soon as it can.</p>`}
    <a class="button" download="receipt.json" href=${`data:application/json,${encodeURIComponent(text)}`}>Save the receipt</a><//>`;
}

const KINDS = {
  fit: "learn a classifier",
  refit: "learn again",
  reembed: "embed again",
  layout: "lay out for the map",
  export: "export",
  import: "import",
  backup: "backup",
  pseudonymize: "replace ids by pseudonyms",
  delete_workspace: "delete a workspace",
};
const MAX_SHOWN = 50;
const STATES = { waiting: "waits", running: "runs", done: "done", failed: "failed", cancelled: "cancelled" };

function Operations() {
  const asked = useAsked(() => listAll((cursor) => http.GET("/v1/operations", { params: { query: { limit: 50, cursor } } }), MAX_SHOWN), []);
  const cancel = useAction(async (id) => {
    await http.DELETE("/v1/operations/{operation_id}", { params: { path: { operation_id: id } } });
    asked.again();
  });
  return html`<div class="buttons"><button type="button" onClick=${asked.again}>Refresh</button></div>
    <${Failure} error=${cancel.error} />
    <${Asked} asked=${asked}>${(items) => items.length === 0 ? html`<p>There was no long work in the last 30 days.</p>` : html`
    <div class="scroll" tabindex="0" role="region" aria-label="Operations"><table>
      <thead><tr><th scope="col">Work</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col">Asked</th><th></th></tr></thead>
      <tbody>${items.map((one) => html`<tr key=${one.operation_id}><th scope="row">${KINDS[one.kind] ?? one.kind}</th>
        <td>${STATES[one.state]}${one.problem ? `: ${problemWords({ problem: one.problem })}` : ""}</td>
        <td>${one.progress.total > 0 ? `${one.progress.done} of ${one.progress.total}` : ""}</td><td>${when(one.created_at)}</td>
        <td>${may("operation.cancel") && (one.state === "waiting" || one.state === "running") && html`<button type="button" disabled=${cancel.busy || one.cancel_asked}
          onClick=${() => cancel.run(one.operation_id)}>${one.cancel_asked ? "Stopping" : "Stop"}</button>`}</td></tr>`)}</tbody></table></div>
    ${items.length === MAX_SHOWN && html`<p class="quiet">The newest ${MAX_SHOWN} are shown.</p>`}`}<//>`;
}
