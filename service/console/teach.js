// The page "Teach": from dropped pictures to a classifier, and how good it is.
import { useRef, useState } from "preact/hooks";
import { ProblemError } from "sonoprobe-client";

import { Busy, Failure, Field, Notice, Progress, TextField, html, useAction, useAsked } from "./elements.js";
import { Drop } from "./files.js";
import { Preview } from "./preview.js";
import { Report } from "./report.js";
import { client, go, http, listCollections, say } from "./session.js";
import { byClass, isTable, itemsOf, missingToTeach, nameFrom, patientsOf, withTables } from "./teaching_files.js";
import { count, problemWords } from "./words.js";

const MAX_PREVIEWS = 8;

export function Teach() {
  const [items, show] = useState([]);
  const held = useRef([]); // the same, at once: files of two drops may arrive in any order
  const setItems = (next) => {
    held.current = next;
    show(next);
  };
  const [table, setTable] = useState(null);
  const [taught, setTaught] = useState(null);
  const take = useAction(async (files) => {
    const tables = files.map(({ file }) => file).filter(isTable);
    const texts = await Promise.all(tables.map((file) => file.text()));
    const more = [...held.current, ...itemsOf(files)];
    if (texts.length === 0) return setItems(more);
    const read = withTables(more, texts);
    setTable({ named: read.named, unknown: read.unknown });
    return setItems(read.items);
  });
  const restart = () => {
    setItems([]);
    setTable(null);
    setTaught(null);
  };
  if (taught) return html`<${Taught} taught=${taught} onRestart=${restart} />`;
  return html`<h1>Teach a classifier</h1>
    <p class="lead">Drop pictures of each class. A few patients per class are a start; more make it better.</p>
    <${Drop} onFiles=${take.run}>
      <p><strong>Drop folders, pictures or clips here.</strong></p>
      <p>A folder becomes a class, and a folder in it a patient: <code>cyst/p1/a.png</code>.
        A CSV with the columns <code>file</code>, <code>label</code> and <code>subject_id</code> says the same.</p>
    <//>
    <${Failure} error=${take.error} />
    ${table && html`<${Notice}>The CSV named ${count(table.named, "file")}.
      ${table.unknown > 0 && ` ${count(table.unknown, "row")} named no file, or more than one.`}<//>`}
    ${items.length > 0 && html`
      <${Classes} items=${items} onChange=${setItems} />
      <${Teaching} items=${items} onItems=${setItems} onTaught=${setTaught} />`}`;
}

function Classes({ items, onChange }) {
  const classes = byClass(items);
  const names = classes.map(([label]) => label).filter(Boolean);
  const rename = (members, label) => {
    const ids = new Set(members.map(({ id }) => id));
    onChange(items.map((item) => (ids.has(item.id) ? { ...item, label } : item)));
  };
  const remove = (members) => {
    const ids = new Set(members.map(({ id }) => id));
    onChange(items.filter(({ id }) => !ids.has(id)));
  };
  return html`<section aria-labelledby="classes"><h2 id="classes">Classes</h2>
    <div class="cards">${classes.map(
      ([label, members]) => html`<${ClassCard} key=${members[0].id} label=${label} members=${members} names=${names}
        onRename=${(name) => rename(members, name)} onRemove=${() => remove(members)} />`,
    )}</div>
    <p class="quiet">${patientsOf(items) > 0
      ? `${count(patientsOf(items), "patient")} named. Pictures of one patient count as one example.`
      : "No patients are named, so pictures that look alike are taken for one patient."}${" "}Use pseudonyms, no names.</p>
  </section>`;
}

function ClassCard({ label, members, names, onRename, onRemove }) {
  const [name, setName] = useState(label);
  const commit = () => name.trim() !== label && onRename(name.trim());
  return html`<article class=${label ? "card" : "card warn"}>
    <${Field} label=${label ? "Class" : "Pictures without a class: name it"}>
      ${(id) => html`<input id=${id} value=${name} list=${`${id}-names`} spellcheck=${false} autocomplete="off"
          onInput=${(event) => setName(event.currentTarget.value)} onBlur=${commit}
          onKeyDown=${(event) => event.key === "Enter" && commit()} />
        <datalist id=${`${id}-names`}>${names.map((known) => html`<option value=${known} />`)}</datalist>`}
    <//>
    <p>${count(members.length, "file")}, ${count(patientsOf(members), "patient")}</p>
    <div class="strip">${members.slice(0, MAX_PREVIEWS).map(
      ({ id, file }) => html`<${Preview} key=${id} file=${file} />`,
    )}${members.length > MAX_PREVIEWS && html`<span class="quiet">and ${members.length - MAX_PREVIEWS} more</span>`}</div>
    <button type="button" onClick=${onRemove}>Remove</button>
  </article>`;
}

function Teaching({ items, onItems, onTaught }) {
  const collections = useAsked(listCollections, []);
  const [collection, setCollection] = useState("scans");
  const [task, setTask] = useState("finding");
  const [name, setName] = useState("finding");
  const [step, setStep] = useState(null);
  const missing = missingToTeach(items);
  const teach = useAction(async () => {
    setStep({ label: "Uploading", done: 0, total: items.length });
    await ensureCollection(collection);
    const results = await client.addScans(
      collection,
      items.map(({ file, label, subject }) => ({
        file,
        metadata: { labels: { [task]: label }, ...(subject ? { subject_id: subject } : {}) },
      })),
      { onProgress: (done, total) => setStep({ label: "Uploading", done, total }) },
    );
    const after = items.map((item, index) => ({ ...item, outcome: results[index] }));
    onItems(after);
    const relabelled = await settleLabels(collection, task, after);
    setStep({ label: "Learning" });
    const made = await fitOrRefit(name, collection, task);
    say("The classifier is ready.");
    onTaught({ ...made, name, items: after, relabelled });
  });
  const known = (collections.value ?? []).map((one) => one.name);
  return html`<section aria-labelledby="teaching"><h2 id="teaching">Learn</h2>
    <form class="row" onSubmit=${(event) => {
      event.preventDefault();
      teach.run();
    }}>
      <${TextField} label="Name of the classifier" value=${name} onInput=${(text) => setName(nameFrom(text) || text)} required />
      <${TextField} label="Collection for the pictures" value=${collection} list="collections"
        onInput=${(text) => setCollection(nameFrom(text) || text)} required />
      <datalist id="collections">${known.map((one) => html`<option value=${one} />`)}</datalist>
      <${TextField} label="What the classes are about" value=${task} onInput=${setTask} required />
      <button type="submit" class="primary" disabled=${teach.busy || missing.length > 0}>Upload and learn</button>
    </form>
    ${missing.length > 0 && html`<ul class="quiet">${missing.map((text) => html`<li>${text}</li>`)}</ul>`}
    ${teach.busy && step && (step.total
      ? html`<${Progress} ...${step} />`
      : html`<${Busy}>${step.label}<//>`)}
    <${Failure} error=${teach.error} />
    ${teach.error && html`<${Outcomes} items=${items} />`}
  </section>`;
}

async function ensureCollection(name) {
  try {
    await http.POST("/v1/collections", { body: { name } });
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== "name_taken") throw error;
  }
}

/** Give pictures that were stored before the class that they have now; says how many. */
async function settleLabels(collection, task, items) {
  let changed = 0;
  for (const { outcome, label } of items) {
    const scan = outcome?.scan;
    if (!scan || outcome.created || scan.labels[task] === label) continue;
    await http.PATCH("/v1/collections/{collection}/scans/{scan_id}", {
      params: { path: { collection, scan_id: scan.scan_id } },
      body: { labels: { [task]: label } },
    });
    changed += 1;
  }
  return changed;
}

async function fitOrRefit(name, collection, task) {
  try {
    const { data } = await http.POST("/v1/classifiers", { body: { name, collection, task } });
    return { version: data.published_version, isPublished: true };
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== "name_taken") throw error;
    return refit(name, collection, task);
  }
}

async function refit(name, collection, task) {
  const params = { path: { name } };
  try {
    const { data } = await http.POST("/v1/classifiers/{name}/refit", { params, body: { collection, task, publish: false } });
    return { version: data.version, isPublished: data.published };
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== "nothing_changed") throw error;
    const { data } = await http.GET("/v1/classifiers/{name}", { params });
    return { version: data.latest_version, isPublished: data.latest_version === data.published_version, isOld: true };
  }
}

function Taught({ taught, onRestart }) {
  return html`<h1>${taught.name}, version ${taught.version}</h1>
    ${!taught.isPublished && html`<${Notice} kind="warn"><p>The published version still answers.
      <a href=${`#/versions/${taught.name}`}>Compare both versions and publish this one.</a></p><//>`}
    ${taught.isOld && html`<${Notice}>It had learned from exactly these pictures and classes before, so no new version was made.<//>`}
    ${taught.relabelled > 0 && html`<${Notice}>${count(taught.relabelled, "picture")} had been stored with another class and got the new one.<//>`}
    <${Outcomes} items=${taught.items} />
    <${Report} name=${taught.name} version=${taught.version} />
    <div class="buttons">
      <button type="button" class="primary" onClick=${() => go(`#/use/${taught.name}`)}>Use it</button>
      <button type="button" onClick=${() => go(`#/label/${taught.name}`)}>Label more pictures</button>
      <button type="button" onClick=${onRestart}>Teach another</button>
    </div>`;
}

function Outcomes({ items }) {
  const [isOpen, setOpen] = useState(false);
  const sent = items.filter(({ outcome }) => outcome);
  if (sent.length === 0) return null;
  const failed = sent.filter(({ outcome }) => outcome.problem);
  const known = sent.filter(({ outcome }) => !outcome.problem && outcome.created === false);
  const risky = sent.filter(({ outcome }) => outcome.scan?.image.burned_in_risk === "high");
  const shownItems = isOpen ? sent : failed;
  return html`<section aria-labelledby="files"><h2 id="files">Files</h2>
    <p>${count(sent.length - failed.length - known.length, "file")} stored, ${known.length} stored before, ${failed.length} refused.</p>
    ${risky.length > 0 && html`<${Notice} kind="warn">In ${count(risky.length, "picture")} burned-in text may still be legible.
      No small picture of ${risky.length === 1 ? "it" : "them"} is kept.<//>`}
    ${shownItems.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Outcome of each file"><table>
      <thead><tr><th>File</th><th>Class</th><th>Patient</th><th>Outcome</th></tr></thead>
      <tbody>${shownItems.map((item) => html`<tr key=${item.id}><td>${item.path}</td><td>${item.label}</td>
        <td>${item.subject}</td><td>${outcomeWords(item.outcome)}</td></tr>`)}</tbody></table></div>`}
    <button type="button" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
      ${isOpen ? "Hide the list of files" : "Show every file"}</button>
  </section>`;
}

function outcomeWords({ problem, created }) {
  if (problem) return problemWords({ problem });
  return created ? "stored" : "stored before";
}
