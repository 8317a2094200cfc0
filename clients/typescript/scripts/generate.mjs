// Writes src/openapi.ts: the types of docs/openapi.json, of successful answers only.
// With --check it writes nothing and fails if the file is not up to date.
//
// Every problem has one shape, ProblemError, so the dozen refusals that each route declares would
// only make the file four times as long.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../../../docs/openapi.json", import.meta.url);
const target = new URL("../src/openapi.ts", import.meta.url);
const document = JSON.parse(readFileSync(source, "utf8"));
for (const path of Object.values(document.paths)) {
  for (const operation of Object.values(path)) {
    for (const status of Object.keys(operation.responses ?? {})) {
      if (!status.startsWith("2")) delete operation.responses[status];
      else delete operation.responses[status].headers;
    }
  }
}
const head = "// Generated from docs/openapi.json by `npm run generate`. Do not edit.\n\n";
const text = head + astToString(await openapiTS(document, { defaultNonNullable: false }));
if (!process.argv.includes("--check")) writeFileSync(target, text);
else if (readFileSync(target, "utf8") !== text) {
  console.error("src/openapi.ts differs from docs/openapi.json: run `make client`");
  process.exit(1);
}
