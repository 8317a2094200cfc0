// Scans that were selected on the map: their pictures, one label for all, or a place in a new collection.
import { useState } from "preact/hooks";

import { Failure, Notice, Progress, TextField, Thumbnail, html, useAction } from "./elements.js";
import { CollectionOf } from "./map_collection.js";
import { http, may, say, thumbnailPath } from "./session.js";
import { count } from "./words.js";

const MAX_PICTURES = 24;

export function Selection({ map, collection, task, selected, onClear, onLabelled }) {
  const [label, setLabel] = useState("");
  const [progress, setProgress] = useState(null);
  const [before, setBefore] = useState(null);
  const classes = [...new Set(map.labels.filter((one) => one !== null))].sort();
  /** Store one after the other; a failure ends it, and `onStored` knows how many went before. */
  const store = async (changes, onStored) => {
    let done = 0;
    try {
      for (const [scanId, value] of changes) {
        setProgress({ done, total: changes.length });
        const params = { path: { collection, scan_id: scanId } };
        await http.PATCH("/v1/collections/{collection}/scans/{scan_id}", { params, body: { labels: { [task]: value } } });
        done += 1;
      }
    } finally {
      setProgress(null);
      onStored(done);
    }
  };
  const give = useAction(async () => {
    const changed = selected.filter((index) => map.labels[index] !== label.trim());
    const former = changed.map((index) => [map.scan_ids[index], map.labels[index]]);
    setBefore(null);
    await store(changed.map((index) => [map.scan_ids[index], label.trim()]), (done) => setBefore(former.slice(0, done)));
    say(`${count(changed.length, "scan")} labelled ${label.trim()}.`);
  });
  const undo = useAction(async () => {
    await store(before, (done) => setBefore(done < before.length ? before.slice(done) : null));
    say("Undone.");
  });
  return html`<section aria-labelledby="selection"><h2 id="selection">${count(selected.length, "scan")} selected</h2>
    ${task && may("scan.label") && html`<form class="row" onSubmit=${(event) => {
        event.preventDefault();
        give.run();
      }}><${TextField} label=${`New label for “${task}”`} value=${label} list="map-classes" onInput=${setLabel} required />
        <datalist id="map-classes">${classes.map((one) => html`<option value=${one} />`)}</datalist>
        <button type="submit" class="primary" disabled=${give.busy || label.trim() === ""}>Label all ${selected.length}</button>
        <button type="button" onClick=${onClear}>Clear the selection</button></form>`}
    ${progress && html`<${Progress} label="Labelling" ...${progress} />`}
    <${Failure} error=${give.error ?? undo.error} />
    ${before && html`<${Notice} kind=${give.error ? "warn" : "good"}><p>${count(before.length, "label")} stored${give.error ? ", the others not" : ""}.</p><div class="buttons">
      <button type="button" disabled=${undo.busy} onClick=${undo.run}>Undo</button>
      <button type="button" onClick=${onLabelled}>Draw the map anew</button></div><//>`}
    <${CollectionOf} key=${`${selected.length}/${selected[0]}`} collection=${collection} scanIds=${selected.map((index) => map.scan_ids[index])} />
    <div class="strip">${selected.slice(0, MAX_PICTURES).map((index) => html`<figure key=${map.scan_ids[index]}>
      <${Thumbnail} path=${thumbnailPath(collection, map.scan_ids[index])} alt=${map.labels[index] ?? "no label"} />
      <figcaption>${map.labels[index] ?? "no label"}<br />${map.scan_ids[index]}</figcaption></figure>`)}
      ${selected.length > MAX_PICTURES && html`<span class="quiet">and ${selected.length - MAX_PICTURES} more</span>`}</div>
  </section>`;
}
