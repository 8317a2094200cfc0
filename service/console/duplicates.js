// Scans that nearly repeat each other, side by side with what differs; first those of two patients.
import { useState } from "preact/hooks";

import { Asked, Choice, Confirm, Failure, Notice, Thumbnail, html, useAction, useAsked } from "./elements.js";
import { http, may, say } from "./session.js";
import { count } from "./words.js";

const KINDS = [
  ["different", "two patients"],
  ["unknown", "a scan without a patient"],
  ["same", "one patient"],
];
const SIMILARITIES = ["0.95", "0.98", "0.99", "1.00"];
const MAX_PAIRS = 50;

/** Pairs that somebody wants to keep, until the page is loaded anew. */
const kept = new Set();

export function Duplicates({ collections }) {
  const [collection, setCollection] = useState(collections[0].name);
  const [patients, setPatients] = useState("");
  const [similarity, setSimilarity] = useState("0.95");
  const [gone, setGone] = useState(null);
  const asked = useAsked(async () => {
    const query = {
      limit: MAX_PAIRS,
      // Without it the service takes what the encoder calls near-duplicates.
      ...(similarity ? { min_similarity: Number(similarity) } : {}),
      ...(patients ? { patients } : {}),
    };
    const params = { path: { collection }, query };
    return (await http.GET("/v1/collections/{collection}/duplicates", { params })).data;
  }, [collection, patients, similarity]);
  return html`<div class="row">
      <${Choice} label="Collection" value=${collection} options=${collections.map((one) => one.name)} onChange=${setCollection} />
      <${Choice} label="Pairs of" value=${patients} empty="all" options=${KINDS} onChange=${setPatients} />
      <${Choice} label="From a similarity of" value=${similarity} empty="the encoder's own" options=${SIMILARITIES} onChange=${setSimilarity} />
    </div>
    ${gone && html`<${Notice} kind="good"><p>${gone.scan_id} was deleted.
      ${gone.classifiers.length > 0 && html` ${gone.classifiers.join(", ")} learned from it: <a href="#/versions">learn again</a> to forget it.`}</p><//>`}
    <${Asked} asked=${asked} waiting="Comparing all scans">${(answer) => html`<${Pairs}
      key=${`${collection}/${patients}/${similarity}`} answer=${answer} isOwn=${!similarity} onDeleted=${(scan) => {
        setGone(scan);
        asked.again();
      }} />`}<//>`;
}

function Pairs({ answer, isOwn, onDeleted }) {
  const [, setRound] = useState(0);
  const pairs = answer.items.filter((pair) => !kept.has(keyOf(answer.collection, pair)));
  const hidden = answer.items.length - pairs.length;
  const keep = (pair) => {
    kept.add(keyOf(answer.collection, pair));
    setRound((round) => round + 1);
    say("Both are kept.");
  };
  const least = isOwn && ` The encoder calls pictures from a similarity of ${answer.min_similarity} on near-duplicates.`;
  if (answer.total === 0) return html`<p>No two of ${count(answer.compared, "scan")} are that similar.${least}</p>`;
  return html`<p>${count(answer.total, "pair")} among ${count(answer.compared, "scan")}${answer.compared < answer.scans ? ` drawn from ${answer.scans.toLocaleString("en")}` : ""},
      ${" "}${answer.of_different_patients.toLocaleString("en")} of two patients.
      ${least}${answer.total > answer.items.length && ` The first ${answer.items.length} are shown.`}</p>
    <p class="quiet">Pictures of two people may be as similar as two pictures of one. Only the same pixels are certain.
      ${hidden > 0 && ` ${count(hidden, "pair")} that you keep ${hidden === 1 ? "is" : "are"} hidden until you reload the page.`}</p>
    <ul class="reviews">${pairs.map((pair) => html`<${Pair} key=${keyOf(answer.collection, pair)} pair=${pair}
      collection=${answer.collection} onKeep=${() => keep(pair)} onDeleted=${onDeleted} />`)}</ul>`;
}

function keyOf(collection, { first, second }) {
  return JSON.stringify([collection, first.scan_id, second.scan_id]);
}

function Pair({ pair, collection, onKeep, onDeleted }) {
  const [going, setGoing] = useState(null);
  const sides = [pair.first, pair.second];
  return html`<li class="card pair">
    <p>${verdict(pair)}</p>
    <div class="side-by-side">${sides.map((scan) => html`<figure key=${scan.scan_id}>
      <${Thumbnail} path=${scan.thumbnail} alt=${`Scan ${scan.scan_id}`} />
      <figcaption>${scan.scan_id}</figcaption>
      ${may("scan.delete") && html`<button type="button" class="danger" onClick=${() => setGoing(scan)}
        aria-label=${`Delete ${scan.scan_id}`}>Delete</button>`}</figure>`)}
    <div class="scroll" tabindex="0" role="region" aria-label="What differs"><table>
      <thead><tr><th scope="col"></th>${sides.map((scan) => html`<th scope="col">${scan.scan_id}</th>`)}</tr></thead>
      <tbody>${rowsOf(pair).map(([title, values, isOther]) => html`<tr key=${title} class=${isOther ? "differs" : ""}>
        <th scope="row">${title}</th>${values.map((value) => html`<td>${value}</td>`)}</tr>`)}</tbody></table></div></div>
    <div class="buttons"><button type="button" onClick=${onKeep}>Keep both</button></div>
    ${going && html`<${Delete} scan=${going} collection=${collection} onEnd=${(gone) => {
      setGoing(null);
      if (gone) onDeleted(gone);
    }} />`}</li>`;
}

/** What is known of a pair, and no more. */
function verdict({ patients, same_image: isSame, similarity }) {
  const near = `The pictures resemble each other (similarity ${similarity.toFixed(3)})`;
  if (patients === "different") {
    return isSame
      ? html`<strong>One picture under two patients.</strong> One of the two is wrong, or both pseudonyms are of one person.`
      : html`<strong>Two patients.</strong> ${near}. Look whether they are one picture.`;
  }
  if (patients === "unknown") return isSame ? "One picture twice; not both name a patient." : `${near}; not both name a patient.`;
  return isSame ? "One picture twice, of one patient." : `${near} and are of one patient.`;
}

/** Rows of title, two values, and whether they differ: always the patient, and what differs. */
function rowsOf({ first, second, differs }) {
  const fields = ["subject_id", "study_id", "labels", "attributes"];
  const names = new Set(["subject_id", ...differs]);
  for (const name of Object.keys({ ...first.labels, ...second.labels })) names.add(`labels.${name}`);
  const order = (name) => fields.indexOf(name.split(".")[0]);
  return [...names]
    .sort((one, other) => order(one) - order(other))
    .map((name) => [titleOf(name), [valueOf(first, name), valueOf(second, name)], differs.includes(name)]);
}

function titleOf(name) {
  if (name === "subject_id") return "patient";
  if (name === "study_id") return "study";
  return name.slice(name.indexOf(".") + 1);
}

function valueOf(scan, name) {
  const dot = name.indexOf(".");
  const value = dot < 0 ? scan[name] : scan[name.slice(0, dot)][name.slice(dot + 1)];
  return value === null || value === undefined ? "–" : String(value);
}

function Delete({ scan, collection, onEnd }) {
  const remove = useAction(async () => {
    // With the ETag: what somebody changed meanwhile is looked at again before it goes.
    const params = { path: { collection, scan_id: scan.scan_id }, header: { "If-Match": scan.etag } };
    const { data } = await http.DELETE("/v1/collections/{collection}/scans/{scan_id}", { params });
    say(`${scan.scan_id} was deleted.`);
    onEnd({ scan_id: scan.scan_id, classifiers: data.classifiers });
  });
  return html`<${Confirm} title=${`Delete ${scan.scan_id}?`} action="Delete it" isBusy=${remove.busy} onCancel=${() => onEnd(null)} onConfirm=${remove.run}>
    <p>${scan.subject_id ? `It is stored for patient ${scan.subject_id}.` : "It names no patient."} Nothing brings it back.
      The other scan of the pair stays. Classifiers that learned from it stay too, until they learn again.</p>
    <${Failure} error=${remove.error} /><//>`;
}
