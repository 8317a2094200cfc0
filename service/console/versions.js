// The page "Versions": what a classifier learned from, two versions side by side, publish, roll back.
import { useState } from "preact/hooks";

import { Asked, Choice, Confirm, Failure, Notice, html, useAction, useAsked } from "./elements.js";
import { Monitor } from "./monitor.js";
import { Report } from "./report.js";
import { go, http, listClassifiers, may, say } from "./session.js";
import { TwoConfusions } from "./two_confusions.js";
import { VERDICT, count, metricName, when, withInterval } from "./words.js";

const MAX_VERSIONS = 50;

export function Versions({ name }) {
  const classifiers = useAsked(listClassifiers, []);
  return html`<h1>Versions</h1>
    <${Asked} asked=${classifiers}>${(items) => {
      if (items.length === 0) return html`<${Notice}>There is no classifier yet. <a href="#/teach">Teach one</a> first.<//>`;
      const chosen = items.find((one) => one.name === name) ?? items[0];
      return html`<${Choice} label="Classifier" value=${chosen.name} options=${items.map((one) => one.name)}
          onChange=${(next) => go(`#/versions/${next}`)} />
        <${VersionsOf} key=${chosen.name} name=${chosen.name} onGone=${classifiers.again} />`;
    }}<//>`;
}

function VersionsOf({ name, onGone }) {
  const asked = useAsked(async () => {
    const path = { name };
    const [one, list] = await Promise.all([
      http.GET("/v1/classifiers/{name}", { params: { path } }),
      http.GET("/v1/classifiers/{name}/versions", { params: { path, query: { limit: MAX_VERSIONS } } }),
    ]);
    return { one: one.data, list: list.data.items };
  }, [name]);
  const [shownVersion, setShown] = useState(null);
  return html`<${Asked} asked=${asked}>${({ one, list }) => html`
    <${Changes} one=${one} onRefitted=${asked.again} />
    <div class="scroll" tabindex="0" role="region" aria-label="Versions"><table>
      <thead><tr><th scope="col">Version</th><th scope="col">Made</th><th scope="col">By</th><th scope="col">Pictures</th>
        <th scope="col">Balanced accuracy</th><th scope="col">State</th><th scope="col"></th></tr></thead>
      <tbody>${list.map((version) => html`<tr key=${version.version}>
        <th scope="row">${version.version}</th><td>${when(version.created_at)}</td><td>${version.created_by.name ?? "nobody named"}</td>
        <td>${version.examples}</td><td>${withInterval(version.report?.balanced_accuracy, version.report?.interval_95)}</td>
        <td>${version.published ? html`<span class="tag good">answers now</span>` : ""}</td>
        <td class="buttons"><button type="button" onClick=${() => setShown(version.version)}>Report</button>
          ${!version.published && may("classifier.publish") && html`<${Publish} one=${one} version=${version.version} onDone=${asked.again} />`}</td></tr>`)}</tbody>
    </table></div>
    ${list.length === MAX_VERSIONS && html`<p class="quiet">The newest ${MAX_VERSIONS} are shown.</p>`}
    ${list.length > 1 && html`<${Compare} name=${name} list=${list} />`}
    ${shownVersion && html`<h2>Version ${shownVersion}</h2><${Report} key=${shownVersion} name=${name} version=${shownVersion} />`}
    <${Monitor} name=${name} />
    ${may("classifier.delete") && html`<${Remove} one=${one} onGone=${onGone} />`}`}<//>`;
}

/** What the labels of the source say by now that the version has not learnt. */
function Changes({ one, onRefitted }) {
  const refit = useAction(async () => {
    const params = { path: { name: one.name } };
    const { data } = await http.POST("/v1/classifiers/{name}/refit", { params, body: { publish: false } });
    say(`Version ${data.version} was made. It is not published yet.`);
    onRefitted();
  });
  const changes = one.source_changes;
  if (!changes) return null;
  const parts = [
    [changes.newer, "new label", "new labels"],
    [changes.changed, "changed label", "changed labels"],
    [changes.removed, "removed label", "removed labels"],
  ].filter(([number]) => number > 0);
  if (parts.length === 0) return html`<p class="quiet">It has learnt every label of its collection.</p>`;
  return html`<${Notice} kind="warn"><p>Version ${one.published_version}, which answers now, has not learnt
      ${" "}${parts.map((part) => count(...part)).join(", ")} of “${one.source.collection}”.</p>
    ${one.latest_version > one.published_version && html`<p>Version ${one.latest_version} was made since. Compare it, and publish it if it is better.</p>`}
    ${may("classifier.write") && html`<button type="button" disabled=${refit.busy} onClick=${refit.run}>Learn from today's labels</button>`}
    <${Failure} error=${refit.error} /><//>`;
}

function Publish({ one, version, onDone }) {
  const isRollback = version < one.published_version;
  const publish = useAction(async () => {
    const params = { path: { name: one.name }, header: { "If-Match": one.etag } };
    await http.PATCH("/v1/classifiers/{name}", { params, body: { published_version: version } });
    say(`Version ${version} answers from now on.`);
    onDone();
  });
  return html`<button type="button" disabled=${publish.busy} onClick=${publish.run}>${isRollback ? "Roll back to it" : "Publish"}</button>
    <${Failure} error=${publish.error} />`;
}

function Compare({ name, list }) {
  const published = list.find((one) => one.published)?.version ?? list.at(-1).version;
  const newest = list.find((one) => one.version !== published).version;
  const [first, setFirst] = useState(newest);
  const [second, setSecond] = useState(published);
  const asked = useAsked(async () => {
    if (first === second) return null;
    const params = { path: { name, version: String(first) }, query: { with: String(second) } };
    return (await http.GET("/v1/classifiers/{name}/versions/{version}/compare", { params })).data;
  }, [name, first, second]);
  const options = list.map((one) => [String(one.version), `Version ${one.version}${one.published ? " (answers now)" : ""}`]);
  return html`<section aria-labelledby="compare"><h2 id="compare">Compare two versions</h2>
    <div class="row"><${Choice} label="This one" value=${String(first)} options=${options} onChange=${(value) => setFirst(Number(value))} />
      <${Choice} label="against" value=${String(second)} options=${options} onChange=${(value) => setSecond(Number(value))} /></div>
    <${Asked} asked=${asked}>${(answer) => answer === null ? html`<p>Choose two different versions.</p>` : html`
      <p class="figure">${sentence(answer, first, second)}</p>
      <p>Judged on the same ${count(answer.shared_examples, "picture")} of ${count(answer.groups, "patient")} that neither had seen.</p>
      <div class="scroll" tabindex="0" role="region" aria-label="Differences"><table>
        <thead><tr><th scope="col">Measure</th><th scope="col">Difference</th><th scope="col">95 % interval</th><th scope="col">Verdict</th></tr></thead>
        <tbody>${answer.differences.map((one) => html`<tr key=${`${one.label}/${one.metric}`}><th scope="row">${one.label ? `${one.label}: ` : ""}${metricName(one.metric)}</th>
          <td>${number(one.value)}</td><td>${one.low === null ? "unknown" : `${number(one.low)} to ${number(one.high)}`}</td>
          <td>${VERDICT[one.verdict]}${one.cannot_tell_because ? `: ${one.cannot_tell_because}` : ""}</td></tr>`)}</tbody></table></div>
      <${TwoConfusions} key=${`${first}/${second}`} name=${name} first=${first} second=${second} />`}<//>
  </section>`;
}

/** The verdict, which is that of the first measure; others may say otherwise. */
function sentence({ verdict, differences }, first, second) {
  const by = metricName(differences[0].metric).replace(/^B/, "b");
  if (verdict === "cannot_tell") return `By ${by}, no difference between versions ${first} and ${second} can be told.`;
  return `By ${by}, version ${first} is ${VERDICT[verdict]} than version ${second}.`;
}

function number(value) {
  return value === null ? "unknown" : `${value > 0 ? "+" : ""}${value.toFixed(3)}`;
}

function Remove({ one, onGone }) {
  const [isAsked, setAsked] = useState(false);
  const remove = useAction(async () => {
    await http.DELETE("/v1/classifiers/{name}", { params: { path: { name: one.name } } });
    say(`${one.name} was deleted.`);
    onGone();
  });
  return html`<p class="apart"><button type="button" class="danger" onClick=${() => setAsked(true)}>Delete this classifier</button></p>
    ${isAsked && html`<${Confirm} title=${`Delete ${one.name}?`} action="Delete it" isBusy=${remove.busy}
      onCancel=${() => setAsked(false)} onConfirm=${remove.run}>
      <p>All its versions go. Programs that ask it get an error. The pictures stay.</p><${Failure} error=${remove.error} /><//>`}`;
}
