// The start of the console: who is signed in, the pages, and the address that chooses one.
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useComputed } from "@preact/signals";

import { Data } from "./data.js";
import { Busy, Failure, Field, forgetPictures, html, useAction } from "./elements.js";
import { Label } from "./label.js";
import { Live } from "./live.js";
import { CollectionMap } from "./map.js";
import { Search } from "./search.js";
import { address, farewell, key, signIn, signOut, spoken, start, state } from "./session.js";
import { Teach } from "./teach.js";
import { Use } from "./use.js";
import { Versions } from "./versions.js";
import { NOT_A_DEVICE } from "./words.js";

const PAGES = [
  ["teach", "Teach", Teach],
  ["use", "Use", Use],
  ["live", "Live", Live],
  ["search", "Search", Search],
  ["label", "Label", Label],
  ["map", "Map", CollectionMap],
  ["versions", "Versions", Versions],
  ["data", "Data", Data],
];

function App() {
  const shown = useComputed(() => state.value);
  return html`<div class="spoken" role="status" aria-live="polite">${spoken}</div>
    ${shown.value === "asking" && html`<${Busy}>Looking for the service<//>`}
    ${shown.value === "signed_out" && html`<${SignIn} />`}
    ${shown.value === "signed_in" && html`<${Frame} />`}`;
}

function Frame() {
  const [, page = "teach", name = ""] = address.value.split("/");
  const [known, title, Page] = PAGES.find(([one]) => one === page) ?? PAGES[0];
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
    <header class="top"><a class="brand" href="#/teach"><img src="icon.svg" alt="" />Sonoprobe</a>
      <nav aria-label="Pages">${PAGES.map(([one, text]) => html`<a key=${one} href=${`#/${one}`} aria-current=${one === known ? "page" : undefined}>${text}</a>`)}</nav>
      ${key.value !== "" && html`<button type="button" onClick=${() => {
        forgetPictures();
        signOut();
      }}>Sign out</button>`}
    </header>
    <main id="main" tabindex="-1" ref=${main}><${Page} key=${known} name=${decodeURIComponent(name)} /></main>
    <footer>${NOT_A_DEVICE}</footer>`;
}

function SignIn() {
  const [typed, setTyped] = useState("");
  const enter = useAction(() => signIn(typed.trim()));
  return html`<main class="sign-in"><h1><img src="icon.svg" alt="" />Sonoprobe</h1>
    ${farewell.value && html`<p class="notice warn" role="alert">${farewell.value}</p>`}
    <form onSubmit=${(event) => {
      event.preventDefault();
      enter.run();
    }}>
      <${Field} label="Your key" hint="The operator of the service gives you one. It is kept until this page is closed, and nowhere else.">
        ${(id) => html`<input id=${id} type="password" autocomplete="off" required value=${typed} onInput=${(event) => setTyped(event.currentTarget.value)} />`}
      <//>
      <button type="submit" class="primary" disabled=${enter.busy || typed.trim() === ""}>Sign in</button>
    </form>
    <${Failure} error=${enter.error} />
    <p class="quiet">${NOT_A_DEVICE}</p></main>`;
}

window.addEventListener("hashchange", () => {
  address.value = window.location.hash || "#/teach";
});
// A file dropped beside the place for it would replace the page, and with it the key.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
start();
