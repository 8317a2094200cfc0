// Upload, fit and predict with the generated types: node use.js URL KEY FOLDER
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { operations } from "./schema.js";

type JsonBody<Name extends keyof operations> = operations[Name] extends {
  requestBody: { content: { "application/json": infer Body } };
}
  ? Body
  : never;
type Form<Name extends keyof operations> = operations[Name] extends {
  requestBody: { content: { "multipart/form-data": infer Body } };
}
  ? Body
  : never;
type Answer<Name extends keyof operations, Status extends number> = operations[Name] extends {
  responses: Record<Status, { content: { "application/json": infer Body } }>;
}
  ? Body
  : never;

const [url, key, folder] = process.argv.slice(2) as [string, string, string];
const authorization = { Authorization: `Bearer ${key}` };

async function post(path: string, body: FormData | object): Promise<unknown> {
  const isForm = body instanceof FormData;
  const response = await fetch(url + path, {
    method: "POST",
    headers: isForm ? authorization : { ...authorization, "Content-Type": "application/json" },
    body: isForm ? body : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

function form(images: string[], metadata?: Form<"add_scans">["metadata"]): FormData {
  const data = new FormData();
  for (const image of images) data.append("files", new Blob([readFileSync(image)]), "image");
  if (metadata !== undefined) data.append("metadata", metadata);
  return data;
}

const classes = readdirSync(folder).sort();
const images = classes.flatMap((label) =>
  readdirSync(join(folder, label)).map((file) => ({ label, path: join(folder, label, file) })),
);
const collection: JsonBody<"create_collection"> = { name: "typescript" };
await post("/v1/collections", collection);
const metadata = images.map(({ label }) => ({ labels: { finding: label } }));
const scans = form(images.map(({ path }) => path), JSON.stringify(metadata));
const stored = (await post("/v1/collections/typescript/scans", scans)) as Answer<"add_scans", 200>;
if (stored.items.length !== images.length) throw new Error("expected one item per image");
const wanted: JsonBody<"create_classifier"> = {
  name: "typescript",
  collection: "typescript",
  task: "finding",
};
await post("/v1/classifiers", wanted);
const query = form([images[0]!.path]);
const answer = (await post("/v1/classifiers/typescript/predict", query)) as Answer<"predict_items", 200>;
console.log(JSON.stringify(answer));
