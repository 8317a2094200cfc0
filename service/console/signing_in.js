// The first page: with an account of the identity provider, or with a key.
import { useEffect, useState } from "preact/hooks";

import { Failure, Field, Notice, forgetPictures, html, useAction } from "./elements.js";
import { account, beginSignIn, isKnown, provider } from "./openid.js";
import { address, farewell, signIn } from "./session.js";
import { NOT_A_DEVICE } from "./words.js";

const WARN_BEFORE_MS = 120_000;

export function SignIn() {
  const leave = useAction(() => beginSignIn(address.value));
  useEffect(forgetPictures, []);
  const host = provider && new URL(provider.issuer).host;
  return html`<main class="sign-in"><h1><img src="icon.svg" alt="" />Sonoprobe</h1>
    ${farewell.value && html`<p class="notice warn" role="alert">${farewell.value}</p>`}
    ${provider && html`<section aria-labelledby="with-account"><h2 id="with-account">With your account</h2>
      ${isKnown
        ? html`<button type="button" class="primary wide" disabled=${leave.busy} onClick=${leave.run}>Sign in at ${host}</button>`
        : html`<p class="notice warn">The identity provider ${host} did not answer when this page was loaded. Reload the page to try again, or sign in with a key.</p>`}
      <${Failure} error=${leave.error} /></section>
      <h2>With a key</h2>`}
    <${KeyForm} isSecond=${isKnown} />
    <p class="quiet">${NOT_A_DEVICE}</p></main>`;
}

function KeyForm({ isSecond }) {
  const [typed, setTyped] = useState("");
  const enter = useAction(() => signIn(typed.trim()));
  return html`<form onSubmit=${(event) => {
      event.preventDefault();
      enter.run();
    }}>
      <${Field} label="Your key" hint="The operator of the service gives you one. It is kept until this page is closed, and nowhere else.">
        ${(id, hintId) => html`<input id=${id} aria-describedby=${hintId} type="password" autocomplete="off" required value=${typed} onInput=${(event) => setTyped(event.currentTarget.value)} />`}
      <//>
      <button type="submit" class=${isSecond ? "" : "primary"} disabled=${enter.busy || typed.trim() === ""}>Sign in</button>
    </form>
    <${Failure} error=${enter.error} />`;
}

/** Says in time that a sign-in ends which cannot be renewed, because the page is lost then. */
export function Ending() {
  const [endsAt, setEndsAt] = useState(null);
  const leave = useAction(() => beginSignIn(address.value));
  useEffect(() => {
    const look = () => {
      const now = account();
      setEndsAt(now && !now.canRenew && now.endsAt - Date.now() < WARN_BEFORE_MS ? now.endsAt : null);
    };
    look();
    const timer = setInterval(look, 10_000);
    return () => clearInterval(timer);
  }, []);
  if (endsAt === null) return null;
  return html`<${Notice} kind="warn"><p role="status">Your sign-in ends at ${new Date(endsAt).toLocaleTimeString()}. Finish what you are doing; what is only on this page is lost then.</p>
    <button type="button" disabled=${leave.busy} onClick=${leave.run}>Sign in again now</button><${Failure} error=${leave.error} /><//>`;
}
