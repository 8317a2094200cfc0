"""Requests of many items: the status of the answer, and when the request fails as a whole."""

from collections.abc import Sequence

from service.api.problems import shortened
from service.errors import ServiceError

MAX_REFUSAL_BYTES = 60_000  # of an answer that holds nothing but problems
PROBLEM_BYTES = 195  # of one problem without its detail


def refuse_if_all_failed(results: Sequence[object]) -> None:
    """Raise the error of a batch whose items all failed with the same code.

    Where they failed for different reasons, long messages are cut in place, so that the answer of
    a request that achieved nothing stays small; each problem keeps its code.
    """
    errors = [result for result in results if isinstance(result, ServiceError)]
    if not errors or len(errors) < len(results):
        return
    if len({error.code for error in errors}) == 1:
        raise errors[0]
    most = max(MAX_REFUSAL_BYTES // len(errors) - PROBLEM_BYTES, 0)
    if sum(len(str(error)) + PROBLEM_BYTES for error in errors) > MAX_REFUSAL_BYTES:
        for error in errors:
            error.args = (shortened(str(error), most),)


def batch_status(results: Sequence[object]) -> int:
    """200 when every item succeeded, 207 otherwise."""
    return 207 if any(isinstance(result, ServiceError) for result in results) else 200
