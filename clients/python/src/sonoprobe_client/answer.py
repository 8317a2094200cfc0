"""What all answers have."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from sonoprobe_client.problems import ItemsError


class Answer(BaseModel):
    """An answer of the service, or a part of one.

    Fields that a later service adds are in ``model_extra``.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, defer_build=True)

    def document(self) -> dict[str, Any]:
        """The JSON object that the service sent."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def raise_for_items(items: Sequence[Answer]) -> None:
    """Raises ItemsError if an item of a batch failed."""
    problems = {at: getattr(item, "problem", None) for at, item in enumerate(items)}
    failed = {at: problem.document() for at, problem in problems.items() if problem is not None}
    if failed:
        raise ItemsError(failed, len(items))
