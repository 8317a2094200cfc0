// Live frames against a real service: URL, KEY and FOLDER as in client.test.mjs.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";

import { FrameStream, SonoprobeClient } from "../dist/index.js";

const { URL: url, KEY: key, FOLDER: folder } = process.env;
const client = new SonoprobeClient({ url, key });
const frames = readdirSync(folder).sort().flatMap((label) =>
  readdirSync(join(folder, label)).sort().map((name) => ({ label, data: readFileSync(join(folder, label, name)) })),
);

before(async () => {
  await client.http.POST("/v1/collections", { body: { name: "live" } });
  await client.addScans("live", frames.map(({ data, label }, index) => ({
    file: new Blob([data]),
    metadata: { subject_id: `p${index}`, labels: { finding: label } },
  })));
  await client.http.POST("/v1/classifiers", { body: { name: "live", collection: "live", task: "finding" } });
});

test("frames are answered in order, as files and as pixels", async () => {
  const stream = await client.stream("live", { fields: ["outputs"] });
  assert.deepEqual(stream.ready.labels, [...new Set(frames.map(({ label }) => label))]);
  const answers = [];
  const sent = [frames[0].data, { width: 64, height: 48, data: new Uint8Array(64 * 48).map((_, n) => n % 251) }];
  stream.send(sent[0], 0);
  for await (const message of stream) {
    answers.push(message);
    if (answers.length === 2) stream.close();
    else stream.send(sent[1], 40);
  }
  assert.deepEqual(answers.map(({ type, sequence }) => [type, sequence]), [["decision", 0], ["decision", 1]]);
  assert.equal(answers[0].frame, undefined);
  const shares = answers[0].outputs.map(({ probability }) => probability);
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-3);
});

test("a frame that cannot be read has a problem, and the stream goes on", async () => {
  const stream = await client.stream("live");
  stream.send(new TextEncoder().encode("no picture"));
  const kinds = [];
  for await (const message of stream) {
    kinds.push(message.problem?.code ?? message.type);
    if (kinds.length === 1) stream.send(frames[0].data);
    else stream.close();
  }
  assert.deepEqual(kinds, ["unsupported_format", "decision"]);
});

test("what ends a stream is thrown: a problem of the service, or why it did not open", async () => {
  const stream = await FrameStream.open({ url, classifier: "live", key, options: { version: "1" } });
  stream.send(frames[0].data, 5);
  stream.send(frames[0].data, 4);
  await assert.rejects(async () => {
    for await (const message of stream) assert.ok(message);
  }, { name: "ProblemError", code: "invalid_input" });
  await assert.rejects(FrameStream.open({ url, classifier: "live", key: "sp_wrong" }), { name: "StreamClosedError", code: 1006 });
});
