// The start of the console: who is signed in, the pages, and the address that chooses one.
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useComputed } from "@preact/signals";

import { Data } from "./data.js";
import { Busy, Notice, html } from "./elements.js";
import { Label } from "./label.js";
import { Live } from "./live.js";
import { CollectionMap } from "./map.js";
import { account } from "./openid.js";
import { Search } from "./search.js";
import { address, may, signOut, spoken, start, state, who } from "./session.js";
import { Ending, SignIn } from "./signing_in.js";
import { Teach } from "./teach.js";
import { Use } from "./use.js";
import { Versions } from "./versions.js";
import { NOT_A_DEVICE } from "./words.js";

/** Name in the address, title, page, and the scopes without which it has nothing to show. */
const PAGES = [
  ["teach", "Teach", Teach, ["scan.write", "classifier.write", "classifier.read", "collection.read"]],
  ["use", "Use", Use, ["predict", "classifier.read"]],
  ["live", "Live", Live, ["predict", "classifier.read"]],
  ["search", "Search", Search, ["search", "scan.read", "collection.read"]],
  ["label", "Label", Label, ["scan.label", "scan.read", "classifier.read", "collection.read"]],
  ["map", "Map", CollectionMap, ["scan.read", "collection.read"]],
  ["versions", "Versions", Versions, ["classifier.read"]],
  ["data", "Data", Data, ["collection.read"]],
];

function App() {
  const shown = useComputed(() => state.value);
  return html`<div class="spoken" role="status" aria-live="polite">${spoken}</div>
    ${shown.value === "asking" && html`<${Busy}>Looking for the service<//>`}
    ${shown.value === "signed_out" && html`<${SignIn} />`}
    ${shown.value === "signed_in" && html`<${Frame} />`}`;
}

function Frame() {
  const pages = PAGES.filter(([, , , scopes]) => may(...scopes));
  const [, page, name = ""] = address.value.split("/");
  const [known, title, Page] = pages.find(([one]) => one === page) ?? pages[0] ?? ["none", "Nothing to show", NothingToShow];
  const main = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${title} – Sonoprobe`;
    if (!isFirst.current) main.current.focus();
    isFirst.current = false;
  }, [known]);
  return html`<a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>Skip to the page</a>
    <header class="top"><a class="brand" href=${`#/${known}`}><img src="icon.svg" alt="" />Sonoprobe</a>
      ${pages.length > 0 && html`<nav aria-label="Pages">${pages.map(([one, text]) => html`<a key=${one} href=${`#/${one}`} aria-current=${one === known ? "page" : undefined}>${text}</a>`)}</nav>`}
      <${Person} />
    </header>
    <main id="main" tabindex="-1" ref=${main}><${Ending} /><${Page} key=${known} name=${decoded(name)} /></main>
    <footer>${NOT_A_DEVICE}</footer>`;
}

/** Who is signed in, as what, where; nothing if the service knows nobody. */
function Person() {
  const { kind, name, workspace, roles, scopes } = who.value;
  if (kind === "nobody") return null;
  const rights = roles.length > 0 ? roles.join(", ") : `${scopes.length} rights`;
  return html`<span class="person"><strong>${account()?.name ?? name}</strong><br />${rights} in ${workspace}</span>
    <button type="button" onClick=${() => signOut("", true)}>Sign out</button>`;
}

function NothingToShow() {
  return html`<h1>Nothing to show</h1><${Notice}>Your key or account allows nothing that this console shows. Ask the operator of the service for a role.<//>`;
}

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // somebody typed a percent sign
  }
}

window.addEventListener("hashchange", () => {
  address.value = window.location.hash;
});
// A file dropped beside the place for it would replace the page, and with it the key.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
// Who leaves by another address and comes back would find the page as it was, signed in.
window.addEventListener("pageshow", (event) => event.persisted && window.location.reload());
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
start();
