// A chosen file before the service has seen it.
import { useState } from "preact/hooks";

import { html, useFileUrl } from "./elements.js";

const SHOWN_TYPES = /^image\/(png|jpeg|webp|gif|bmp|avif)$/;

/** Whether browsers show a file of this kind. */
export function isShown(file) {
  return SHOWN_TYPES.test(file.type);
}

/** A chosen file, if browsers show its kind. */
export function Preview({ file, className = "thumbnail" }) {
  const url = useFileUrl(isShown(file) ? file : null);
  const [isBroken, setBroken] = useState(false);
  const kind = (file.name.split(".").pop() ?? "file").slice(0, 5);
  if (!isShown(file) || isBroken) return html`<span class="no-picture" role="img" aria-label="A file without preview">${kind}</span>`;
  // Without an address yet the element would report an error.
  if (!url) return html`<span class="no-picture"></span>`;
  return html`<img class=${className} src=${url} alt="" onError=${() => setBroken(true)} />`;
}
