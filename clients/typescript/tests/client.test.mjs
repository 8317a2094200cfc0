// The client against a real service: URL, KEY and FOLDER (class/file.png) come from the environment.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ItemsError, ProblemError, SonoprobeClient, everyItem, raiseForItems } from "../dist/index.js";

const { URL: url, KEY: key, FOLDER: folder } = process.env;
const client = new SonoprobeClient({ url, key });
const frames = readdirSync(folder).sort().flatMap((label) =>
  readdirSync(join(folder, label)).sort().map((name) => ({
    label,
    file: new Blob([readFileSync(join(folder, label, name))]),
  })),
);

before(async () => {
  await client.http.POST("/v1/collections", { body: { name: "node" } });
});

test("uploads larger than a request are split, and the items keep the order of the files", async () => {
  const seen = [];
  const items = await client.addScans(
    "node",
    frames.map(({ file, label }, index) => ({
      file,
      metadata: { scan_id: `s${index}`, subject_id: `p${index}`, labels: { finding: label } },
    })),
    { maxFiles: 4, onProgress: (done, total) => seen.push([done, total]) },
  );
  raiseForItems({ items });
  assert.deepEqual(items.map(({ scan }) => scan.scan_id), frames.map((_, index) => `s${index}`));
  assert.deepEqual(seen.at(-1), [frames.length, frames.length]);
  assert.equal(seen.length, Math.ceil(frames.length / 4));
});

test("every page of a list is read", async () => {
  const ids = [];
  const params = (cursor) => ({ path: { collection: "node" }, query: { limit: 5, ...(cursor ? { cursor } : {}) } });
  const page = (cursor) => client.http.GET("/v1/collections/{collection}/scans", { params: params(cursor) });
  for await (const scan of everyItem(page)) ids.push(scan.scan_id);
  assert.equal(ids.length, frames.length);
});

test("a classifier is fitted in the background, awaited, and asked", async () => {
  const { data, response } = await client.http.POST("/v1/classifiers", {
    params: { header: { Prefer: "respond-async" } },
    body: { name: "node", collection: "node", task: "finding" },
  });
  assert.equal(response.status, 202);
  const ended = await client.waitFor(data.operation_id, { pollS: 0.1 });
  assert.equal(ended.state, "done");
  const answer = await client.predictFiles("node", frames.map(({ file }) => file), { maxFiles: 3 });
  assert.equal(answer.items.length, frames.length);
  assert.equal(answer.items[0].most_probable, frames[0].label);
});

test("a bad file among good ones is named by its place", async () => {
  const files = [frames[0].file, new Blob(["no picture"]), frames[1].file];
  const answer = await client.predictFiles("node", files, { maxFiles: 1 });
  assert.throws(() => raiseForItems(answer), (error) =>
    error instanceof ItemsError && error.failed.length === 1 && error.failed[0].position === 1 &&
    error.failed[0].problem.code === "unsupported_format");
  assert.equal(answer.items[2].decision, "called");
});

test("a search takes a file, and a thumbnail comes as a blob", async () => {
  const found = await client.searchFile("node", frames[0].file, { k: 3 });
  assert.equal(found.items[0].scan.scan_id, "s0");
  const picture = await client.blob(found.items[0].scan.thumbnail);
  assert.equal(picture.type, "image/jpeg");
});

test("a refusal is thrown as a problem with its code", async () => {
  const missing = client.http.GET("/v1/collections/{collection}", { params: { path: { collection: "none" } } });
  await assert.rejects(missing, (error) => error instanceof ProblemError && error.code === "unknown_item" && error.status === 404);
  const stranger = new SonoprobeClient({ url, key: async () => "sp_wrong" });
  await assert.rejects(stranger.http.GET("/v1/collections"), { name: "ProblemError", code: "unauthenticated" });
});

/** A server that answers with the given statuses in turn; null breaks the connection. */
async function serverOf(statuses) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request.method);
    const status = statuses[Math.min(requests.length, statuses.length) - 1];
    if (status === null) return request.socket.destroy();
    request.resume();
    const headers = { "Content-Type": "application/json", ...(status === 503 ? { "Retry-After": "0" } : {}) };
    return response.writeHead(status, headers).end(JSON.stringify({ items: [], next_cursor: null, name: "x" }));
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  after(() => server.close());
  return { client: new SonoprobeClient({ url: `http://127.0.0.1:${server.address().port}`, retries: 2 }), requests };
}

test("what the service declined to begin is repeated, with its body", async () => {
  const declined = await serverOf([503, 503, 200]);
  await declined.client.http.POST("/v1/collections", { body: { name: "x" } });
  assert.deepEqual(declined.requests, ["POST", "POST", "POST"]);
  const busy = await serverOf([503]);
  await assert.rejects(busy.client.http.GET("/v1/collections"), { name: "ProblemError", status: 503 });
  assert.equal(busy.requests.length, 3);
});

test("after a broken connection only what is safe is repeated", async () => {
  const reading = await serverOf([null, 200]);
  await reading.client.http.GET("/v1/collections");
  assert.equal(reading.requests.length, 2);
  const writing = await serverOf([null, 200]);
  await assert.rejects(writing.client.http.POST("/v1/search", { body: { collections: ["x"] } }));
  assert.equal(writing.requests.length, 1);
});
