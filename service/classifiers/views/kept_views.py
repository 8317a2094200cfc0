"""Kept pixels -> the embeddings of their views, a few at a time and when there is room.

Shape suffixes: V views, D embedding width.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.arrays import Floats
from service.errors import Overloaded

EmbedViews: TypeAlias = Callable[[Sequence[bytes]], list[Floats]]  # kept pixels -> views_VD of each
AT_ONCE = 8  # scans, each of which is embedded seven times
WAIT_S, TRIES = 0.5, 240  # for room in the queue of the encoder, which other requests share


@dataclass(frozen=True, slots=True)
class ViewMaker:
    """Makes views of kept pixels; blocking.

    Attributes:
        embed: raises Overloaded when the encoder has no room; nothing was done then.
        admit: called with the number of all pictures before the first is embedded; it counts their
            views for whoever asks, and may refuse them.
    """

    embed: EmbedViews
    admit: Callable[[int], None] = lambda pictures: None


class KeptViews:
    """Blocking; for threads beside the event loop."""

    def __init__(self, maker: ViewMaker) -> None:
        self._maker = maker

    def of(self, images: Sequence[bytes], *, max_s: float = math.inf) -> list[Floats]:
        """views_VD of each.

        Args:
            max_s: no more are begun after that.

        Raises:
            Overloaded: the encoder has had no room for two minutes, or ``max_s`` are over.
            RateLimited: the views of all together are too many; none was made.
            ServiceError: an image cannot be embedded.
        """
        if images:
            self._maker.admit(len(images))
        end_s = time.monotonic() + max_s
        rows: list[Floats] = []
        for start in range(0, len(images), AT_ONCE):
            rows += self._when_there_is_room(images[start : start + AT_ONCE], end_s)
        return rows

    def _when_there_is_room(self, images: Sequence[bytes], end_s: float) -> list[Floats]:
        for _ in range(TRIES):
            if time.monotonic() >= end_s:
                raise Overloaded("making views of the examples takes too long")
            try:
                return self._maker.embed(images)
            except Overloaded:
                time.sleep(WAIT_S)
        return self._maker.embed(images)
