// Two versions side by side: what each mixes up, and the pictures that they answer differently.
import { useState } from "preact/hooks";

import { Asked, Choice, Thumbnail, html, useAsked } from "./elements.js";
import { http } from "./session.js";
import { count } from "./words.js";

const MAX_EXAMPLES = 1000; // of a cell, which is all that the service gives
const MAX_PICTURES = 60;

export function TwoConfusions({ name, first, second }) {
  const asked = useAsked(() => Promise.all([first, second].map((version) => confusionOf(name, version))), [name, first, second]);
  return html`<${Asked} asked=${asked}>${([one, other]) => {
    const labels = [...new Set([...one.items, ...other.items].map((cell) => cell.label))];
    return html`<${OfLabels} labels=${labels} first=${{ version: first, ...one }} second=${{ version: second, ...other }} />`;
  }}<//>`;
}

async function confusionOf(name, version) {
  const params = { path: { name, version: String(version) }, query: { limit: MAX_EXAMPLES } };
  return (await http.GET("/v1/classifiers/{name}/versions/{version}/confusion", { params })).data;
}

function OfLabels({ labels, first, second }) {
  const [label, setLabel] = useState(labels[0]);
  const [one, other] = [first, second].map((version) => ({ ...version, items: version.items.filter((cell) => cell.label === label) }));
  return html`${labels.length > 1 && html`<${Choice} label="Label" value=${label} options=${labels} onChange=${setLabel} />`}
    <div class="side-by-side">${[one, other].map((version) => html`<${Matrix} key=${version.version} ...${version} />`)}</div>
    <${Changed} first=${one} second=${other} />`;
}

function Matrix({ version, items, classes, scored }) {
  const counts = new Map(items.map((cell) => [`${cell.actual}\n${cell.predicted}`, cell.count]));
  const isOfLabel = items.some((cell) => cell.label !== null);
  const names = isOfLabel ? ["present", "absent"] : classes;
  if (scored === 0) return html`<p>Version ${version}: too few patients to tell.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`Confusion of version ${version}`}><table class="confusion">
    <caption>Version ${version}</caption>
    <thead><tr><td></td>${names.map((one) => html`<th scope="col">said ${one}</th>`)}</tr></thead>
    <tbody>${names.map((actual) => html`<tr key=${actual}><th scope="row">is ${actual}</th>${names.map((predicted) => {
      const number = counts.get(`${actual}\n${predicted}`) ?? 0;
      return html`<td class=${actual === predicted ? "right" : number > 0 ? "wrong" : ""}>${number}</td>`;
    })}</tr>`)}</tbody></table></div>`;
}

/** Pictures that both versions judged, and judged differently; each without having seen its patient. */
function Changed({ first, second }) {
  const before = answersOf(second);
  const changed = [...answersOf(first)].flatMap(([key, now]) => {
    const then = before.get(key);
    return then && then.predicted !== now.predicted ? [{ key, now, then }] : [];
  });
  const relabelled = [...answersOf(first)].filter(([key, now]) => before.has(key) && before.get(key).actual !== now.actual).length;
  const note = relabelled > 0 && html`<p class="quiet">${count(relabelled, "picture")} ${relabelled === 1 ? "has" : "have"} another label in version ${first.version} than
    in version ${second.version}. The tables count each picture under its label; the measures above leave ${relabelled === 1 ? "it" : "them"} out.</p>`;
  const isWhole = [...first.items, ...second.items].every((cell) => cell.examples.length === cell.count);
  const limit = !isWhole && html`<p class="quiet">Of each number in the tables at most ${MAX_EXAMPLES.toLocaleString("en")} pictures were compared here; others may be answered differently too.</p>`;
  if (changed.length === 0) return html`<p>${isWhole ? "Both answer every picture that they share alike." : "Both answer the pictures that were compared alike."}</p>${limit}${note}`;
  return html`${note}${limit}<h3>${count(changed.length, "picture")} answered differently</h3>
    <div class="strip">${changed.slice(0, MAX_PICTURES).map(({ key, now, then }) => html`<figure key=${key}>
      <${Thumbnail} path=${now.example.thumbnail} alt=${`Is ${now.actual}`} />
      <figcaption>is <strong>${now.actual}</strong><br />version ${second.version}: ${then.predicted}<br />version ${first.version}: ${now.predicted}
        ${now.actual !== then.actual && html`<br />was labelled ${then.actual}`}</figcaption></figure>`)}</div>
    ${changed.length > MAX_PICTURES && html`<p class="quiet">and ${changed.length - MAX_PICTURES} more</p>`}`;
}

/** What a version said of each picture, by an id that both versions know. */
function answersOf({ items }) {
  return new Map(items.flatMap((cell) => cell.examples.map((example) => [
    example.scan_id ? `${example.collection}/${example.scan_id}` : example.example_id,
    { example, actual: cell.actual, predicted: cell.predicted },
  ])));
}
