/** The problem document (RFC 9457) of every refusal of the service. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** One of docs/errors.md; match on it and not on the text. */
  code: string;
  request_id: string | null;
  [field: string]: unknown;
}

/** The service refused a request, or could not answer it. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.name = "ProblemError";
    this.problem = problem;
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }
}

/** Some items of a batch failed; the others were answered. */
export class ItemsError extends Error {
  /** Position of each failed item in the batch, and its problem. */
  readonly failed: ReadonlyArray<{ position: number; problem: Problem }>;

  constructor(failed: ReadonlyArray<{ position: number; problem: Problem }>, total: number) {
    super(`${failed.length} of ${total} items failed; the first: ${failed[0]?.problem.detail}`);
    this.name = "ItemsError";
    this.failed = failed;
  }
}

/** Throws ItemsError if an item of a batch failed. */
export function raiseForItems(answer: { items: ReadonlyArray<object> }): void {
  const failed = answer.items.flatMap((item, position) =>
    "problem" in item && item.problem ? [{ position, problem: item.problem as Problem }] : [],
  );
  if (failed.length > 0) throw new ItemsError(failed, answer.items.length);
}

/** The problem that a response holds; of a proxy's answer, one made from its status. */
export async function problemOf(response: Response): Promise<Problem> {
  const made: Problem = {
    type: "about:blank",
    title: response.statusText || "No answer of the service",
    status: response.status,
    detail: `The answer has status ${response.status} and is no problem document.`,
    code: "not_a_problem_document",
    request_id: response.headers.get("X-Request-Id"),
  };
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null && "code" in body ? (body as Problem) : made;
  } catch {
    return made;
  }
}
