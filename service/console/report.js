// How good a version is: its numbers with intervals, what is missing, the confusion, the forecast.
import { useState } from "preact/hooks";

import { Asked, Choice, Notice, Thumbnail, html, useAsked } from "./elements.js";
import { LearningCurve } from "./learning_curve.js";
import { http } from "./session.js";
import { count, heldOut, percent, reason, withInterval } from "./words.js";

export function Report({ name, version }) {
  const path = { name, version: String(version) };
  const asked = useAsked(
    async () => (await http.GET("/v1/classifiers/{name}/versions/{version}", { params: { path } })).data,
    [name, version],
  );
  return html`<${Asked} asked=${asked}>${(one) =>
    one.report
      ? html`<${Numbers} report=${one.report} />
          <${Confusion} name=${name} version=${version} labels=${one.report.labels} />
          <${Forecast} report=${one.report} />`
      : html`<${Notice}>This version was imported and has no report of its own.<//>`}
  <//>`;
}

function Numbers({ report }) {
  const isNamed = (report.grouping?.without_ids ?? 0) === 0;
  return html`<section aria-labelledby="how-good"><h2 id="how-good">How good is it?</h2>
    <p class="figure">${withInterval(report.balanced_accuracy, report.interval_95)}</p>
    <p>balanced accuracy on ${heldOut(report)}.${chanceOf(report)}${" "}It learned from ${count(report.examples, "picture")} of ${count(report.groups, isNamed ? "patient" : "group")}.
      ${!isNamed && " A group is a patient, or pictures without a patient that are so alike that they count as one."}</p>
    ${report.not_evaluated_because && html`<${Notice} kind="warn">Not measured: ${report.not_evaluated_because}<//>`}
    <${Warnings} texts=${report.warnings} />
    ${report.labels.map((head) => html`<${Head} key=${head.label} head=${head} isNamed=${isNamed} />`)}
  </section>`;
}

function chanceOf(report) {
  const [head] = report.labels;
  return head && head.label === null ? ` Guessing would reach ${percent(head.chance)}.` : "";
}

function Warnings({ texts }) {
  if (texts.length === 0) return null;
  return html`<${Notice} kind="warn"><ul>${texts.map((text) => html`<li>${text}</li>`)}</ul><//>`;
}

function Head({ head, isNamed }) {
  const rows = head.metrics.per_class;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Figures of each class"><table>
    ${head.label && html`<caption>${head.label}: ${withInterval(head.balanced_accuracy, head.interval_95)}</caption>`}
    <thead><tr><th scope="col">Class</th><th scope="col">${isNamed ? "Patients" : "Groups"}</th><th scope="col">Found (recall)</th>
      <th scope="col">Right when said (precision)</th></tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr key=${row.name}><th scope="row">${row.name}</th><td>${row.groups}</td>
        <td>${row.recall ? withInterval(row.recall.value, row.recall) : missing(row)}</td>
        <td>${row.precision ? withInterval(row.precision.value, row.precision) : missing(row)}</td></tr>`,
    )}</tbody></table></div>
    ${head.calibration.not_calibrated_because && html`<p class="quiet">Its probabilities are not calibrated:
      ${" "}${head.calibration.not_calibrated_because}</p>`}`;
}

function missing(row) {
  return row.missing_groups > 0 ? `needs ${count(row.missing_groups, "more patient", "more patients")}` : row.not_evaluated_because ?? "not measured";
}

function Confusion({ name, version, labels }) {
  const choices = labels.map(({ label }) => label).filter((label) => label !== null);
  const [label, setLabel] = useState(choices[0] ?? "");
  const [cell, setCell] = useState(null);
  const asked = useAsked(async () => {
    const params = { path: { name, version: String(version) }, query: { limit: 0, ...(label ? { label } : {}) } };
    return (await http.GET("/v1/classifiers/{name}/versions/{version}/confusion", { params })).data;
  }, [name, version, label]);
  return html`<section aria-labelledby="confusion"><h2 id="confusion">What it mixes up</h2>
    ${choices.length > 0 && html`<${Choice} label="Label" value=${label} options=${choices} onChange=${setLabel} />`}
    <${Asked} asked=${asked}>${(answer) => {
      if (answer.scored === 0) return html`<p>There are too few patients to tell.</p>`;
      const counts = new Map(answer.items.map((one) => [`${one.actual}\n${one.predicted}`, one.count]));
      return html`<p class="quiet">Each picture was judged by a classifier that had not seen its patient. Choose a number to see the pictures.</p>
        <div class="scroll" tabindex="0" role="region" aria-label="Confusion"><table class="confusion">
        <thead><tr><td></td>${answer.classes.map((one) => html`<th scope="col">said ${one}</th>`)}</tr></thead>
        <tbody>${answer.classes.map(
          (actual) => html`<tr key=${actual}><th scope="row">is ${actual}</th>${answer.classes.map((predicted) => {
            const number = counts.get(`${actual}\n${predicted}`) ?? 0;
            const isRight = actual === predicted;
            return html`<td class=${isRight ? "right" : number > 0 ? "wrong" : ""}>
              <button type="button" disabled=${number === 0} aria-label=${`${number} pictures: is ${actual}, said ${predicted}`}
                onClick=${() => setCell({ actual, predicted })}>${number}</button></td>`;
          })}</tr>`,
        )}</tbody></table></div>`;
    }}<//>
    ${cell && html`<${Cell} key=${`${cell.actual}/${cell.predicted}`} name=${name} version=${version} label=${label} ...${cell} />`}
  </section>`;
}

function Cell({ name, version, label, actual, predicted }) {
  const asked = useAsked(async () => {
    const query = { actual, predicted, limit: 60, ...(label ? { label } : {}) };
    const params = { path: { name, version: String(version) }, query };
    return (await http.GET("/v1/classifiers/{name}/versions/{version}/confusion", { params })).data;
  }, [actual, predicted]);
  return html`<h3>Is ${actual}, said ${predicted}</h3>
    <${Asked} asked=${asked}>${(answer) => html`<div class="strip">${answer.items
      .flatMap(({ examples }) => examples)
      .map(
        (one) => html`<figure key=${one.example_id}><${Thumbnail} path=${one.thumbnail} alt=${`Is ${actual}, said ${predicted}`} />
          <figcaption>${one.scan_id ?? "uploaded"}</figcaption></figure>`,
      )}</div>`}<//>`;
}

function Forecast({ report }) {
  return html`<section aria-labelledby="more"><h2 id="more">Would more examples help?</h2>
    ${report.labels.map(({ label, forecast, groups_per_class: groups }) => html`<div key=${label}>
      ${label && html`<h3>${label}</h3>`}
      ${forecast.not_forecast_because
        ? html`<p>Not known yet. ${reason(forecast.not_forecast_because)}</p>`
        : html`<${Gain} forecast=${forecast} /><${LearningCurve} forecast=${forecast} now=${Math.min(...Object.values(groups))} />`}
    </div>`)}
  </section>`;
}

function Gain({ forecast }) {
  const { gain, gain_90: range, more_groups_per_class: more, most_useful_class: best } = forecast;
  const expected = `${more} more patients of every class would change balanced accuracy by about ${points(gain)}`;
  return html`<p>${expected}${range ? ` (90 % range: ${points(range[0])} to ${points(range[1])})` : ""}.
    ${best && html` Examples of <strong>${best}</strong> would help most.`}</p>`;
}

function points(value) {
  const rounded = (100 * value).toFixed(1);
  return `${value > 0 ? "+" : ""}${rounded} points`;
}
