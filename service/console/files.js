// Files that somebody drops or chooses: folders are walked, and their names become classes and patients.
import { useId, useState } from "preact/hooks";

import { Failure, html, useAction } from "./elements.js";
import { say } from "./session.js";
import { count } from "./words.js";

const MAX_FILES = 20_000;
/** Files that systems leave in folders, and that nobody means. */
const LEFT_OVER = /^(\.|Thumbs\.db$|desktop\.ini$|DICOMDIR$)/i;

/**
 * Files with the folders above them, from a drop or an <input>.
 *
 * A path "cyst/p1/a.png" has the folders ["cyst", "p1"].
 */
export async function filesOf(source) {
  const found = [];
  if (source.items) {
    // Entries must be taken before the first wait: the list is emptied after the event.
    const dropped = [...source.items]
      .filter((item) => item.kind === "file")
      .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
    for (const { entry, file } of dropped) {
      if (entry) await walk(entry, [], found);
      else if (file) found.push({ file, folders: [] });
    }
  } else {
    for (const file of source.files) {
      const folders = (file.webkitRelativePath || file.name).split("/").slice(0, -1);
      found.push({ file, folders });
    }
  }
  const files = found.filter(({ file }) => !LEFT_OVER.test(file.name));
  if (files.length > MAX_FILES) throw new Error(`More than ${MAX_FILES.toLocaleString("en")} files were given. Give them in parts; none was taken.`);
  return withoutCommonRoot(files);
}

async function walk(entry, folders, found) {
  if (found.length > 2 * MAX_FILES) return; // too many in any case
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, folders });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives at most 100 entries at a time.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return;
    for (const child of entries) await walk(child, [...folders, entry.name], found);
  }
}

/** Drop the folder that holds everything, unless it holds the files themselves. */
function withoutCommonRoot(files) {
  const root = files[0]?.folders[0];
  const isCommon = root !== undefined && files.every(({ folders }) => folders[0] === root && folders.length > 1);
  return isCommon ? files.map(({ file, folders }) => ({ file, folders: folders.slice(1) })) : files;
}

/** A place to drop files on; a keyboard opens the choosers in it. */
export function Drop({ onFiles, children, hasFolders = true, accept }) {
  const [isOver, setOver] = useState(false);
  const [filesId, folderId] = [useId(), useId()];
  const taking = useAction(async (source) => {
    const files = await filesOf(source).catch((error) => {
      throw error instanceof DOMException ? new Error("The files cannot be read; none was taken.") : error;
    });
    say(`${count(files.length, "file")} taken.`);
    if (files.length > 0) onFiles(files);
  });
  const take = taking.run;
  const chosen = (event) => {
    const input = event.currentTarget;
    take({ files: [...input.files] });
    input.value = "";
  };
  return html`<div class=${isOver ? "drop over" : "drop"}
      onDragOver=${(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave=${() => setOver(false)}
      onDrop=${(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer);
      }}>
    <div class="drop-text">${children}</div>
    <div class="buttons">
      <label class="button" for=${filesId}>Choose files</label>
      <input class="hidden-input" id=${filesId} type="file" multiple accept=${accept} onChange=${chosen} />
      ${hasFolders && html`<label class="button" for=${folderId}>Choose a folder</label>
        <input class="hidden-input" id=${folderId} type="file" webkitdirectory multiple onChange=${chosen} />`}
    </div>
    <${Failure} error=${taking.error} />
  </div>`;
}

/** Rows of a CSV with a header, by RFC 4180: quotes, doubled quotes, line ends inside quotes. */
export function csvRows(text) {
  const plain = text.replace(/^\uFEFF/, "");
  const firstLine = plain.split(/\r?\n/, 1)[0];
  // Spreadsheets of many countries write semicolons.
  const comma = firstLine.includes(";") && !firstLine.includes(",") ? ";" : ",";
  const cells = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${comma}\\r\\n]*))(${comma}|\\r?\\n|\\r|$)`, "gy");
  const rows = [[]];
  while (cells.lastIndex < plain.length) {
    const cell = cells.exec(plain);
    if (cell === null) throw new Error(`The CSV file cannot be read at line ${rows.length}.`);
    rows.at(-1).push(cell[1] === undefined ? cell[2] : cell[1].replaceAll('""', '"'));
    if (cell[3] === "") break;
    if (cell[3] !== comma) rows.push([]);
  }
  const [head = [], ...body] = rows.filter((row) => row.some((value) => value.trim() !== ""));
  const names = head.map((name) => name.trim().toLowerCase());
  return body.map((row) => Object.fromEntries(names.map((name, index) => [name, (row[index] ?? "").trim()])));
}
