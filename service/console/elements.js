// Elements that several pages use.
import { h } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import htm from "htm";

import { client, say } from "./session.js";
import { probability, problemWords } from "./words.js";

export const html = htm.bind(h);

/**
 * Run an async function at once and again when `inputs` change: {value, error, busy, again}.
 *
 * The value is always that of these inputs: what was answered to others is never shown beside them.
 */
export function useAsked(ask, inputs) {
  const [answer, setAnswer] = useState({ busy: true, inputs });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setAnswer((last) => ({ value: areSame(last.inputs, inputs) ? last.value : undefined, busy: true, inputs }));
    Promise.resolve()
      .then(() => ask(stop.signal))
      .then(
        (value) => stop.signal.aborted || setAnswer({ value, busy: false, inputs }),
        (error) => stop.signal.aborted || setAnswer({ error, busy: false, inputs }),
      );
    return () => stop.abort();
  }, [...inputs, round]);
  // Effects run after the page was painted once with the new inputs.
  const { value, error, busy } = areSame(answer.inputs, inputs) ? answer : { busy: true };
  return { value, error, busy, again: () => setRound((number) => number + 1) };
}

function areSame(some, others) {
  return some.every((one, index) => Object.is(one, others[index]));
}

/** An action of a button: {run, busy, error, clear}, of its last run. `run` never throws. */
export function useAction(act) {
  const [state, setState] = useState({ busy: false });
  const runs = useRef(0);
  const run = async (...given) => {
    const number = (runs.current += 1);
    const set = (next) => number === runs.current && setState(next);
    set({ busy: true });
    try {
      const value = await act(...given);
      set({ busy: false });
      return value;
    } catch (error) {
      set({ busy: false, error });
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
    ${children(id, hint && `${id}-hint`)}
    ${hint && html`<p class="quiet" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

export function TextField({ label, hint, value, onInput, ...more }) {
  return html`<${Field} label=${label} hint=${hint}>
    ${(id, hintId) => html`<input id=${id} aria-describedby=${hintId} type="text" autocomplete="off" spellcheck=${false} value=${value}
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

/** Get a picture that is shown next. */
export function prefetch(path) {
  if (path) addressOf(path).catch(() => {});
}

/** Forget every picture, because somebody signed out. */
export function forgetPictures() {
  for (const made of shown.values()) made.then((url) => URL.revokeObjectURL(url)).catch(() => {});
  shown.clear();
}

/**
 * A stored picture; the browser cannot send a key for an <img>, so it is fetched here.
 *
 * `onSettled` is told its path when it is seen, or when it is known that none is kept.
 */
export function Thumbnail({ path, alt, onSettled }) {
  const asked = useAsked(() => (path ? addressOf(path) : null), [path]);
  const isMissing = asked.error ? asked.error.problem?.status === 404 : !asked.busy && !asked.value;
  useEffect(() => {
    if (isMissing) onSettled?.(path);
  }, [isMissing, path]);
  if (isMissing || asked.error) return html`<span class="no-picture" role="img" aria-label=${alt}>${isMissing ? "no picture kept" : "the picture did not come"}</span>`;
  if (!asked.value) return html`<span class="no-picture" role="img" aria-label=${alt}></span>`;
  return html`<img class="thumbnail" src=${asked.value} alt=${alt} onLoad=${() => onSettled?.(path)} />`;
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

/** Buttons that turn the pages of a list; they stay while a page is awaited, so that they keep the focus. */
export function Pages({ asked, cursors, onTurn, back, on }) {
  const next = asked.value?.next_cursor;
  return html`<div class="buttons">
    <button type="button" disabled=${cursors.length === 1} onClick=${() => onTurn(cursors.slice(0, -1))}>${back}</button>
    <button type="button" disabled=${!asked.busy && !next} onClick=${() => next && onTurn([...cursors, next])}>${on}</button>
  </div>`;
}

/** A dialog that asks before something cannot be undone. */
export function Confirm({ title, children, action, onConfirm, onCancel, isBusy }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.isConnected && before.focus();
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
