// The page "Search": scans that resemble a dropped file or stored ones.
import { useState } from "preact/hooks";

import { Asked, Choice, Field, Notice, Pages, TextField, Thumbnail, html, useAsked } from "./elements.js";
import { Drop } from "./files.js";
import { Preview } from "./preview.js";
import { client, go, http, listCollections, thumbnailPath } from "./session.js";
import { BURNED_IN, count } from "./words.js";

const FILTERS = "sonoprobe.filters";

export function Search({ name }) {
  const collections = useAsked(listCollections, []);
  return html`<h1>Find similar scans</h1>
    <${Asked} asked=${collections}>${(items) => {
      if (items.length === 0) return html`<${Notice}>There is no collection yet. <a href="#/teach">Teach</a> fills the first one.<//>`;
      const chosen = items.find((one) => one.name === name) ?? items[0];
      return html`<${Choice} label="Collection" value=${chosen.name}
          options=${items.map((one) => [one.name, `${one.name} (${count(one.scans, "scan")})`])}
          onChange=${(next) => go(`#/search/${next}`)} />
        <${SearchIn} key=${chosen.name} collection=${chosen.name} />`;
    }}<//>`;
}

function SearchIn({ collection }) {
  const [query, setQuery] = useState({ file: null, positive: [], negative: [] });
  const [options, setOptions] = useState({ k: 12, otherPatients: false, subject: "", filter: {} });
  const isAsking = query.file !== null || query.positive.length > 0;
  const asked = useAsked((signal) => (isAsking ? found(collection, query, options, signal) : null), [query, options]);
  const more = (list, scanId) => {
    const other = list === "positive" ? "negative" : "positive";
    const kept = query[list].filter((id) => id !== scanId);
    setQuery({ ...query, [list]: [...kept, scanId], [other]: query[other].filter((id) => id !== scanId) });
  };
  const drop = (list, scanId) => setQuery({ ...query, [list]: query[list].filter((id) => id !== scanId) });
  return html`<${Drop} hasFolders=${false} onFiles=${([first]) => setQuery({ file: first.file, positive: [], negative: [] })}>
      <p><strong>Drop one picture or clip</strong> to find scans like it, or pick a scan below.</p><//>
    <${Options} collection=${collection} options=${options} hasFile=${query.file !== null}
      onChange=${setOptions} />
    <${Asking} collection=${collection} query=${query} onDrop=${drop} onFile=${() => setQuery({ ...query, file: null })} />
    ${isAsking
      ? html`<${Asked} asked=${asked} waiting="Searching">${(answer) => html`<${Hits} hits=${answer.items} onMore=${more} />`}<//>`
      : html`<${Browse} key=${JSON.stringify(options.filter)} collection=${collection} filter=${options.filter} onPick=${(id) => more("positive", id)} />`}`;
}

async function found(collection, { file, positive, negative }, { k, otherPatients, subject, filter }, signal) {
  const shared = {
    k,
    filter,
    ...(otherPatients && (file === null || subject) ? { exclude_same: "subject" } : {}),
    ...(otherPatients && file && subject ? { subject_id: subject } : {}),
    ...(negative.length > 0 ? { negative } : {}),
  };
  if (file !== null) {
    return client.searchFile(collection, file, { ...shared, ...(positive.length > 0 ? { positive } : {}) }, signal);
  }
  const params = { path: { collection } };
  const { data } = await http.POST("/v1/collections/{collection}/search", { params, body: { ...shared, positive }, signal });
  return data;
}

function Asking({ collection, query, onDrop, onFile }) {
  if (query.file === null && query.positive.length === 0) return null;
  const picked = (list, sign, text) => query[list].map((id) => html`<figure key=${list + id}>
    <${Thumbnail} path=${thumbnailPath(collection, id)} alt=${`${text} ${id}`} />
    <figcaption>${sign} ${id} <button type="button" onClick=${() => onDrop(list, id)} aria-label=${`Remove ${id} from the search`}>Remove</button></figcaption>
  </figure>`);
  return html`<section aria-labelledby="asking"><h2 id="asking">Looking for</h2><div class="strip">
    ${query.file && html`<figure><${Preview} file=${query.file} /><figcaption>your file <button type="button" onClick=${onFile}>Remove</button></figcaption></figure>`}
    ${picked("positive", "like", "Like")}${picked("negative", "unlike", "Unlike")}
  </div></section>`;
}

function Options({ collection, options, hasFile, onChange }) {
  const facets = useAsked(async () => {
    const params = { path: { collection } };
    return (await http.POST("/v1/collections/{collection}/facets", { params, body: {} })).data;
  }, [collection]);
  const set = (change) => onChange({ ...options, ...change });
  const labels = options.filter.labels ?? {};
  const setLabel = (task, value) => {
    const { [task]: _, ...others } = labels;
    const next = value === "" ? others : { ...others, [task]: value };
    set({ filter: Object.keys(next).length > 0 ? { labels: next } : {} });
  };
  return html`<form class="row" onSubmit=${(event) => event.preventDefault()}>
    <${Choice} label="Results" value=${String(options.k)} options=${["6", "12", "24", "48"]} onChange=${(k) => set({ k: Number(k) })} />
    ${Object.entries({ ...missingFacets(labels), ...facets.value?.labels }).map(([task, facet]) => html`<${Choice} key=${task} label=${task} value=${labels[task] ?? ""}
      empty="any" options=${withChosen(facet.values, labels[task])} onChange=${(value) => setLabel(task, value)} />`)}
    <${SavedFilters} collection=${collection} filter=${options.filter} onChoose=${(filter) => set({ filter })} />
    <label class="check"><input type="checkbox" checked=${options.otherPatients}
      onChange=${(event) => set({ otherPatients: event.currentTarget.checked })} /> Leave out the same patient</label>
    ${hasFile && options.otherPatients && html`<${TextField} label="Patient of the file (pseudonym)" value=${options.subject}
      hint=${options.subject ? undefined : "Nobody is left out until it is known whose file it is."}
      onInput=${(subject) => set({ subject })} />`}
  </form>`;
}

/** A filter of a label that no scan has now must be seen, or nobody knows why there are no results. */
function missingFacets(labels) {
  return Object.fromEntries(Object.keys(labels).map((task) => [task, { values: [] }]));
}

function withChosen(values, chosen) {
  const options = values.map(({ value, scans }) => [value, `${value} (${scans})`]);
  const isListed = chosen === undefined || values.some(({ value }) => value === chosen);
  return isListed ? options : [...options, [chosen, `${chosen} (not listed)`]];
}

/** Filters of labels, kept in this browser under a name; they hold no ids of patients. */
function SavedFilters({ collection, filter, onChoose }) {
  const [all, setAll] = useState(() => JSON.parse(localStorage.getItem(FILTERS) ?? "{}"));
  const [name, setName] = useState("");
  const own = all[collection] ?? {};
  const save = () => {
    const next = { ...all, [collection]: { ...own, [name.trim()]: filter } };
    localStorage.setItem(FILTERS, JSON.stringify(next));
    setAll(next);
    setName("");
  };
  return html`${Object.keys(own).length > 0 && html`<${Choice} label="Saved filters" value="" empty="choose"
      options=${Object.keys(own)} onChange=${(chosen) => chosen && onChoose(own[chosen])} />`}
    ${filter.labels && html`<${Field} label="Save this filter as">${(id) => html`<span class="joined">
      <input id=${id} value=${name} onInput=${(event) => setName(event.currentTarget.value)} />
      <button type="button" disabled=${name.trim() === ""} onClick=${save}>Save</button></span>`}<//>`}`;
}

function Hits({ hits, onMore }) {
  if (hits.length === 0) return html`<p>No scan passes these conditions.</p>`;
  return html`<section aria-labelledby="hits"><h2 id="hits">${count(hits.length, "similar scan")}</h2>
    <ol class="grid">${hits.map(({ scan, score }) => html`<li key=${`${scan.collection}/${scan.scan_id}`} class="card">
      <${ScanTile} scan=${scan} note=${`similarity ${score.toFixed(3)}`} />
      <div class="buttons">
        <button type="button" onClick=${() => onMore("positive", scan.scan_id)} aria-label=${`More like this: ${scan.scan_id}`}>More like this</button>
        <button type="button" onClick=${() => onMore("negative", scan.scan_id)} aria-label=${`Less like this: ${scan.scan_id}`}>Less like this</button>
      </div></li>`)}</ol></section>`;
}

/** A stored scan with its labels, patient and warnings. */
export function ScanTile({ scan, note }) {
  const labels = Object.entries(scan.labels).map(([task, value]) => `${task}: ${value}`);
  return html`<${Thumbnail} path=${scan.thumbnail} alt=${labels.join(", ") || "A scan without label"} />
    <p class="tile-text"><strong>${labels.join(", ") || "no label"}</strong><br />
      ${scan.subject_id ? `patient ${scan.subject_id}` : "no patient named"}<br />
      ${note ?? scan.scan_id}
      ${scan.image.burned_in_risk === "high" && html`<br /><span class="tag warn">${BURNED_IN.high}</span>`}</p>`;
}

function Browse({ collection, filter, onPick }) {
  const [cursors, setCursors] = useState([undefined]);
  const asked = useAsked(async () => {
    const query = { limit: 24, filter: JSON.stringify(filter), ...(cursors.at(-1) ? { cursor: cursors.at(-1) } : {}) };
    return (await http.GET("/v1/collections/{collection}/scans", { params: { path: { collection }, query } })).data;
  }, [collection, JSON.stringify(filter), cursors.at(-1)]);
  return html`<section aria-labelledby="browse"><h2 id="browse">Scans of this collection</h2>
    <${Asked} asked=${asked}>${(page) => html`
      <ul class="grid">${page.items.map((scan) => html`<li key=${scan.scan_id} class="card"><${ScanTile} scan=${scan} />
        <button type="button" onClick=${() => onPick(scan.scan_id)} aria-label=${`Find similar to ${scan.scan_id}`}>Find similar</button></li>`)}</ul>
      ${page.items.length === 0 && html`<p>No scan passes these conditions.</p>`}`}<//>
      <${Pages} asked=${asked} cursors=${cursors} onTurn=${setCursors} back="Earlier" on="Later" /></section>`;
}
