// The page "Label": what to label next, doubtful labels, conflicts, near-duplicates, and the agreement of two readers.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { Duplicates } from "./duplicates.js";
import { Asked, Choice, Failure, Notice, Tabs, TextField, Thumbnail, html, prefetch, useAction, useAsked } from "./elements.js";
import { go, http, listClassifiers, listCollections, say } from "./session.js";
import { count, probability } from "./words.js";

const TABS = [
  ["next", "What to label next"],
  ["suspect", "Doubtful labels"],
  ["conflict", "Conflicts"],
  ["duplicates", "Near-duplicates"],
  ["agreement", "Two readers"],
];

export function Label({ name }) {
  const [tab, setTab] = useState("next");
  const known = useAsked(async () => ({ classifiers: await listClassifiers(), collections: await listCollections() }), []);
  return html`<h1>Label</h1>
    <${Tabs} tabs=${TABS} value=${tab} onChange=${setTab} label="Kinds of review" />
    <${Asked} asked=${known}>${({ classifiers, collections }) => {
      if (collections.length === 0) return html`<${Notice}>There is no collection yet. <a href="#/teach">Teach</a> fills the first one.<//>`;
      const chosen = classifiers.find((one) => one.name === name) ?? classifiers[0];
      if (tab === "agreement") return html`<${Agreement} collections=${collections} />`;
      if (tab === "duplicates") return html`<${Duplicates} collections=${collections} />`;
      if (tab === "next") return html`<${Next} key=${chosen?.name} classifier=${chosen} classifiers=${classifiers} collections=${collections} />`;
      if (!chosen) return html`<${Notice}>This needs a classifier. <a href="#/teach">Teach one</a> first.<//>`;
      return html`<${ClassifierChoice} chosen=${chosen} classifiers=${classifiers} />
        <${Review} key=${`${tab}/${chosen.name}`} kind=${tab} classifier=${chosen} />`;
    }}<//>`;
}

function ClassifierChoice({ chosen, classifiers }) {
  if (!chosen) return null;
  return html`<${Choice} label="Classifier" value=${chosen.name} options=${classifiers.map((one) => one.name)}
    onChange=${(next) => go(`#/label/${next}`)} />`;
}

function Next({ classifier, classifiers, collections }) {
  const source = classifier?.source;
  const [collection, setCollection] = useState(source?.collection ?? collections[0].name);
  const [task, setTask] = useState(source?.task ?? "finding");
  return html`<div class="row">
      <${ClassifierChoice} chosen=${classifier} classifiers=${classifiers} />
      <${Choice} label="Collection" value=${collection} options=${collections.map((one) => one.name)} onChange=${setCollection} />
      <${TextField} label="What the classes are about" value=${task} onInput=${setTask} />
    </div>
    <${Queue} key=${`${collection}/${task}`} classifier=${classifier} collection=${collection} task=${task} />`;
}

async function nextItems(classifier, collection, task) {
  if (classifier && classifier.kind === "single_label") {
    const query = { kind: "next", collection, task: [task], limit: 50 };
    return (await http.GET("/v1/classifiers/{name}/review", { params: { path: { name: classifier.name }, query } })).data;
  }
  const params = { path: { collection }, query: { task: [task], limit: 50 } };
  return (await http.GET("/v1/collections/{collection}/next", { params })).data;
}

/** Why there is nothing to label: scans without a label may have been left out. */
function nothingNext({ left_out: left }, task) {
  if (!left) return `Every scan of this collection has a label for “${task}”.`;
  return `Nothing more is worth a label for “${task}” now. ${count(left, "scan")} without one ${left === 1 ? "is" : "are"} left out: copies of labelled scans, blank pictures, or scans that the classifier has learnt.`;
}

function Queue({ classifier, collection, task }) {
  const asked = useAsked(() => nextItems(classifier, collection, task), [classifier?.name, collection, task]);
  const facets = useAsked(async () => {
    const params = { path: { collection } };
    const { data } = await http.POST("/v1/collections/{collection}/facets", { params, body: { labels: [task] } });
    return (data.labels[task]?.values ?? []).map(({ value }) => value);
  }, [collection, task]);
  return html`<${Asked} asked=${asked}>${(answer) => answer.items.length === 0
    ? html`<${Notice}>${nothingNext(answer, task)}<//>`
    : html`<${Labelling} key=${answer.items[0].scan.scan_id} items=${answer.items} classifier=${classifier} version=${answer.version} collection=${collection} task=${task}
        classes=${[...new Set([...(classifier?.classes ?? []), ...(facets.value ?? [])])]} onEnd=${asked.again} />`}<//>`;
}

function Labelling({ items, classifier, version, collection, task, classes, onEnd }) {
  const [position, setPosition] = useState(0);
  const [given, setGiven] = useState([]);
  const [added, setAdded] = useState([]);
  const [name, setName] = useState("");
  const all = [...classes, ...added];
  const item = items[position];
  const [shown, setShown] = useState(null);
  const isShown = !item?.scan.thumbnail || shown === item.scan.thumbnail;
  const next = items[position + 1]?.scan.thumbnail;
  useEffect(() => prefetch(next), [next]);
  const working = useRef(false);
  /** One answer at a time, from the press of a key to the next picture. */
  const alone = async (act) => {
    if (working.current) return;
    working.current = true;
    try {
      await act();
    } finally {
      working.current = false;
    }
  };
  const store = async ({ scan_id, etag }, label) => {
    // With the ETag: what another reader said meanwhile is not overwritten unseen.
    const params = { path: { collection, scan_id }, header: { "If-Match": etag } };
    const { data } = await http.PATCH("/v1/collections/{collection}/scans/{scan_id}", { params, body: { labels: { [task]: label } } });
    return data;
  };
  const giving = useAction(async (label) => {
    const scan = label === null ? item.scan : await store(item.scan, label);
    if (label !== null) say(`${label} stored.`);
    setGiven((before) => [...before, { scan, label }]);
    setPosition((before) => before + 1);
  });
  const undoing = useAction(async () => {
    const last = given.at(-1);
    // The next answer to the scan needs the ETag that it has after this one.
    if (last.label !== null) items[position - 1].scan = await store(last.scan, null);
    setGiven((before) => before.slice(0, -1));
    setPosition((before) => before - 1);
    say("Undone.");
  });
  const give = (label) => item && (label === null || isShown) && alone(() => giving.run(label));
  const undo = () => given.length > 0 && alone(undoing.run);
  const isBusy = giving.busy || undoing.busy;
  // Before the page is painted: a key that is pressed as soon as the answers are seen must count.
  useLayoutEffect(() => {
    const press = (event) => {
      // A key that is held down would answer for scans that nobody has looked at.
      if (event.repeat) {
        if (event.target.closest(".labelling button")) event.preventDefault();
        return;
      }
      if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
      const index = "123456789".indexOf(event.key);
      if (index >= 0 && all[index]) give(all[index]);
      else if (event.key === "s") give(null);
      else if (event.key === "u") undo();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });
  const done = given.filter(({ label }) => label !== null).length;
  return html`<section class="labelling" aria-labelledby="labelling">
    <h2 id="labelling">${item ? `Scan ${position + 1} of ${items.length}` : `${count(done, "label")} given`}</h2>
    <${Failure} error=${giving.error ?? undoing.error} />
    ${item
      ? html`<div class="to-label"><${Thumbnail} path=${item.scan.thumbnail} alt="The scan to label" onSettled=${setShown} />
          <div><p>${item.scan.subject_id ? `Patient ${item.scan.subject_id}` : "No patient named"}</p>
            ${item.guess && html`<p>Of its classes, version ${version} finds <strong>${item.guess}</strong> the most probable
                (${probability(item.probabilities?.[item.guess])}${classifier.calibrated ? "" : ", not calibrated"}).</p>
              <p class="quiet">It is made to choose here. Asked on the page “Use”, it may give no answer.</p>`}
            <div class="answers">${all.map((label, index) => html`<button type="button" key=${label} disabled=${isBusy || !isShown}
              onClick=${() => give(label)}>${index < 9 && html`<kbd>${index + 1}</kbd>`} ${label}</button>`)}</div>
            <form class="joined" onSubmit=${(event) => {
              event.preventDefault();
              if (name.trim()) setAdded([...added, name.trim()]);
              setName("");
            }}><input aria-label="Another class" placeholder="Another class" value=${name} onInput=${(event) => setName(event.currentTarget.value)} />
              <button type="submit">Add</button></form>
          </div></div>`
      : html`<p>This list is done.</p>`}
    <div class="buttons">
      ${item && html`<button type="button" disabled=${isBusy} onClick=${() => give(null)}><kbd>s</kbd> Skip</button>`}
      <button type="button" disabled=${given.length === 0 || isBusy} onClick=${undo}><kbd>u</kbd> Undo</button>
      ${!item && html`<button type="button" class="primary" onClick=${onEnd}>Look for more</button>`}
    </div></section>`;
}

function Review({ kind, classifier }) {
  const asked = useAsked(async () => {
    const params = { path: { name: classifier.name }, query: { kind, limit: 50 } };
    return (await http.GET("/v1/classifiers/{name}/review", { params })).data;
  }, [kind, classifier.name]);
  return html`<${Asked} asked=${asked}>${(answer) => answer.items.length === 0
    ? html`<p>${kind === "suspect"
        ? `No label that version ${classifier.published_version} learned looks doubtful to a classifier that had not seen it.`
        : `No two similar pictures that version ${classifier.published_version} learned have different labels.`}</p>
      <p class="quiet">That proves no label right. Labels that were given since are looked at when it has learned again.</p>`
    : html`<ul class="reviews">${answer.items.map((item, index) => html`<${ReviewItem} key=${index} item=${item} classifier=${classifier} />`)}</ul>`}<//>`;
}

function ReviewItem({ item, classifier }) {
  const [isChanged, setChanged] = useState("");
  const task = classifier.source?.task;
  const change = useAction(async (example, label) => {
    const params = { path: { collection: example.collection, scan_id: example.scan_id } };
    await http.PATCH("/v1/collections/{collection}/scans/{scan_id}", { params, body: { labels: { [task]: label } } });
    setChanged(label);
    say(`Changed to ${label}.`);
  });
  return html`<li class="card">
    <div class="strip">${[item.example, item.other].filter(Boolean).map((example) => html`<figure key=${example.example_id}>
      <${Thumbnail} path=${example.thumbnail} alt=${`Labelled ${example.label}`} />
      <figcaption>labelled <strong>${example.label ?? example.labels?.join(", ")}</strong><br />${example.scan_id ?? "uploaded"}</figcaption>
      ${task && example.scan_id && html`<div class="buttons">${classifier.classes.filter((label) => label !== example.label).map(
        (label) => html`<button type="button" disabled=${change.busy} onClick=${() => change.run(example, label)}>It is ${label}</button>`)}</div>`}
    </figure>`)}</div>
    ${item.guess && html`<p>A classifier that had not seen this patient says <strong>${item.guess}</strong> (${probability(item.probabilities?.[item.guess])}).</p>`}
    ${item.similarity !== null && html`<p>Their similarity is ${item.similarity.toFixed(3)}.</p>`}
    ${isChanged && html`<p role="status">Changed to ${isChanged}. The next version learns it.</p>`}
    <${Failure} error=${change.error} />
  </li>`;
}

function Agreement({ collections }) {
  const [collection, setCollection] = useState(collections[0].name);
  const [tasks, setTasks] = useState(["finding", "finding_2"]);
  const measure = useAction(async () => {
    const params = { path: { collection } };
    const body = { task: tasks[0], other_task: tasks[1] };
    setAnswer((await http.POST("/v1/collections/{collection}/agreement", { params, body })).data);
  });
  const [answer, setAnswer] = useState(null);
  return html`<form class="row" onSubmit=${(event) => {
      event.preventDefault();
      measure.run();
    }}>
      <${Choice} label="Collection" value=${collection} options=${collections.map((one) => one.name)} onChange=${setCollection} />
      <${TextField} label="Labels of the first reader" value=${tasks[0]} onInput=${(text) => setTasks([text, tasks[1]])} />
      <${TextField} label="Labels of the second reader" value=${tasks[1]} onInput=${(text) => setTasks([tasks[0], text])} />
      <button type="submit" class="primary" disabled=${measure.busy}>Compare</button>
    </form>
    <p class="quiet">Give the labels of each reader a name of their own, such as finding and finding_2. Scans that have both are compared.</p>
    <${Failure} error=${measure.error} />
    ${answer && html`<p class="figure">${answer.kappa ? `kappa ${answer.kappa.value.toFixed(2)} (95 % interval: ${answer.kappa.low.toFixed(2)} to ${answer.kappa.high.toFixed(2)})` : "kappa not measured"}</p>
      <p>${answer.agreed} of ${count(answer.scans, "scan")} have the same label.</p>
      <div class="strip">${answer.items.map((one) => html`<figure key=${one.scan_id}><${Thumbnail} path=${one.thumbnail} alt=${one.scan_id} />
        <figcaption>${one.label} / ${one.other_label}<br />${one.scan_id}</figcaption></figure>`)}</div>`}`;
}
