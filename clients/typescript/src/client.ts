import createClient, { type Client } from "openapi-fetch";

import type { components, operations, paths } from "./openapi.js";
import { ProblemError, problemOf } from "./problems.js";
import { pause, withRetries, type Fetch } from "./retries.js";
import { FrameStream, type StreamAddress, type StreamOptions } from "./stream.js";

export type Schemas = components["schemas"];
export type Operation = Schemas["OperationAnswer"];
type Query<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;

export interface ClientOptions {
  /** Address of the service, such as https://sonoprobe.hospital.example. */
  url: string;
  /** An API key or a token, or a function that gives the one of now. */
  key?: string | (() => string | Promise<string>) | undefined;
  /** Repetitions of what the service declined with 429 or 503; 4 by default. */
  retries?: number;
  /** Longest time to wait before one repetition; 30 by default. */
  maxWaitS?: number;
  fetch?: Fetch;
}

/** One file of an upload, with what the service shall store beside it. */
export interface ScanFile {
  file: Blob;
  metadata?: Schemas["ScanMetadata"];
}

export interface BatchOptions {
  signal?: AbortSignal;
  /** Called after each request with the number of answered files. */
  onProgress?: (done: number, total: number) => void;
  /** Most files of one request. */
  maxFiles?: number;
  /** Most bytes of one request, unless one file alone is larger. */
  maxBytes?: number;
}

/**
 * The service over HTTP.
 *
 * `http` has every route with its types: `client.http.GET("/v1/collections/{collection}", ...)`.
 * The methods beside it are for what takes more than one request or a form. Everything throws
 * ProblemError for a refusal; batches answer per item, see `raiseForItems`.
 */
export class SonoprobeClient {
  readonly http: Client<paths>;
  readonly #send: Fetch;
  readonly #token: () => Promise<string | undefined>;
  readonly #url: string;

  constructor({ url, key, retries = 4, maxWaitS = 30, fetch: given }: ClientOptions) {
    const plain: Fetch = given ?? ((request) => fetch(request));
    const repeated = withRetries(plain, { retries, maxWaitS });
    this.#url = url.replace(/\/+$/, "");
    this.#token = async () => (typeof key === "function" ? await key() : key);
    this.#send = async (request) => {
      const token = await this.#token();
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
      const response = await repeated(request);
      if (!response.ok) throw new ProblemError(await problemOf(response));
      return response;
    };
    this.http = createClient<paths>({ baseUrl: this.#url, fetch: this.#send });
  }

  /** Open a live stream of a classifier, see FrameStream; `WebSocket` for Node before 22. */
  async stream(
    classifier: string,
    options: StreamOptions = {},
    WebSocket?: StreamAddress["WebSocket"],
  ): Promise<FrameStream> {
    const key = await this.#token();
    return FrameStream.open({ url: this.#url, classifier, key, options, ...(WebSocket ? { WebSocket } : {}) });
  }

  /** The bytes behind a path that an answer gave, such as `thumbnail`. */
  async blob(path: string, signal?: AbortSignal): Promise<Blob> {
    const init = signal ? { signal } : {};
    return (await this.#send(new Request(this.#url + path, init))).blob();
  }

  /**
   * Upload files to a collection, in as many requests as their number and size ask for.
   *
   * The items have the order of the files. Each request has an Idempotency-Key, so that a
   * repetition stores nothing twice.
   */
  async addScans(
    collection: string,
    files: ReadonlyArray<ScanFile>,
    options: BatchOptions & { query?: Query<"add_scans"> } = {},
  ): Promise<Schemas["AddedScansAnswer"]["items"]> {
    return inBatches(files, options, async (batch) => {
      const form = formOf(batch.map(({ file }) => file));
      form.set("metadata", JSON.stringify(batch.map(({ metadata }) => metadata ?? {})));
      const answer = await this.http.POST("/v1/collections/{collection}/scans", {
        params: {
          path: { collection },
          query: options.query ?? {},
          header: { "Idempotency-Key": crypto.randomUUID() },
        },
        ...multipart(form),
        ...signalOf(options),
      });
      return itemsOf(answer.data);
    });
  }

  /** Predict files that are not stored; the items have the order of the files. */
  async predictFiles(
    classifier: string,
    files: ReadonlyArray<Blob>,
    options: BatchOptions & { query?: Query<"predict_items"> } = {},
  ): Promise<Schemas["PredictionsAnswer"]> {
    let last: Schemas["PredictionsAnswer"] | undefined;
    const items = await inBatches(files, options, async (batch) => {
      const answer = await this.http.POST("/v1/classifiers/{name}/predict", {
        params: { path: { name: classifier }, query: options.query ?? {} },
        ...multipart(formOf(batch)),
        ...signalOf(options),
      });
      last = dataOf(answer.data);
      return last.items;
    });
    if (last === undefined) throw new ProblemError(firstProblem(items));
    return { ...last, items };
  }

  /** Find stored scans that resemble a file. */
  async searchFile(
    collection: string,
    file: Blob,
    options: Schemas["SearchOptions"] = {},
    signal?: AbortSignal,
  ): Promise<Schemas["SearchAnswer"]> {
    const form = formOf([file]);
    form.set("options", JSON.stringify(options));
    const answer = await this.http.POST("/v1/collections/{collection}/search", {
      params: { path: { collection } },
      ...multipart(form),
      ...(signal ? { signal } : {}),
    });
    return dataOf(answer.data);
  }

  /** Wait until an operation has ended, and return it; a failed one throws ProblemError. */
  async waitFor(
    operationId: string,
    options: { signal?: AbortSignal; pollS?: number; onProgress?: (now: Operation) => void } = {},
  ): Promise<Operation> {
    for (;;) {
      const answer = await this.http.GET("/v1/operations/{operation_id}", {
        params: { path: { operation_id: operationId } },
        ...signalOf(options),
      });
      const operation = dataOf(answer.data);
      options.onProgress?.(operation);
      if (operation.problem) throw new ProblemError(operation.problem as ProblemError["problem"]);
      if (operation.state !== "waiting" && operation.state !== "running") return operation;
      await pause(options.pollS ?? 1, options.signal);
    }
  }
}

/** The items of all pages of a list: `for await (const scan of everyItem((cursor) => ...))`. */
export async function* everyItem<Item>(
  page: (cursor: string | undefined) => Promise<{
    data?: { items: Item[]; next_cursor?: string | null };
  }>,
): AsyncGenerator<Item, void, undefined> {
  let cursor: string | undefined;
  do {
    const { data } = await page(cursor);
    yield* data?.items ?? [];
    cursor = data?.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** What an answer holds; refusals were thrown before. */
export function dataOf<Data>(data: Data | undefined): Data {
  if (data === undefined) throw new Error("the answer has no content");
  return data;
}

async function inBatches<File extends Blob | ScanFile, Item>(
  files: ReadonlyArray<File>,
  { signal, onProgress, maxFiles = 16, maxBytes = 16_000_000 }: BatchOptions,
  send: (batch: File[]) => Promise<Item[]>,
): Promise<Item[]> {
  const items: Item[] = [];
  for (const batch of batchesOf(files, maxFiles, maxBytes)) {
    signal?.throwIfAborted();
    items.push(...(await itemsOrProblems(batch.length, () => send(batch))));
    onProgress?.(items.length, files.length);
  }
  return items;
}

/** Codes of problems that speak of a file, and not of the request. */
const FILE_CODES = new Set([
  "clip_too_long",
  "conflict",
  "corrupt_image",
  "decode_limit",
  "frame_refused",
  "image_too_large",
  "name_taken",
  "policy_refused",
  "unsupported_format",
]);

/**
 * What the service answers per item, also when all items of a request failed alike.
 *
 * The service then answers with that one problem. Files of other requests were stored, so the
 * caller needs one result per file here too.
 */
async function itemsOrProblems<Item>(count: number, send: () => Promise<Item[]>): Promise<Item[]> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof ProblemError) || !FILE_CODES.has(error.code)) throw error;
    return Array.from({ length: count }, () => ({ problem: error.problem }) as Item);
  }
}

function batchesOf<File extends Blob | ScanFile>(
  files: ReadonlyArray<File>,
  maxFiles: number,
  maxBytes: number,
): File[][] {
  const batches: File[][] = [];
  let bytes = Infinity;
  for (const file of files) {
    const size = file instanceof Blob ? file.size : file.file.size;
    const batch = batches.at(-1);
    if (batch === undefined || batch.length >= maxFiles || bytes + size > maxBytes) {
      batches.push([file]);
      bytes = size;
    } else {
      batch.push(file);
      bytes += size;
    }
  }
  return batches;
}

function firstProblem(items: ReadonlyArray<object>): ProblemError["problem"] {
  const failed = items.find((item) => "problem" in item) as { problem: ProblemError["problem"] };
  if (failed === undefined) throw new RangeError("expected at least one file");
  return failed.problem;
}

function formOf(files: ReadonlyArray<Blob>): FormData {
  const form = new FormData();
  // Names of files may name patients, and the service needs none.
  files.forEach((file) => form.append("files", file, "file"));
  return form;
}

/** The body of a form: its types say text where a form has blobs. */
function multipart(form: FormData): { body: never; bodySerializer: () => FormData } {
  return { body: form as never, bodySerializer: () => form };
}

function signalOf({ signal }: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

function itemsOf<Item>(data: { items: Item[] } | undefined): Item[] {
  return dataOf(data).items;
}
