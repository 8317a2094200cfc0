// Who is signed in, what they may do, and the one client that every page uses.
//
// The key or token lives in memory only: closing or reloading the page forgets it, as a shared
// workstation at a bedside needs.
import { signal } from "@preact/signals";
import { SonoprobeClient, everyItem } from "sonoprobe-client";

import { accessToken, account, finishSignIn, forgetTokens } from "./openid.js";

const key = signal("");
/** "asking", "signed_out" or "signed_in". */
export const state = signal("asking");
/** What the service says of who is signed in: {kind, name, workspace, roles, scopes, ...}. */
export const who = signal(null);
/** Why somebody was signed out, or could not sign in, in words. */
export const farewell = signal("");
/** The page that is shown: "#/teach". Set by the browser's address. */
export const address = signal(window.location.hash);
/** The last thing that happened, for screen readers. */
export const spoken = signal("");

const base = new URL("..", document.baseURI).href;

async function send(request) {
  const response = await fetch(request);
  if (response.status === 401 && state.value === "signed_in") {
    signOut(who.value.kind === "token" ? "Your sign-in has ended. Sign in again." : "The service no longer accepts this key. Sign in again.");
  }
  return response;
}

export const client = new SonoprobeClient({ url: base, key: async () => (await accessToken()) || key.value, fetch: send });
export const http = client.http;

/** Whether whoever is signed in has all of these scopes. */
export function may(...scopes) {
  return scopes.every((scope) => who.value?.scopes.includes(scope));
}

/** Whether the key names some collections or classifiers only. */
export function isLimited() {
  return Boolean(who.value?.collections || who.value?.classifiers);
}

/** Try a key, or none, or the token of the provider; throws the ProblemError of a refusal. */
export async function signIn(given) {
  key.value = given;
  try {
    who.value = (await http.GET("/v1/me")).data;
  } catch (error) {
    key.value = "";
    forgetTokens();
    throw error;
  }
  farewell.value = "";
  state.value = "signed_in";
}

/** Forget who was signed in. Who signs out by choice leaves the provider as well. */
export function signOut(because = "", isByChoice = false) {
  const isGuest = account() === null;
  const away = forgetTokens();
  key.value = "";
  who.value = null;
  farewell.value = because;
  spoken.value = ""; // it may name a scan
  state.value = "signed_out";
  if (isByChoice && !isGuest && away) window.location.assign(away);
}

/** Back from the provider, or open without a key, or neither. */
export async function start() {
  let back = null;
  try {
    back = await finishSignIn();
    if (back !== null) address.value = back;
    await signIn("");
  } catch (error) {
    // Without a key the service answers 401 to everybody, which is no news.
    const isNews = back !== null || error.problem === undefined;
    farewell.value = isNews ? problemOfSignIn(error) : "";
    state.value = "signed_out";
  }
}

function problemOfSignIn(error) {
  const code = error.problem?.code;
  if (code === "invalid_token" || code === "unauthenticated") return "The service does not accept the token that the identity provider gave. Ask the operator of the service.";
  if (code === "unknown_workspace") return "Your account belongs to no workspace of this service. Ask the operator of the service.";
  if (error instanceof TypeError) return "The service did not answer. Is it running, and is the network there?";
  return error.problem?.detail ?? error.message;
}

export function go(hash) {
  window.location.hash = hash;
}

export function say(text) {
  spoken.value = text;
}

/** The items of a list, at most `limit` of them. */
export async function listAll(page, limit = 1000) {
  const items = [];
  for await (const item of everyItem(page)) {
    items.push(item);
    if (items.length >= limit) break;
  }
  return items;
}

/** Where the small picture of a stored scan is. */
export function thumbnailPath(collection, scanId) {
  return `/v1/collections/${collection}/scans/${encodeURIComponent(scanId)}/thumbnail`;
}

export function listCollections() {
  return listAll((cursor) => http.GET("/v1/collections", { params: { query: { limit: 200, cursor } } }));
}

export function listClassifiers() {
  return listAll((cursor) => http.GET("/v1/classifiers", { params: { query: { limit: 100, cursor } } }));
}
