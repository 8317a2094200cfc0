import createClient from "openapi-fetch";
import { ProblemError, problemOf } from "./problems.js";
import { pause, withRetries } from "./retries.js";
import { FrameStream } from "./stream.js";
/**
 * The service over HTTP.
 *
 * `http` has every route with its types: `client.http.GET("/v1/collections/{collection}", ...)`.
 * The methods beside it are for what takes more than one request or a form. Everything throws
 * ProblemError for a refusal; batches answer per item, see `raiseForItems`.
 */
export class SonoprobeClient {
    http;
    #send;
    #token;
    #url;
    constructor({ url, key, retries = 4, maxWaitS = 30, fetch: given }) {
        const plain = given ?? ((request) => fetch(request));
        const repeated = withRetries(plain, { retries, maxWaitS });
        this.#url = url.replace(/\/+$/, "");
        this.#token = async () => (typeof key === "function" ? await key() : key);
        this.#send = async (request) => {
            const token = await this.#token();
            if (token)
                request.headers.set("Authorization", `Bearer ${token}`);
            const response = await repeated(request);
            if (!response.ok)
                throw new ProblemError(await problemOf(response));
            return response;
        };
        this.http = createClient({ baseUrl: this.#url, fetch: this.#send });
    }
    /** Open a live stream of a classifier, see FrameStream; `WebSocket` for Node before 22. */
    async stream(classifier, options = {}, WebSocket) {
        const key = await this.#token();
        return FrameStream.open({ url: this.#url, classifier, key, options, ...(WebSocket ? { WebSocket } : {}) });
    }
    /** The bytes behind a path that an answer gave, such as `thumbnail`. */
    async blob(path, signal) {
        const init = signal ? { signal } : {};
        return (await this.#send(new Request(this.#url + path, init))).blob();
    }
    /**
     * Upload files to a collection, in as many requests as their number and size ask for.
     *
     * The items have the order of the files. Each request has an Idempotency-Key, so that a
     * repetition stores nothing twice.
     */
    async addScans(collection, files, options = {}) {
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
    async predictFiles(classifier, files, options = {}) {
        let last;
        const items = await inBatches(files, options, async (batch) => {
            const answer = await this.http.POST("/v1/classifiers/{name}/predict", {
                params: { path: { name: classifier }, query: options.query ?? {} },
                ...multipart(formOf(batch)),
                ...signalOf(options),
            });
            last = dataOf(answer.data);
            return last.items;
        });
        if (last === undefined)
            throw new ProblemError(firstProblem(items));
        return { ...last, items };
    }
    /** Find stored scans that resemble a file. */
    async searchFile(collection, file, options = {}, signal) {
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
    async waitFor(operationId, options = {}) {
        for (;;) {
            const answer = await this.http.GET("/v1/operations/{operation_id}", {
                params: { path: { operation_id: operationId } },
                ...signalOf(options),
            });
            const operation = dataOf(answer.data);
            options.onProgress?.(operation);
            if (operation.problem)
                throw new ProblemError(operation.problem);
            if (operation.state !== "waiting" && operation.state !== "running")
                return operation;
            await pause(options.pollS ?? 1, options.signal);
        }
    }
}
/** The items of all pages of a list: `for await (const scan of everyItem((cursor) => ...))`. */
export async function* everyItem(page) {
    let cursor;
    do {
        const { data } = await page(cursor);
        yield* data?.items ?? [];
        cursor = data?.next_cursor ?? undefined;
    } while (cursor !== undefined);
}
/** What an answer holds; refusals were thrown before. */
export function dataOf(data) {
    if (data === undefined)
        throw new Error("the answer has no content");
    return data;
}
async function inBatches(files, { signal, onProgress, maxFiles = 16, maxBytes = 16_000_000 }, send) {
    const items = [];
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
async function itemsOrProblems(count, send) {
    try {
        return await send();
    }
    catch (error) {
        if (!(error instanceof ProblemError) || !FILE_CODES.has(error.code))
            throw error;
        return Array.from({ length: count }, () => ({ problem: error.problem }));
    }
}
function batchesOf(files, maxFiles, maxBytes) {
    const batches = [];
    let bytes = Infinity;
    for (const file of files) {
        const size = file instanceof Blob ? file.size : file.file.size;
        const batch = batches.at(-1);
        if (batch === undefined || batch.length >= maxFiles || bytes + size > maxBytes) {
            batches.push([file]);
            bytes = size;
        }
        else {
            batch.push(file);
            bytes += size;
        }
    }
    return batches;
}
function firstProblem(items) {
    const failed = items.find((item) => "problem" in item);
    if (failed === undefined)
        throw new RangeError("expected at least one file");
    return failed.problem;
}
function formOf(files) {
    const form = new FormData();
    // Names of files may name patients, and the service needs none.
    files.forEach((file) => form.append("files", file, "file"));
    return form;
}
/** The body of a form: its types say text where a form has blobs. */
function multipart(form) {
    return { body: form, bodySerializer: () => form };
}
function signalOf({ signal }) {
    return signal ? { signal } : {};
}
function itemsOf(data) {
    return dataOf(data).items;
}
