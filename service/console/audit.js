// The audit log of the workspace: who did what, and how it ended.
import { useState } from "preact/hooks";

import { Asked, Choice, Pages, html, useAsked } from "./elements.js";
import { http, isLimited, listAll, may } from "./session.js";
import { count, when } from "./words.js";

const OUTCOMES = { ok: "done", refused: "refused", failed: "failed", begun: "begun" };
const PICTURE = "get_thumbnail"; // a page of pictures is as many entries
const ENDS = Object.entries(OUTCOMES).filter(([outcome]) => outcome !== "begun");

export function Audit() {
  const [outcome, setOutcome] = useState("");
  const [cursors, setCursors] = useState([undefined]);
  const [hasBegun, setHasBegun] = useState(false);
  const [hasPictures, setHasPictures] = useState(false);
  const keys = useAsked(keyNames, []);
  const asked = useAsked(async () => {
    const query = { limit: 50, ...(outcome ? { outcome } : {}), ...(cursors.at(-1) ? { cursor: cursors.at(-1) } : {}) };
    return (await http.GET("/v1/audit", { params: { query } })).data;
  }, [outcome, cursors.at(-1)]);
  return html`<${Choice} label="Ended" value=${outcome} empty="in any way" options=${ENDS} onChange=${(next) => {
      setOutcome(next);
      setCursors([undefined]);
    }} />
    <div class="row"><label class="check"><input type="checkbox" checked=${hasBegun} disabled=${outcome !== ""} onChange=${(event) => setHasBegun(event.currentTarget.checked)} />
      Show the beginning of each change too</label>
    <label class="check"><input type="checkbox" checked=${hasPictures} onChange=${(event) => setHasPictures(event.currentTarget.checked)} />
      Show each small picture that was looked at</label></div>
    <${Asked} asked=${asked}>${(page) => html`
      <div class="scroll" tabindex="0" role="region" aria-label="Audit log"><table>
        <thead><tr><th scope="col">Number</th><th scope="col">Time</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Of what</th><th scope="col">Ended</th></tr></thead>
        <tbody>${rowsOf(page.items.filter((one) => hasBegun || one.outcome !== "begun"), hasPictures).map(({ entry, last, pictures }) => html`<tr key=${entry.seq}>
          <td>${last === entry ? entry.seq : `${last.seq} to ${entry.seq}`}</td><td>${when(entry.at)}</td><td><${Who} who=${entry.who} names=${keys.value} /></td>
          <th scope="row">${entry.action}</th><td>${pictures > 1 ? count(pictures, "picture") : html`<${Names} names=${entry.names} />`}</td>
          <td>${OUTCOMES[entry.outcome]}${entry.code ? ` (${entry.code})` : ""}</td></tr>`)}</tbody></table></div>`}<//>
    <${Pages} asked=${asked} cursors=${cursors} onTurn=${setCursors} back="Newer" on="Older" />`;
}

/** The names of keys by their ids, for those who may list keys. */
async function keyNames() {
  if (!may("admin") || isLimited()) return new Map();
  const keys = await listAll((cursor) => http.GET("/v1/keys", { params: { query: { limit: 100, cursor } } }));
  return new Map(keys.map((one) => [one.key_id, one.name]));
}

function Who({ who, names }) {
  const caller = who.kind === "key" || who.kind === "token" ? (names?.get(who.id) ?? who.id) : who.kind;
  return html`<span title=${who.id}>${caller}</span>${who.roles?.length > 0 && ` (${who.roles.join(", ")})`}`;
}

/** Entries as rows, newest first; small pictures that one caller got one after the other are one row. */
function rowsOf(entries, hasPictures) {
  const rows = [];
  for (const entry of entries) {
    const row = rows.at(-1);
    if (!hasPictures && row && isPicture(row.entry) && isPicture(entry) && row.entry.who.id === entry.who.id) {
      rows[rows.length - 1] = { ...row, last: entry, pictures: row.pictures + 1 };
    } else {
      rows.push({ entry, last: entry, pictures: isPicture(entry) ? 1 : 0 });
    }
  }
  return rows;
}

function isPicture({ action, outcome }) {
  return action === PICTURE && outcome === "ok";
}

/** What an entry names. Ids are digests in the log: the first of each are enough to tell them apart. */
function Names({ names }) {
  const kinds = Object.entries(names ?? {}).filter(([, ids]) => ids.some((id) => id !== ""));
  return kinds.map(([kind, ids], index) => html`${index > 0 && "; "}${kind} ${ids.slice(0, 3).map(
    (id, place) => html`${place > 0 && ", "}<span title=${id}>${shortened(id)}</span>`,
  )}${ids.length > 3 && ` and ${ids.length - 3} more`}`);
}

function shortened(id) {
  return /^d_[0-9a-f]{16,}$/.test(id) ? `${id.slice(0, 10)}…` : id;
}
