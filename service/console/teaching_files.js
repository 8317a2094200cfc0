// The files of the page "Teach": their class and patient, from folders, a CSV, or by hand.
import { csvRows } from "./files.js";

const FILE_COLUMNS = ["file", "path", "filename", "image"];
const LABEL_COLUMNS = ["label", "class", "finding"];
const SUBJECT_COLUMNS = ["subject_id", "subject", "patient", "patient_id"];

let lastId = 0;

/** {id, file, path, label, subject} for each picture; a folder is a class, one below it a patient. */
export function itemsOf(files) {
  return files
    .filter(({ file }) => !isTable(file))
    .map(({ file, folders }) => ({
      id: (lastId += 1),
      file,
      path: [...folders, file.name].join("/"),
      label: folders[0] ?? "",
      subject: folders[1] ?? "", // folders below it are studies and series of the patient
      outcome: null,
    }));
}

export function isTable(file) {
  return /\.csv$/i.test(file.name);
}

// As programs write a missing value, an error or a shortened id; see service/cli/csv_table.py.
const NO_VALUE = /^(n\/?a|<na>|nan|null|#(n\/?a|nv|\p{L}+(\/0)?[!?]|#+))$/iu;
const SHORTENED = /^-?[0-9]([.,][0-9]+)?E[+-][0-9]+$/i;

/**
 * What the texts of CSV files say about the items: {items, named, unknown}.
 *
 * A row means the file whose path ends with what it states. Throws an Error in plain words.
 */
export function withTables(items, texts) {
  let named = 0;
  let unknown = 0;
  const changed = new Map();
  for (const text of texts) {
    const rows = csvRows(text);
    const [fileColumn, labelColumn, subjectColumn] = [FILE_COLUMNS, LABEL_COLUMNS, SUBJECT_COLUMNS].map((names) =>
      names.find((name) => rows[0] && name in rows[0]),
    );
    if (!fileColumn || !(labelColumn || subjectColumn)) {
      throw new Error("A CSV needs a column “file”, and a column “label” or “subject_id”.");
    }
    for (const row of rows) {
      const stated = row[fileColumn];
      const meant = items.filter(({ path }) => path === stated || path.endsWith(`/${stated}`));
      if (meant.length !== 1) {
        unknown += 1;
        continue;
      }
      named += 1;
      const change = changed.get(meant[0].id) ?? {};
      enter(change, "label", labelColumn && row[labelColumn], stated);
      enter(change, "subject", subjectColumn && row[subjectColumn], stated);
      changed.set(meant[0].id, change);
    }
  }
  return { items: items.map((item) => ({ ...item, ...changed.get(item.id) })), named, unknown };
}

/** Enter what a row says of a file. Throws an Error: it is no value, or another row says another. */
function enter(change, name, value, file) {
  if (!value) return;
  if (NO_VALUE.test(value) || (name === "subject" && SHORTENED.test(value))) {
    throw new Error(`The CSV says “${value}” of ${file}, which programs write in place of a value.`);
  }
  if ((change[name] ?? value) !== value) throw new Error(`The CSV says two different things of ${file}.`);
  change[name] = value;
}

/** [[class, items], ...], classes in order of their first file; those without a class come last. */
export function byClass(items) {
  const classes = new Map();
  for (const item of items) {
    if (!classes.has(item.label)) classes.set(item.label, []);
    classes.get(item.label).push(item);
  }
  return [...classes].sort(([a], [b]) => (a === "") - (b === ""));
}

export function patientsOf(items) {
  return new Set(items.map(({ subject }) => subject).filter(Boolean)).size;
}

/** How many classes have no second example, and so on: sentences, empty when it can be taught. */
export function missingToTeach(items) {
  const classes = byClass(items).filter(([label]) => label !== "");
  const missing = [];
  if (classes.length < 2) missing.push("Name at least two classes.");
  for (const [label, members] of classes) {
    if (members.length < 2) missing.push(`“${label}” needs at least two pictures.`);
  }
  const unnamed = items.filter(({ label }) => label === "").length;
  if (unnamed > 0) missing.push("Give every picture a class, or remove those without one.");
  return missing;
}

/** A name that the service takes: letters, digits, dots, underscores, hyphens. */
export function nameFrom(text) {
  return text
    .normalize("NFKD")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 64);
}
