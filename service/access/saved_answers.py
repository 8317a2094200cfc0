"""The answers kept under Idempotency-Keys."""

from service.catalog.access_records import SavedAnswer as SavedAnswer
from service.catalog.interface import Catalog


class AnswerStore:
    """Keeps each answer for ``keep_s`` seconds."""

    def __init__(self, catalog: Catalog, *, keep_s: float) -> None:
        self._catalog = catalog
        self._keep_s = keep_s

    def find(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer under a key, None without one."""
        return self._catalog.find_answer(workspace_id, key)

    def save(self, workspace_id: str, key: str, answer: SavedAnswer) -> None:
        """Keep an answer under a key."""
        self._catalog.save_answer(workspace_id, key, answer, keep_s=self._keep_s)
