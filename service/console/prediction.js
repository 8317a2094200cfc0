// One prediction as a person reads it: decision or abstention, probabilities, heat map, evidence.
import { useEffect, useRef, useState } from "preact/hooks";

import { Bar, Choice, Failure, Notice, Thumbnail, html, useAction, useFileUrl } from "./elements.js";
import { Preview, isShown } from "./preview.js";
import { http, may, say } from "./session.js";
import { BURNED_IN, abstention, percent, probability, qualityFinding } from "./words.js";

export function Answer({ item, answer, file, title }) {
  const isMulti = answer.kind === "multi_label";
  const lacking = answer.prediction_sets.filter(({ not_enough_because: because }) => because);
  return html`<article class="answer card">
    <div class="seen">${file ? html`<${Seen} file=${file} item=${item} />` : html`<span class="no-picture">clip</span>`}</div>
    <div class="said">
      <h3 class="file-name">${title}<span class="quiet">, by version ${answer.version}</span></h3>
      <${Decision} item=${item} isMulti=${isMulti} />
      ${item.decision === "abstained" && html`<p class="quiet">What it leans to, which is no answer:</p>`}
      ${item.outputs.map((output) => html`<${Output} key=${output.label} output=${output} set=${item.prediction_set} coverage=${answer.coverage} isMulti=${isMulti} isAbstained=${item.decision === "abstained"} />`)}
      ${!answer.calibrated && html`<p class="quiet">These probabilities are not calibrated: they may be far too high or too low.</p>`}
      <${Set} item=${item} coverage=${answer.coverage} isMulti=${isMulti} lacking=${lacking} />
      <${Findings} image=${item.image} />
      ${item.frames && html`<${Frames} item=${item} />`}
      ${!isMulti && item.prediction_id && may("outcome.write") && html`<${Outcome} item=${item} answer=${answer} />`}
      ${item.nearest.length > 0 && html`<h4>Most similar examples</h4>
        <div class="strip">${item.nearest.map(
          (one) => html`<figure key=${one.example_id}>
            <${Thumbnail} path=${one.thumbnail} alt=${`Example of ${one.label ?? (one.labels?.join(", ") || "no label")}`} />
            <figcaption>${one.label ?? (one.labels?.join(", ") || "no label")}<br />similarity ${one.similarity.toFixed(2)}</figcaption></figure>`,
        )}</div>`}
    </div>
  </article>`;
}

function Decision({ item, isMulti }) {
  if (item.decision === "abstained") {
    return html`<p class="decision abstained"><strong>No answer.</strong> ${item.abstained ? abstention(item.abstained) : ""}</p>`;
  }
  const called = item.outputs.filter((output) => output.called).map((output) => output.label);
  if (isMulti) {
    return html`<p class="decision"><strong>${called.length > 0 ? called.join(", ") : "None of the labels"}</strong></p>`;
  }
  const set = item.prediction_set;
  const isOpen = !set || set.length !== 1;
  return html`<p class=${isOpen ? "decision unsure" : "decision"}>
    <strong>${called.length > 0 ? called.join(", ") : "No class reaches its threshold"}</strong>
    ${isOpen && html`<span> — ${set ? "not certain" : "how certain cannot be said"}</span>`}</p>`;
}

function Output({ output, set, coverage, isMulti, isAbstained }) {
  const isIn = !isAbstained && set?.includes(output.label);
  const notes = [];
  if (output.threshold !== null) notes.push(`called from ${percent(output.threshold)}`);
  if (output.abstained_because) notes.push("no answer: about equally likely");
  if (isMulti && output.prediction_set?.length === 2) notes.push(`not certain at ${percent(coverage)} coverage`);
  return html`<${Bar} label=${output.label} share=${output.probability} isStrong=${output.called || isIn} note=${notes.join(", ")} />`;
}

function Set({ item, coverage, isMulti, lacking }) {
  // Beside an abstention a set would look like the answer that was withheld.
  if (item.decision === "abstained") return null;
  if (isMulti) {
    return lacking.map((one) => html`<p class="quiet" key=${one.label}>How certain the answer on ${one.label} is cannot be said: ${one.not_enough_because}.</p>`);
  }
  if (!item.prediction_set) {
    return html`<p class="quiet">How certain this is cannot be said: ${lacking[0]?.not_enough_because ?? "there are too few examples"}.</p>`;
  }
  if (item.prediction_set.length === 0) return html`<p class="quiet">None of the classes fits at ${percent(coverage)} coverage.</p>`;
  const names = item.prediction_set.join(" or ");
  return html`<p class="quiet">Possible at ${percent(coverage)} coverage: ${names}${item.prediction_set.length === 1 ? " only" : ""}.</p>`;
}

/** What it turned out to be; the service measures by it how good the classifier is in use. */
function Outcome({ item, answer }) {
  const [stored, setStored] = useState("");
  const [chosen, setChosen] = useState("");
  const store = useAction(async (label) => {
    const outcome = {
      prediction_id: item.prediction_id,
      version: answer.version,
      abstained: item.decision === "abstained",
      probabilities: Object.fromEntries(item.outputs.map((output) => [output.label, output.probability])),
      actual: [label],
    };
    await http.POST("/v1/classifiers/{name}/outcomes", { params: { path: { name: answer.classifier } }, body: { outcomes: [outcome] } });
    setStored(label);
    say(`Stored: it is ${label}.`);
  });
  // What is stored stays stored, so nothing takes it back to "not known yet".
  const choose = (label) => {
    setChosen(label);
    if (label) store.run(label);
  };
  return html`<${Choice} label="It turned out to be" value=${chosen} empty=${stored ? undefined : "not known yet"} options=${item.outputs.map((output) => output.label)}
      onChange=${choose} />
    ${stored && !store.busy && html`<p class="quiet" role="status">Stored: ${stored}. It counts in the figures of the classifier in use.</p>`}
    <${Failure} error=${store.error} />
    ${store.error && html`<p>“${chosen}” is not stored. <button type="button" onClick=${() => store.run(chosen)}>Store it again</button></p>`}`;
}

function Findings({ image }) {
  if (!image) return null;
  const findings = image.quality.map(({ reason }) => qualityFinding(reason));
  const risk = image.burned_in_risk === "none" ? [] : [BURNED_IN[image.burned_in_risk]];
  const all = [...findings, ...risk];
  return all.length > 0 ? html`<${Notice} kind="warn">About the picture: ${all.join("; ")}.<//>` : null;
}

/** The frames of a clip: probability of the most probable class in each, key frames marked. */
function Frames({ item }) {
  const label = item.label ?? item.most_probable;
  const keys = new Set(item.key_frames?.find((one) => one.label === label)?.frames ?? []);
  return html`<h4>Frame by frame: ${label}</h4>
    <div class="frames" role="img" aria-label=${`Probability of ${label} in each of ${item.frames.length} frames; key frames: ${[...keys].join(", ") || "none"}`}>
      ${item.frames.map((frame) => {
        const share = frame.outputs.find((output) => output.label === label)?.probability ?? 0;
        return html`<${FrameBar} key=${`${frame.index}-${frame.region}`} share=${share} isKey=${keys.has(frame.index)} index=${frame.index} />`;
      })}
    </div>
    <p class="quiet">${keys.size > 0 ? `Frames ${[...keys].join(", ")} carry half of the support.` : ""}</p>`;
}

function FrameBar({ share, isKey, index }) {
  const bar = useRef(null);
  useEffect(() => {
    bar.current.style.height = `${Math.max(4, 100 * share)}%`;
  }, [share]);
  return html`<span class=${isKey ? "frame key" : "frame"} title=${`Frame ${index}: ${probability(share)}`}><i ref=${bar}></i></span>`;
}

/** The dropped file, and over it where the support of a class is. */
function Seen({ file, item }) {
  const map = item.heatmap;
  const [label, setLabel] = useState("");
  const isClip = file.type.startsWith("video/");
  const url = useFileUrl(isClip ? file : null);
  if (isClip) return html`<video src=${url} controls muted loop aria-label="The dropped clip"></video>`;
  if (!isShown(file)) {
    return html`<div class="layers"><${Preview} file=${file} className="seen-picture" /></div>
      ${map && html`<p class="quiet">No heat map: this browser cannot show the file below it.</p>`}`;
  }
  return html`<div class="layers"><${Preview} file=${file} className="seen-picture" />
      ${map && label && html`<${HeatMap} map=${map} label=${label} image=${item.image} />`}</div>
    ${map && label && html`<p class="quiet">Orange supports ${label}, blue speaks against it. The white frame shows the part that was used.</p>`}
    ${map && map.outputs.some((one) => one.map) && html`<${Choice} label="Show what speaks for" value=${label} empty="nothing"
        options=${map.outputs.map((one) => one.label)} onChange=${setLabel} />`}
    ${!map && item.no_heatmap_because && html`<p class="quiet">No heat map: ${item.no_heatmap_because}</p>`}`;
}

/** What supports one class rather than the mean of the others, over the box that was used. */
function HeatMap({ map, label, image }) {
  const canvas = useRef(null);
  useEffect(() => {
    const context = canvas.current.getContext("2d");
    const pixels = context.createImageData(map.columns, map.rows);
    const support = supportOf(map, label);
    const largest = Math.max(...support.flat().map(Math.abs)) || 1;
    support.forEach((row, y) => row.forEach((value, x) => {
      const share = value / largest;
      // Blue and orange, which colour-blind readers can tell apart.
      const [red, green, blue] = share > 0 ? [255, 140, 0] : [60, 120, 255];
      pixels.data.set([red, green, blue, Math.round(170 * Math.abs(share))], 4 * (y * map.columns + x));
    }));
    const small = new OffscreenCanvas(map.columns, map.rows);
    small.getContext("2d").putImageData(pixels, 0, 0);
    const [x0, y0, x1, y1] = map.box;
    context.clearRect(0, 0, image.width_px, image.height_px);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, x0, y0, x1 - x0, y1 - y0);
    context.strokeStyle = "rgba(255, 255, 255, 0.7)";
    context.lineWidth = Math.max(1, image.width_px / 400);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }, [map, label]);
  return html`<canvas ref=${canvas} class="heat" width=${image.width_px} height=${image.height_px} role="img"
    aria-label=${`Orange supports ${label}, blue speaks against it; the frame shows the part that was used`}></canvas>`;
}

function supportOf(map, label) {
  const own = map.outputs.find((one) => one.label === label).map;
  const others = map.outputs.filter((one) => one.label !== label && one.map);
  if (map.outputs.length === 1 || others.length === 0) return own;
  return own.map((row, y) => row.map((value, x) =>
    value - others.reduce((sum, one) => sum + one.map[y][x], 0) / others.length));
}
