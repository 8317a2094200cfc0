// The page "Live": a camera, a clip or a row of pictures, and the classifier's answer as it goes.
import { useEffect, useRef, useState } from "preact/hooks";

import { Asked, Bar, Choice, Failure, Notice, html, useAction, useAsked } from "./elements.js";
import { Drop } from "./files.js";
import { client, go, http, listClassifiers, say } from "./session.js";
import { NOT_A_DEVICE, abstention, count, percent, problemWords, qualityFinding, reason } from "./words.js";

const MAX_SIDE_PX = 1024; // of a sent frame: the service makes it smaller still
const JPEG_QUALITY = 0.9;
const MAX_WAITING_BYTES = 500_000; // before further frames are left out here
const MAX_UNANSWERED = 2;
const LATE_MS = 2_000; // without an answer, after which the last one is no longer of what is seen
const PICTURE_MS = 500; // for which a dropped picture is shown
const CAMERA = { video: { width: { ideal: 1280 }, height: { ideal: 720 } }, audio: false };

const REASONS = {
  settling: "An answer is given when it has stood for a moment.",
  not_certain: "More than one answer is possible.",
  frozen: "The picture stands still.",
};

export function Live({ name }) {
  const classifiers = useAsked(listClassifiers, []);
  return html`<h1>Live</h1>
    <${Asked} asked=${classifiers}>${(items) => {
      if (items.length === 0) return html`<${Notice}>There is no classifier yet. <a href="#/teach">Teach one</a> first.<//>`;
      const chosen = items.find((one) => one.name === name) ?? items[0];
      return html`<${Choice} label="Classifier" value=${chosen.name} options=${items.map((one) => one.name)}
          onChange=${(next) => go(`#/live/${next}`)} />
        <p class="quiet">Frames are judged as they come. None of them is stored.</p>
        <${Watch} key=${chosen.name} classifier=${chosen} />`;
    }}<//>`;
}

function Watch({ classifier }) {
  const [source, setSource] = useState(null);
  const [latest, setLatest] = useState(null);
  const [ready, setReady] = useState(null);
  const [isLate, setLate] = useState(false);
  const [left, setLeft] = useState(0);
  const [isSteady, setSteady] = useState(true);
  const stop = useRef(() => {});
  const end = () => {
    stop.current();
    stop.current = () => {};
    setSource(null);
    setLatest(null);
  };
  useEffect(() => end, []);
  useEffect(() => {
    setLate(false);
    const timer = setTimeout(() => setLate(true), LATE_MS);
    return () => clearTimeout(timer);
  }, [latest, source]);
  const start = useAction(async (open) => {
    end();
    setLeft(0);
    const opened = await open();
    try {
      const stream = await streamOf(classifier.name, isSteady);
      stop.current = () => {
        opened.close();
        stream.close();
      };
      setReady(stream.ready);
      setSource(opened);
      say("The stream runs.");
      await run(stream, opened, { setLatest, setReady, setLeft });
    } finally {
      opened.close();
      stop.current = () => {};
      setSource(null);
      say("The stream has ended.");
    }
  });
  return html`<div class="buttons">
      ${source
        ? html`<button type="button" class="primary" onClick=${end}>Stop</button>`
        : html`<button type="button" class="primary" onClick=${() => start.run(cameraOf)}>Use the camera</button>`}
    </div>
    <label class="check"><input type="checkbox" checked=${isSteady} disabled=${Boolean(source)}
        onChange=${(event) => setSteady(event.currentTarget.checked)} />
      Hold the answer steady</label>
    ${!source && html`<${Drop} hasFolders=${false} accept="image/*,video/*" onFiles=${(files) => start.run(() => filesSource(files.map(({ file }) => file)))}>
      <p><strong>Or drop a clip or pictures here.</strong> They play as if they came from a machine.</p>
    <//>`}
    <p class="notice device">${NOT_A_DEVICE}</p>
    <${Failure} error=${start.error} />
    ${source && html`<div class="answer card">
      <div class="seen"><${Picture} element=${source.element} /></div>
      <div class="said" aria-label="Live answer"><${Said} message=${latest} ready=${ready} left=${left} isLate=${isLate} />
        <${About} ready=${ready} /></div>
    </div>`}`;
}

/** The last message, unless it is too old to stand beside the picture of now. */
function Said({ message, ready, left, isLate }) {
  if (isLate) return html`<p class="decision abstained" data-testid="held"><strong>No answer.</strong> The service has answered no frame for ${LATE_MS / 1000} seconds or longer.</p>`;
  if (!message) return html`<p class="quiet">Waiting for an answer.</p>`;
  if (message.type === "problem") return html`<p class="decision abstained" data-testid="held"><strong>No answer.</strong> ${problemWords(message)}</p>`;
  return html`<${Decision} decision=${message} coverage=${ready.coverage} left=${left} />`;
}

/** Which version answers, and what its probabilities are worth. */
function About({ ready }) {
  return html`<p class="quiet">Version ${ready.version} answers. ${ready.calibrated ? "" : `Its probabilities are not calibrated: ${reason(ready.not_calibrated_because ?? "there are too few examples")}`}</p>
    ${ready.warnings.length > 0 && html`<ul class="quiet">${ready.warnings.map((text) => html`<li>${text}</li>`)}</ul>`}`;
}

/** The moving picture; the page made the element, so that frames can be taken from it. */
function Picture({ element }) {
  const place = useRef(null);
  useEffect(() => {
    place.current.replaceChildren(element);
  }, [element]);
  return html`<div class="layers" ref=${place}></div>`;
}

function Decision({ decision, coverage, left }) {
  const isCalled = decision.decision === "called";
  const said = decision.called.length > 0 ? decision.called.join(", ") : "None of them";
  const findings = decision.quality.map(qualityFinding);
  return html`${isCalled
      ? html`<p class="decision" data-testid="held"><strong>${said}</strong> <span class="quiet">for ${decision.held_s.toFixed(1)} s</span></p>`
      : html`<p class="decision abstained" data-testid="held"><strong>No answer.</strong> ${why(decision.abstained)}</p>`}
    ${decision.outputs.map((output) => html`<${Bar} key=${output.label} label=${output.label} share=${output.probability} isStrong=${decision.called.includes(output.label)} />`)}
    ${isCalled && decision.prediction_set === null && html`<p class="quiet">How certain this is cannot be said: there are too few examples.</p>`}
    ${decision.prediction_set?.length > 1 && html`<p class="quiet">Possible at ${percent(coverage)} coverage: ${decision.prediction_set.join(" or ")}.</p>`}
    <p class="quiet">About the picture: ${findings.length > 0 ? findings.join("; ") : "nothing to remark"}.</p>
    <p class="quiet">Frame ${decision.sequence + 1}, answered after ${Math.round(decision.latency_ms)} ms.${" "}
      ${count(decision.dropped + left, "frame")} left out, because newer ones came first.</p>`;
}

function why(abstained) {
  return REASONS[abstained.because] ?? abstention(abstained);
}

/** Throws ProblemError with the reason, which a browser hides where a WebSocket is refused. */
async function streamOf(name, isSteady) {
  try {
    return await client.stream(name, { smoothing: isSteady });
  } catch (error) {
    if (error.code !== 1006) throw error;
    await http.GET("/v1/classifiers/{name}", { params: { path: { name } } });
    throw new Error("The service refused the stream: your key may lack the right to predict, or too many streams are open.");
  }
}

/** Send frames while the source has some, and show what comes back. */
async function run(stream, source, { setLatest, setReady, setLeft }) {
  let answered = -1;
  let left = 0;
  const sending = (async () => {
    for await (const frame of source.frames()) {
      if (stream.waitingBytes > MAX_WAITING_BYTES || stream.sequence - answered > MAX_UNANSWERED) {
        left += 1;
        setLeft(left);
      } else {
        stream.send(new Uint8Array(await frame.arrayBuffer()));
      }
    }
    stream.close();
  })();
  // The end of the stream is told by the loop below.
  sending.catch(() => stream.close());
  for await (const message of stream) {
    if (message.type === "ready") setReady(message);
    // Of another version now, or of a frame that was refused: the answer of before no longer holds.
    setLatest(message.type === "ready" ? null : message);
    if (message.sequence !== undefined) answered = message.sequence;
  }
  await sending;
}

async function cameraOf() {
  const media = await navigator.mediaDevices?.getUserMedia(CAMERA).catch(cameraFailed);
  if (!media) cameraFailed();
  const video = videoElement("The camera");
  video.srcObject = media;
  await video.play();
  return moving(video, () => media.getTracks().forEach((track) => track.stop()));
}

function cameraFailed() {
  throw new Error("The camera cannot be used. Allow it for this page; over a network the address must begin with https.");
}

async function filesSource(files) {
  const clip = files.find((file) => file.type.startsWith("video/"));
  if (!clip) return pictures(files);
  const url = URL.createObjectURL(clip);
  const video = videoElement("The dropped clip");
  video.src = url;
  try {
    await video.play();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error("This browser cannot play the clip. Use the page Use, which reads more formats.");
  }
  return moving(video, () => URL.revokeObjectURL(url));
}

function videoElement(label) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true });
  video.setAttribute("aria-label", label);
  return video;
}

/** Frames of a playing video, each when it is shown. */
function moving(video, release) {
  let isOpen = true;
  let wake = () => {};
  const nextFrame = () =>
    new Promise((resolve) => {
      wake = resolve;
      video.requestVideoFrameCallback(resolve);
    });
  video.addEventListener("ended", () => wake());
  return {
    element: video,
    close() {
      isOpen = false;
      video.pause();
      video.srcObject = null;
      release();
      wake();
    },
    async *frames() {
      while (isOpen && !video.ended) {
        await nextFrame();
        if (isOpen && video.videoWidth > 0) yield jpegOf(video, video.videoWidth, video.videoHeight);
      }
    },
  };
}

/** Dropped pictures, one after the other. */
function pictures(files) {
  let isOpen = true;
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The dropped picture");
  return {
    element: canvas,
    close() {
      isOpen = false;
    },
    async *frames() {
      for (const file of files) {
        const picture = await createImageBitmap(file).catch(() => null);
        if (picture === null) throw new Error("This browser cannot show one of the pictures. Use the page Use, which reads more formats.");
        Object.assign(canvas, { width: picture.width, height: picture.height });
        canvas.getContext("2d").drawImage(picture, 0, 0);
        // A picture is sent several times, as a machine would show it.
        for (let shown = 0; isOpen && shown < 4; shown += 1) {
          yield await jpegOf(picture, picture.width, picture.height);
          await new Promise((resolve) => setTimeout(resolve, PICTURE_MS / 4));
        }
        picture.close();
      }
    },
  };
}

async function jpegOf(picture, width, height) {
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}
