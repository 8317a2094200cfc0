// Elements that several pages use.
import { h } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import htm from "htm";

import { client, say } from "./session.js";
import { probability, problemWords } from "./words.js";

export const html = htm.bind(h);

/** Run an async function at once and again when `inputs` change: {value, error, busy, again}. */
export function useAsked(ask, inputs) {
  const [answer, setAnswer] = useState({ busy: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setAnswer((last) => ({ value: last.value, busy: true }));
    Promise.resolve()
      .then(() => ask(stop.signal))
      .then(
        (value) => stop.signal.aborted || setAnswer({ value, busy: false }),
        (error) => stop.signal.aborted || setAnswer({ error, busy: false }),
      );
    return () => stop.abort();
  }, [...inputs, round]);
  return { ...answer, again: () => setRound((number) => number + 1) };
}

/** An action of a button: {run, busy, error, clear}. `run` never throws. */
export function useAction(act) {
  const [state, setState] = useState({ busy: false });
  const run = async (...given) => {
    setState({ busy: true });
    try {
      const value = await act(...given);
      setState({ busy: false });
      return value;
    } catch (error) {
      setState({ busy: false, error });
      say(problemWords(error));
      return undefined;
    }
  };
  return { ...state, run, clear: () => setState({ busy: false }) };
}

export function Failure({ error }) {
  if (!error) return null;
  const id = error.problem?.request_id;
  return html`<div class="notice bad" role="alert">
    <p>${problemWords(error)}</p>
    ${id && html`<p class="quiet">Request ${id}</p>`}
  </div>`;
}

export function Notice({ kind = "plain", children }) {
  return html`<div class=${`notice ${kind}`}>${children}</div>`;
}

export function Busy({ children = "Loading" }) {
  return html`<p class="busy" role="status"><span class="dots" aria-hidden="true"></span>${children}</p>`;
}

/** What was asked for, or that it is awaited, or why it failed. */
export function Asked({ asked, children, waiting }) {
  if (asked.error) return html`<${Failure} error=${asked.error} />`;
  if (asked.value === undefined) return html`<${Busy}>${waiting ?? "Loading"}<//>`;
  return children(asked.value);
}

export function Field({ label, hint, children }) {
  const id = useId();
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children(id)}
    ${hint && html`<p class="quiet">${hint}</p>`}
  </div>`;
}

export function TextField({ label, hint, value, onInput, ...more }) {
  return html`<${Field} label=${label} hint=${hint}>
    ${(id) => html`<input id=${id} type="text" autocomplete="off" spellcheck=${false} value=${value}
      onInput=${(event) => onInput(event.currentTarget.value)} ...${more} />`}
  <//>`;
}

export function Choice({ label, hint, value, options, onChange, empty }) {
  return html`<${Field} label=${label} hint=${hint}>
    ${(id) => html`<select id=${id} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${empty !== undefined && html`<option value="" selected=${value === ""}>${empty}</option>`}
      ${options.map((option) => {
        const [name, text] = Array.isArray(option) ? option : [option, option];
        return html`<option value=${name} selected=${name === value}>${text}</option>`;
      })}
    </select>`}
  <//>`;
}

export function Progress({ done, total, label }) {
  const id = useId();
  return html`<div class="progress">
    <label for=${id}>${label}: ${done} of ${total}</label>
    <progress id=${id} max=${total || 1} value=${done}></progress>
  </div>`;
}

const shown = new Map();
const MAX_SHOWN = 400;

async function addressOf(path) {
  if (!shown.has(path)) {
    if (shown.size >= MAX_SHOWN) {
      const [oldest, old] = shown.entries().next().value;
      shown.delete(oldest);
      old.then((url) => URL.revokeObjectURL(url)).catch(() => {});
    }
    const made = client.blob(path).then((blob) => URL.createObjectURL(blob));
    made.catch(() => shown.delete(path));
    shown.set(path, made);
  }
  return shown.get(path);
}

/** Forget every picture, because somebody signed out. */
export function forgetPictures() {
  for (const made of shown.values()) made.then((url) => URL.revokeObjectURL(url)).catch(() => {});
  shown.clear();
}

/** A stored picture; the browser cannot send a key for an <img>, so it is fetched here. */
export function Thumbnail({ path, alt }) {
  const [url, setUrl] = useState(null);
  const [isMissing, setMissing] = useState(!path);
  useEffect(() => {
    let isHere = true;
    setUrl(null);
    setMissing(!path);
    if (path) {
      addressOf(path).then(
        (made) => isHere && setUrl(made),
        () => isHere && setMissing(true),
      );
    }
    return () => {
      isHere = false;
    };
  }, [path]);
  if (isMissing) return html`<span class="no-picture" role="img" aria-label=${alt}>no picture kept</span>`;
  if (!url) return html`<span class="no-picture" role="img" aria-label=${alt}></span>`;
  return html`<img class="thumbnail" src=${url} alt=${alt} />`;
}

/** The address of a chosen file while the element is shown. */
export function useFileUrl(file) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    if (!file) return undefined;
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}

/** A bar for a share; the number stands beside it as text. */
export function Bar({ label, share, mark, isStrong, note }) {
  return html`<div class=${isStrong ? "bar strong" : "bar"}>
    <span class="bar-label">${label}${note && html` <span class="tag">${note}</span>`}</span>
    <meter min="0" max="1" value=${share} aria-label=${label}>${probability(share)}</meter>
    <span class="bar-number">${probability(share)}${mark ?? ""}</span>
  </div>`;
}

/** A dialog that asks before something cannot be undone. */
export function Confirm({ title, children, action, onConfirm, onCancel, isBusy }) {
  const box = useRef(null);
  useEffect(() => {
    box.current.showModal();
  }, []);
  return html`<dialog ref=${box} aria-label=${title} onCancel=${onCancel}>
    <h2>${title}</h2>
    ${children}
    <div class="buttons">
      <button type="button" onClick=${onCancel}>Cancel</button>
      <button type="button" class="danger" disabled=${isBusy} onClick=${onConfirm}>${action}</button>
    </div>
  </dialog>`;
}

export function Tabs({ tabs, value, onChange, label }) {
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(
      ([name, text]) => html`<button type="button" aria-current=${name === value ? "true" : undefined}
        onClick=${() => onChange(name)}>${text}</button>`,
    )}
  </nav>`;
}
