// What the published version of a classifier answers in use, beside what it answered at its examples.
import { Asked, Notice, html, useAsked } from "./elements.js";
import { http } from "./session.js";
import { abstention, count, percent, reason, when, withInterval } from "./words.js";

const WINDOWS = { hour: "Last hour", day: "Last day", week: "Last week", all: "Since it was published" };
const FIGURES = {
  similarity: "similarity to its examples",
  confidence: "confidence",
  abstentions: "number of abstentions",
};

export function Monitor({ name }) {
  const asked = useAsked(
    async () => (await http.GET("/v1/classifiers/{name}/monitor", { params: { path: { name } } })).data,
    [name],
  );
  return html`<section aria-labelledby="in-use"><h2 id="in-use">In use</h2>
    <${Asked} asked=${asked}>${(report) => html`<${State} report=${report} />
      <${Windows} report=${report} /><${Outcomes} outcomes=${report.outcomes} />`}<//></section>`;
}

function State({ report }) {
  if (report.no_reference_because) return html`<p>It cannot be compared with its examples. ${reason(report.no_reference_because)}</p>`;
  const alarms = report.alarms.map((test) => {
    const figures = test.figures.filter((one) => one.alarms).map((one) => FIGURES[one.figure] ?? one.figure);
    return `${when(test.ended_at)}: the ${figures.join(" and the ")} of ${count(test.window, "answer")} differed`;
  });
  return html`${report.alarming && html`<${Notice} kind="warn"><p><strong>What it is asked now differs from what it learned from.</strong>
        Look at the pictures before you trust it.</p><//>`}
    ${report.not_tested_because && html`<p class="quiet">Not tested yet. ${reason(report.not_tested_because)}</p>`}
    ${alarms.length > 0
      ? html`<details><summary>${count(alarms.length, "alarm")}</summary><ul>${alarms.map((text) => html`<li>${text}</li>`)}</ul></details>`
      : !report.not_tested_because && wasAsked(report) && html`<p>No alarm. An undisturbed classifier gives about ${report.false_alarms_per_1000} false alarms in 1,000 answers.</p>`}`;
}

function wasAsked(report) {
  return report.windows.some((one) => one.answers > 0);
}

function Windows({ report }) {
  const { reference } = report;
  if (!wasAsked(report)) return html`<p class="quiet">It was not asked anything yet.</p>`;
  const number = (value) => (value === null ? "unknown" : value.toFixed(2));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Answers in use"><table>
    <thead><tr><th scope="col">Time</th><th scope="col">Answers</th><th scope="col">No answer</th><th scope="col">Confidence</th>
      <th scope="col">Similarity to examples</th><th scope="col">Classes</th></tr></thead>
    <tbody>${report.windows.map((one) => html`<tr key=${one.window}><th scope="row">${WINDOWS[one.window]}</th><td>${one.answers}</td>
        <td>${percent(one.abstained_share)}${reasons(one.abstained)}</td><td>${percent(one.confidence_mean)}</td><td>${number(one.similarity_median)}</td>
        <td>${Object.entries(one.called).map(([label, times]) => `${label} ${times}`).join(", ")}</td></tr>`)}
      ${reference && html`<tr><th scope="row">At its examples</th><td>${reference.examples}</td><td>${percent(reference.abstained_share)}</td>
        <td>${percent(reference.confidence_mean)}</td><td>${number(reference.similarity_median)}</td>
        <td>${Object.entries(reference.most_probable).map(([label, share]) => `${label} ${percent(share)}`).join(", ")}</td></tr>`}</tbody></table></div>`;
}

function reasons(abstained) {
  const parts = Object.entries(abstained).filter(([, times]) => times > 0);
  if (parts.length === 0) return null;
  return html`<ul class="quiet">${parts.map(([because, times]) => html`<li>${times}: ${abstention({ because })}</li>`)}</ul>`;
}

function Outcomes({ outcomes }) {
  if (outcomes.outcomes === 0) return html`<p class="quiet">Nobody has said yet what a prediction turned out to be. The page “Use” takes it.</p>`;
  return html`<p>${count(outcomes.outcomes, "outcome")} known${outcomes.labels.map(
    (one) => html`; ${one.label ? `${one.label}: ` : ""}${one.accuracy ? `${withInterval(one.accuracy.value, one.accuracy)} right` : "too few to measure"}`,
  )}.</p>`;
}
