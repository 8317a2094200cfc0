"""Requests of many items: the status of the answer, and when the request fails as a whole."""

from collections.abc import Sequence

from service.errors import ServiceError


def refuse_if_all_failed(results: Sequence[object]) -> None:
    """Raise the error of a batch whose items all failed with the same code."""
    errors = [result for result in results if isinstance(result, ServiceError)]
    if errors and len(errors) == len(results) and len({error.code for error in errors}) == 1:
        raise errors[0]


def batch_status(results: Sequence[object]) -> int:
    """200 when every item succeeded, 207 otherwise."""
    return 207 if any(isinstance(result, ServiceError) for result in results) else 200
