// Who is signed in, and the one client that every page uses.
//
// The key lives in memory only: closing or reloading the page forgets it, as a shared workstation
// at a bedside needs.
import { signal } from "@preact/signals";
import { ProblemError, SonoprobeClient, everyItem } from "sonoprobe-client";

export const key = signal("");
/** "asking", "signed_out" or "signed_in". */
export const state = signal("asking");
/** Why somebody was signed out, in words. */
export const farewell = signal("");
/** The page that is shown: "#/teach". Set by the browser's address. */
export const address = signal(window.location.hash || "#/teach");
/** The last thing that happened, for screen readers. */
export const spoken = signal("");

const base = new URL("..", document.baseURI).href;

async function send(request) {
  const response = await fetch(request);
  if (response.status === 401 && state.value === "signed_in") {
    signOut("The service no longer accepts this key. Sign in again.");
  }
  return response;
}

export const client = new SonoprobeClient({ url: base, key: () => key.value, fetch: send });
export const http = client.http;

/** Try a key, or none; throws the ProblemError of a key that the service refuses. */
export async function signIn(given) {
  key.value = given;
  try {
    await http.GET("/v1/encoder");
  } catch (error) {
    // A key may be valid and not allow to read the encoder.
    if (!(error instanceof ProblemError) || error.code !== "missing_scope") {
      key.value = "";
      throw error;
    }
  }
  farewell.value = "";
  state.value = "signed_in";
}

export function signOut(because = "") {
  key.value = "";
  farewell.value = because;
  state.value = "signed_out";
}

/** Whether the service asks for a key at all. */
export async function start() {
  try {
    await signIn("");
  } catch {
    state.value = "signed_out";
  }
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
