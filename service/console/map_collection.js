// A collection of the scans that were selected on the map: copies of them, made without their files.
import { useState } from "preact/hooks";
import { ProblemError } from "sonoprobe-client";

import { Failure, Notice, Progress, TextField, html, useAction } from "./elements.js";
import { http, may, say } from "./session.js";
import { count, problemWords } from "./words.js";

const AT_ONCE = 200; // of one request

/** Refusals of scans. If all scans of a request are refused alike, the request is. */
const OF_SCANS = new Set(["frame_refused", "policy_refused", "name_taken", "invalid_input"]);

export function CollectionOf({ collection, scanIds }) {
  const [name, setName] = useState("");
  const [progress, setProgress] = useState(null);
  const [made, setMade] = useState(null);
  const make = useAction(async () => {
    setMade(null);
    const to = name.trim();
    const isNew = await prepare(collection, to);
    const sum = { to, isNew, created: 0, known: 0, refused: 0, reason: null };
    try {
      for (let start = 0; start < scanIds.length; start += AT_ONCE) {
        setProgress({ done: start, total: scanIds.length });
        await copy(collection, scanIds.slice(start, start + AT_ONCE), sum);
      }
    } finally {
      setProgress(null);
    }
    setMade(sum);
    say(`${count(sum.created, "scan")} copied to ${to}.`);
  });
  if (!may("scan.read", "scan.write", "collection.read")) return null;
  return html`<form class="row" onSubmit=${(event) => {
      event.preventDefault();
      make.run();
    }}><${TextField} label="Make a collection of them" value=${name} onInput=${setName} required
        hint="A new name, or that of a collection that gets them too" />
      <button type="submit" disabled=${make.busy || name.trim() === ""}>Copy all ${scanIds.length}</button></form>
    ${progress && html`<${Progress} label="Copying" ...${progress} />`}
    <${Failure} error=${make.error} />
    ${made && html`<${Made} ...${made} />`}`;
}

function Made({ to, isNew, created, known, refused, reason }) {
  return html`<${Notice} kind=${refused > 0 ? "warn" : "good"}>
    <p>${count(created, "scan")} copied to ${isNew ? "the new collection " : ""}<a href=${`#/search/${to}`}>${to}</a>.
      ${known > 0 && ` ${count(known, "scan")} ${known === 1 ? "was" : "were"} there already.`}
      ${refused > 0 && ` ${count(refused, "scan")} ${refused === 1 ? "was" : "were"} refused: ${reason}`}</p>
    <p class="quiet">Each copy keeps its patient and its labels. A label that you change here from now on does not change there.</p><//>`;
}

/** Create the collection with the rules of the source unless it exists; whether it was created. */
async function prepare(collection, to) {
  try {
    await http.GET("/v1/collections/{collection}", { params: { path: { collection: to } } });
    return false;
  } catch (error) {
    if (!(error instanceof ProblemError && error.code === "unknown_item")) throw error;
  }
  const { data } = await http.GET("/v1/collections/{collection}", { params: { path: { collection } } });
  const { keep_images, retention_days, intake } = data;
  await http.POST("/v1/collections", { body: { name: to, keep_images, retention_days, intake } });
  return true;
}

/** Copy some scans and add up what became of them. */
async function copy(collection, scanIds, sum) {
  const params = { path: { collection } };
  try {
    const body = { to: sum.to, scan_ids: scanIds };
    const { data } = await http.POST("/v1/collections/{collection}/scans/copy", { params, body });
    sum.created += data.created;
    sum.known += data.known;
    sum.refused += data.failed;
    const problem = data.items.find((item) => item.problem)?.problem;
    if (problem) sum.reason ??= problemWords({ problem });
  } catch (error) {
    if (!(error instanceof ProblemError && OF_SCANS.has(error.code))) throw error;
    sum.refused += scanIds.length;
    sum.reason ??= problemWords(error);
  }
}
