/** The service refused a request, or could not answer it. */
export class ProblemError extends Error {
    problem;
    constructor(problem) {
        super(problem.detail || problem.title);
        this.name = "ProblemError";
        this.problem = problem;
    }
    get code() {
        return this.problem.code;
    }
    get status() {
        return this.problem.status;
    }
}
/** Some items of a batch failed; the others were answered. */
export class ItemsError extends Error {
    /** Position of each failed item in the batch, and its problem. */
    failed;
    constructor(failed, total) {
        super(`${failed.length} of ${total} items failed; the first: ${failed[0]?.problem.detail}`);
        this.name = "ItemsError";
        this.failed = failed;
    }
}
/** Throws ItemsError if an item of a batch failed. */
export function raiseForItems(answer) {
    const failed = answer.items.flatMap((item, position) => "problem" in item && item.problem ? [{ position, problem: item.problem }] : []);
    if (failed.length > 0)
        throw new ItemsError(failed, answer.items.length);
}
/** The problem that a response holds; of a proxy's answer, one made from its status. */
export async function problemOf(response) {
    const made = {
        type: "about:blank",
        title: response.statusText || "No answer of the service",
        status: response.status,
        detail: `The answer has status ${response.status} and is no problem document.`,
        code: "not_a_problem_document",
        request_id: response.headers.get("X-Request-Id"),
    };
    try {
        const body = await response.json();
        return typeof body === "object" && body !== null && "code" in body ? body : made;
    }
    catch {
        return made;
    }
}
