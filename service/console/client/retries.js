/**
 * A fetch that repeats what the service declined to begin: 429 and 503 with `Retry-After`.
 *
 * The service sends them before it does anything, so that every request may be repeated. A
 * connection that breaks says nothing about what was done: only reads are repeated then, and
 * requests with an Idempotency-Key.
 */
export function withRetries(send, { retries, maxWaitS }) {
    return async (request) => {
        for (let attempt = 0;; attempt += 1) {
            const isLast = attempt >= retries;
            // A body can be sent once, so all but the last attempt send a copy.
            const sent = isLast ? request : request.clone();
            let waitS;
            try {
                const response = await send(sent);
                const asked = secondsOf(response.headers.get("Retry-After"));
                const isDeclined = response.status === 429 || response.status === 503;
                if (isLast || !isDeclined || asked === null || asked > maxWaitS)
                    return response;
                await response.body?.cancel();
                waitS = asked;
            }
            catch (error) {
                if (isLast || request.signal.aborted || !isRepeatable(request))
                    throw error;
                waitS = Math.min(0.2 * 2 ** attempt, maxWaitS);
            }
            await pause(waitS, request.signal);
        }
    };
}
function isRepeatable(request) {
    return request.method === "GET" || request.headers.has("Idempotency-Key");
}
function secondsOf(retryAfter) {
    const seconds = retryAfter === null ? NaN : Number(retryAfter);
    return Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
/** Wait; throws what the signal was aborted with. */
export function pause(seconds, signal) {
    return new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const stop = () => {
            clearTimeout(timer);
            reject(signal?.reason);
        };
        const timer = setTimeout(() => {
            signal?.removeEventListener("abort", stop);
            resolve();
        }, seconds * 1000);
        signal?.addEventListener("abort", stop, { once: true });
    });
}
