// The audit log of the workspace: who did what, and how it ended.
import { useState } from "preact/hooks";

import { Asked, Choice, html, useAsked } from "./elements.js";
import { http } from "./session.js";
import { when } from "./words.js";

const OUTCOMES = { ok: "done", refused: "refused", failed: "failed", begun: "begun" };
const ENDS = Object.entries(OUTCOMES).filter(([outcome]) => outcome !== "begun");

export function Audit() {
  const [outcome, setOutcome] = useState("");
  const [cursors, setCursors] = useState([undefined]);
  const [hasBegun, setHasBegun] = useState(false);
  const asked = useAsked(async () => {
    const query = { limit: 50, ...(outcome ? { outcome } : {}), ...(cursors.at(-1) ? { cursor: cursors.at(-1) } : {}) };
    return (await http.GET("/v1/audit", { params: { query } })).data;
  }, [outcome, cursors.at(-1)]);
  return html`<${Choice} label="Ended" value=${outcome} empty="in any way" options=${ENDS} onChange=${(next) => {
      setOutcome(next);
      setCursors([undefined]);
    }} />
    <label class="check"><input type="checkbox" checked=${hasBegun} disabled=${outcome !== ""} onChange=${(event) => setHasBegun(event.currentTarget.checked)} />
      Show the beginning of each change too</label>
    <${Asked} asked=${asked}>${(page) => html`
      <div class="scroll" tabindex="0" role="region" aria-label="Audit log"><table>
        <thead><tr><th scope="col">Number</th><th scope="col">Time</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Of what</th><th scope="col">Ended</th></tr></thead>
        <tbody>${page.items.filter((one) => hasBegun || one.outcome !== "begun").map((entry) => html`<tr key=${entry.seq}><td>${entry.seq}</td><td>${when(entry.at)}</td><td>${whoOf(entry.who)}</td>
          <th scope="row">${entry.action}</th><td>${namesOf(entry.names)}</td><td>${OUTCOMES[entry.outcome]}${entry.code ? ` (${entry.code})` : ""}</td></tr>`)}</tbody></table></div>
      <div class="buttons"><button type="button" disabled=${cursors.length === 1} onClick=${() => setCursors(cursors.slice(0, -1))}>Newer</button>
        <button type="button" disabled=${!page.next_cursor} onClick=${() => setCursors([...cursors, page.next_cursor])}>Older</button></div>`}<//>`;
}

function whoOf(who) {
  return [who.kind === "key" || who.kind === "token" ? who.id : who.kind, ...(who.roles?.length ? [`(${who.roles.join(", ")})`] : [])].join(" ");
}

function namesOf(names) {
  return Object.entries(names ?? {})
    .filter(([, ids]) => ids.some((id) => id !== ""))
    .map(([kind, ids]) => `${kind} ${ids.slice(0, 3).join(", ")}${ids.length > 3 ? ` and ${ids.length - 3} more` : ""}`)
    .join("; ");
}
