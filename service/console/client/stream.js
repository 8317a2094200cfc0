import { ProblemError } from "./problems.js";
/** The service closed a stream without a problem; 1012 = it restarts, so connect again. */
export class StreamClosedError extends Error {
    code;
    constructor(code, reason) {
        super(`the stream was closed with ${code} ${reason}`.trim());
        this.name = "StreamClosedError";
        this.code = code;
    }
}
const PROTOCOL = "sonoprobe.v1";
const BEARER = "sonoprobe.bearer.";
const OPEN = 1; // WebSocket.readyState
const HEADER_BYTES = 20;
const FILE = 0;
const GREY8 = 1;
const RGB24 = 2;
/**
 * Live frames: pictures in, decisions out.
 *
 *     const stream = await FrameStream.open({ url, classifier: "lung", key });
 *     stream.send(jpeg);
 *     for await (const message of stream) console.log(message);
 *
 * The service answers the newest frame. Those that it had no time for are dropped and counted.
 */
export class FrameStream {
    ready;
    #socket;
    #received;
    #sequence = -1;
    constructor(socket, received, ready) {
        this.#socket = socket;
        this.#received = received;
        this.ready = ready;
    }
    /**
     * Open a stream; throws ProblemError or StreamClosedError.
     *
     * A browser hides why a WebSocket was refused before it opened: the error then has the code 1006.
     * Ask `GET /v1/classifiers/{name}` with the same key for the reason.
     */
    static async open({ url, classifier, key, options = {}, WebSocket: given }) {
        const path = `/v1/classifiers/${encodeURIComponent(classifier)}/stream`;
        const address = url.replace(/\/+$/, "").replace(/^http/, "ws") + path;
        const Socket = given ?? globalThis.WebSocket;
        if (Socket === undefined)
            throw new TypeError("this platform has no WebSocket: pass one");
        // The key is in no address and no log of a proxy.
        const socket = new Socket(address, key ? [PROTOCOL, BEARER + base64url(key)] : [PROTOCOL]);
        socket.binaryType = "arraybuffer";
        const received = new Received(socket);
        await received.opened;
        socket.send(JSON.stringify({ type: "hello", ...options }));
        const first = await received.next();
        if (first.done || first.value.type !== "ready")
            throw new Error("expected ready as the first answer");
        return new FrameStream(socket, received, first.value);
    }
    /** The number of the last frame that was sent. */
    get sequence() {
        return this.#sequence;
    }
    /** Bytes that wait to be sent: with many, a new frame would only be late. */
    get waitingBytes() {
        return this.#socket.bufferedAmount;
    }
    /**
     * Send a JPEG or PNG file, or pixels; returns the number of the frame. After the end it goes
     * nowhere: the iteration tells of the end.
     *
     * @param timeMs when it was taken, by any clock that does not go back.
     */
    send(frame, timeMs = performance.now()) {
        this.#sequence += 1;
        this.#give(messageOf(frame, this.#sequence, timeMs));
        return this.#sequence;
    }
    /** Say that what comes now has nothing to do with what came: another patient. */
    reset() {
        this.#give('{"type":"reset"}');
    }
    /** A camera may bring one more frame after the end; browsers complain of sending it. */
    #give(message) {
        if (this.#socket.readyState === OPEN)
            this.#socket.send(message);
    }
    close() {
        this.#socket.close(1000);
    }
    /** Messages until `close`; throws ProblemError or StreamClosedError if the service ends it. */
    [Symbol.asyncIterator]() {
        return { next: () => this.#received.next() };
    }
}
/** The messages of a socket in order, and how it ended. */
class Received {
    opened;
    #messages = [];
    #wake = () => { };
    #end = null;
    #problem = null;
    constructor(socket) {
        this.opened = new Promise((resolve, reject) => {
            socket.addEventListener("open", () => resolve());
            const finish = (code, reason) => {
                this.#end ??= this.#endOf(code, reason);
                if (this.#end instanceof Error)
                    reject(this.#end);
                this.#wake();
            };
            socket.addEventListener("close", ({ code, reason }) => finish(code, reason));
            // Where a WebSocket is refused, Node 20 tells of an error and of no end.
            socket.addEventListener("error", () => finish(1006, ""));
        });
        // Who waits for messages learns of the end there.
        this.opened.catch(() => { });
        socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(String(data))));
    }
    async next() {
        while (this.#messages.length === 0 && this.#end === null) {
            await new Promise((resolve) => {
                this.#wake = resolve;
            });
        }
        const value = this.#messages.shift();
        if (value !== undefined)
            return { done: false, value };
        if (this.#end instanceof Error)
            throw this.#end;
        return { done: true, value: undefined };
    }
    #take(message) {
        if (message.type === "problem" && message.sequence === null)
            this.#problem = message.problem;
        else
            this.#messages.push(message);
        this.#wake();
    }
    #endOf(code, reason) {
        if (this.#problem !== null)
            return new ProblemError(this.#problem);
        return code === 1000 || code === 1005 ? "closed" : new StreamClosedError(code, reason);
    }
}
function messageOf(frame, sequence, timeMs) {
    const [kind, width, height, data] = partsOf(frame);
    const message = new Uint8Array(HEADER_BYTES + data.length);
    const header = new DataView(message.buffer);
    header.setUint8(0, 1);
    header.setUint8(1, kind);
    header.setUint16(2, width);
    header.setUint16(4, height);
    header.setUint32(8, sequence);
    header.setFloat64(12, timeMs);
    message.set(data, HEADER_BYTES);
    return message;
}
function partsOf(frame) {
    if (frame instanceof ArrayBuffer)
        return [FILE, 0, 0, new Uint8Array(frame)];
    if (frame instanceof Uint8Array)
        return [FILE, 0, 0, frame];
    const { width, height, data } = frame;
    const places = width * height;
    if (data.length === places)
        return [GREY8, width, height, data];
    if (data.length === 3 * places)
        return [RGB24, width, height, data];
    if (data.length !== 4 * places)
        throw new RangeError("expected 1, 3 or 4 bytes a pixel");
    const colours = new Uint8Array(3 * places);
    for (let place = 0; place < places; place += 1) {
        // A canvas has four bytes a pixel; the last one is its opacity.
        colours.set(data.subarray(4 * place, 4 * place + 3), 3 * place);
    }
    return [RGB24, width, height, colours];
}
function base64url(text) {
    const bytes = new TextEncoder().encode(text);
    const plain = btoa(String.fromCharCode(...bytes));
    return plain.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
