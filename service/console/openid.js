// Signing in at the identity provider: authorization code with PKCE (RFC 7636), without a secret.
//
// Tokens live in memory only. What must outlast the way to the provider and back (the verifier,
// the state and the nonce, which are good for one sign-in) is in the session storage of this tab,
// and is removed as soon as the tab is back.

const PENDING = "sonoprobe.sign-in";
const MAX_PENDING_MS = 600_000;
const RENEW_BEFORE_MS = 30_000;
const PROBE_MS = 5_000;

/** How people sign in at the provider; null if the service takes keys only. */
export const provider = JSON.parse(document.querySelector('meta[name="openid"]').content || "null");
/** Whether the provider had answered the service when this page was loaded. */
export const isKnown = Boolean(provider?.token_endpoint);

let tokens = null;
let renewing = null;

/** A sign-in that failed, in words for a person. */
export class SignInError extends Error {}

function redirectUri() {
  return new URL("./", document.baseURI).href;
}

/** Leave for the provider; throws SignInError if it does not answer. */
export async function beginSignIn(address) {
  try {
    // Opaque: only whether there is an answer counts. A browser that leaves for a provider
    // that is away shows a page of its own, from which nobody finds back.
    await fetch(provider.token_endpoint, { mode: "no-cors", cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PROBE_MS) });
  } catch {
    throw new SignInError("The identity provider does not answer. Try again later, or sign in with a key.");
  }
  const [verifier, state, nonce] = [randomText(), randomText(), randomText()];
  sessionStorage.setItem(PENDING, JSON.stringify({ verifier, state, nonce, address, begunAt: Date.now() }));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: provider.client_id,
    redirect_uri: redirectUri(),
    scope: provider.scopes,
    state,
    nonce,
    code_challenge: await challengeOf(verifier),
    code_challenge_method: "S256",
    // Providers give a token for renewals only to whom the person has agreed to (OpenID Connect Core, 11).
    ...(provider.scopes.split(" ").includes("offline_access") ? { prompt: "consent" } : {}),
    ...audience(),
  });
  window.location.assign(withQuery(provider.authorization_endpoint, query));
}

/**
 * Finish a sign-in that the provider led back from.
 *
 * Returns the address that was open before; null if the tab does not come from the provider.
 * Throws SignInError.
 */
export async function finishSignIn() {
  const answer = new URLSearchParams(window.location.search);
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
  sessionStorage.removeItem(PENDING);
  if (!provider || !(answer.has("code") || answer.has("error"))) return null;
  const address = pending?.address ?? "";
  // Neither the history nor a bookmark keeps the code.
  window.history.replaceState(null, "", window.location.pathname + address);
  if (!pending || answer.get("state") !== pending.state || Date.now() - pending.begunAt > MAX_PENDING_MS) {
    throw new SignInError("This answer of the identity provider belongs to no sign-in that was begun in this tab. Sign in again.");
  }
  if (answer.has("iss") && answer.get("iss") !== provider.issuer) {
    throw new SignInError("Another identity provider answered than the one that was asked. Sign in again.");
  }
  if (answer.has("error")) {
    throw new SignInError(`The identity provider refused the sign-in (${codeOf(answer.get("error"))}).`);
  }
  const given = await askForTokens({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: redirectUri(),
    code_verifier: pending.verifier,
  });
  const claims = given.id_token ? checkedClaims(given.id_token, pending.nonce) : {};
  keep(given, claims);
  return address;
}

/** The access token of now, renewed if it ends soon and the provider allows that; "" if nobody is signed in. */
export async function accessToken() {
  if (tokens?.refresh && Date.now() > tokens.endsAt - RENEW_BEFORE_MS) {
    renewing ??= renew().finally(() => {
      renewing = null;
    });
    await renewing;
  }
  return tokens?.access ?? "";
}

/** {name, endsAt, canRenew} of who is signed in at the provider; null if nobody is. */
export function account() {
  return tokens && { name: tokens.name, endsAt: tokens.endsAt, canRenew: Boolean(tokens.refresh) };
}

/** Forget the tokens, and return where the session at the provider is ended; null if nowhere. */
export function forgetTokens() {
  const left = tokens;
  tokens = null;
  if (!left || !provider.end_session_endpoint) return null;
  // The next one at this workstation would be signed in as this person otherwise.
  const query = new URLSearchParams({ client_id: provider.client_id, post_logout_redirect_uri: redirectUri() });
  if (left.idToken) query.set("id_token_hint", left.idToken);
  return withQuery(provider.end_session_endpoint, query);
}

async function renew() {
  try {
    keep(await askForTokens({ grant_type: "refresh_token", refresh_token: tokens.refresh }), {});
  } catch {
    // The old token may still be good for some seconds; then the service says that it is not.
    if (tokens) tokens.refresh = null;
  }
}

function keep(given, claims) {
  tokens = {
    access: given.access_token,
    refresh: given.refresh_token ?? tokens?.refresh ?? null,
    idToken: given.id_token ?? tokens?.idToken ?? null,
    name: claims.name ?? claims.preferred_username ?? tokens?.name ?? null,
    endsAt: Date.now() + 1000 * (given.expires_in ?? 300),
  };
}

async function askForTokens(parameters) {
  const body = new URLSearchParams({ ...parameters, client_id: provider.client_id, ...audience() });
  let response;
  try {
    response = await fetch(provider.token_endpoint, { method: "POST", body, credentials: "omit", cache: "no-store" });
  } catch {
    throw new SignInError("The identity provider does not answer. Try again later, or sign in with a key.");
  }
  const given = await response.json().catch(() => ({}));
  if (!response.ok || typeof given.access_token !== "string") {
    throw new SignInError(`The identity provider gave no token (${codeOf(given.error ?? `status ${response.status}`)}). Sign in again.`);
  }
  return given;
}

/** Of an ID token that came from the provider itself over TLS, which stands for its signature. */
function checkedClaims(idToken, nonce) {
  let claims;
  try {
    const text = atob(idToken.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (one) => one.charCodeAt(0))));
  } catch {
    throw new SignInError("The identity provider gave an ID token that cannot be read.");
  }
  const isOurs = [claims.aud].flat().includes(provider.client_id) && claims.iss === provider.issuer;
  if (!isOurs || claims.nonce !== nonce) throw new SignInError("The ID token belongs to another sign-in. Sign in again.");
  return claims;
}

function audience() {
  return provider.audience_parameter !== "none" ? { [provider.audience_parameter]: provider.audience } : {};
}

function withQuery(address, query) {
  return `${address}${address.includes("?") ? "&" : "?"}${query}`;
}

/** An error code as it may be shown: what a link put into the address is no sentence of ours. */
function codeOf(text) {
  return text.replace(/[^A-Za-z0-9_ ]/g, "").slice(0, 40);
}

function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challengeOf(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
