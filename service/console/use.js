// The page "Use": a picture or a clip is dropped, and the classifier answers or says why not.
import { useState } from "preact/hooks";

import { Asked, Choice, Failure, Notice, Progress, html, useAction, useAsked } from "./elements.js";
import { Drop } from "./files.js";
import { Answer } from "./prediction.js";
import { client, go, listClassifiers, say } from "./session.js";
import { NOT_A_DEVICE, count, heldOut, problemWords, withInterval } from "./words.js";

export function Use({ name }) {
  const classifiers = useAsked(listClassifiers, []);
  return html`<h1>Use a classifier</h1>
    <${Asked} asked=${classifiers}>${(items) => {
      if (items.length === 0) {
        return html`<${Notice}>There is no classifier yet. <a href="#/teach">Teach one</a> first.<//>`;
      }
      const chosen = items.find((one) => one.name === name) ?? items[0];
      return html`<${Choice} label="Classifier" value=${chosen.name} options=${items.map((one) => one.name)}
          onChange=${(next) => go(`#/use/${next}`)} />
        <p class="quiet">Version ${chosen.published_version} tells ${chosen.classes.join(", ")} apart.
          ${chosen.report && ` On ${heldOut(chosen.report)}: ${withInterval(chosen.report.balanced_accuracy, chosen.report.interval_95)} balanced accuracy.`}</p>
        <${Ask} key=${chosen.name} classifier=${chosen} onOtherVersion=${classifiers.again} />`;
    }}<//>`;
}

function Ask({ classifier, onOtherVersion }) {
  const [asked, setAsked] = useState([]);
  const [progress, setProgress] = useState(null);
  const [isCine, setCine] = useState(false);
  const ask = useAction(async (files) => {
    const blobs = files.map(({ file }) => file);
    setProgress({ done: 0, total: blobs.length });
    const answer = await client.predictFiles(classifier.name, blobs, {
      // Frames of one cine are judged together, so they go in one request.
      ...(isCine ? { maxFiles: blobs.length, maxBytes: Infinity } : {}),
      query: { heatmap: "array", nearest: 4, ...(isCine ? { cine: true } : {}) },
      onProgress: (done, total) => setProgress({ done, total }),
    });
    setAsked((all) => [{ answer, blobs }, ...all]);
    // Another one was published since this page was loaded: what stands above is not about it.
    if (answer.version !== classifier.published_version) onOtherVersion();
    say(`${count(blobs.length, "answer")} given.`);
  });
  return html`<${Drop} onFiles=${ask.run}>
      <p><strong>Drop pictures or clips here.</strong> They are judged and not stored.</p>
    <//>
    <label class="check"><input type="checkbox" checked=${isCine} onChange=${(event) => setCine(event.currentTarget.checked)} />
      The pictures are frames of one clip, in order</label>
    <p class="notice device">${NOT_A_DEVICE}</p>
    ${ask.busy && progress && html`<${Progress} label="Asking" ...${progress} />`}
    <${Failure} error=${ask.error} />
    ${asked.map(({ answer, blobs }, round) => html`<section key=${asked.length - round} aria-label="Answers">
      ${answer.warnings.length > 0 && html`<${Notice} kind="warn"><ul>${answer.warnings.map((text) => html`<li>${text}</li>`)}</ul><//>`}
      ${answer.not_calibrated_because && html`<${Notice} kind="warn">The probabilities are not calibrated: ${answer.not_calibrated_because}<//>`}
      ${answer.cine && html`<${Answer} item=${answer.cine} answer=${answer} title="The whole clip" />`}
      ${answer.items.map((item, index) => item.problem
        ? html`<${Notice} key=${index} kind="bad"><p>${blobs[index].name}: ${problemWords(item)}</p><//>`
        : html`<${Answer} key=${index} item=${item} answer=${answer} file=${blobs[index]} title=${blobs[index].name} />`)}
    </section>`)}`;
}
