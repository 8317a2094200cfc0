"""The mean embedding of the views of examples: stored with an upload, made of kept pixels of scans.

Nothing of a scan is stored beside it for this, so nothing is left of one that is erased.

Shape suffixes: N examples, D embedding width.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from service.arrays import Floats
from service.catalog.interface import Catalog
from service.classifiers.examples import Examples
from service.errors import Overloaded, ViewsMissing

EmbedViews: TypeAlias = Callable[[Sequence[bytes]], list[Floats]]  # kept pixels -> views_D of each
AT_ONCE = 8  # scans, each of which is embedded seven times
WAIT_S, TRIES = 0.5, 240  # for room in the queue of the encoder, which other requests share


class ExampleViews:
    """Blocking; for threads beside the event loop.

    Args:
        embed: raises Overloaded when the encoder has no room; nothing was done then.
    """

    def __init__(self, catalog: Catalog, embed: EmbedViews) -> None:
        self._catalog = catalog
        self._embed = embed

    def of(self, workspace_id: str, examples: Examples) -> Floats:
        """float32 (N, D), in the order of the examples.

        Raises:
            ViewsMissing: no pixels of a scan are kept as one picture, or an upload came without
                its views.
            Overloaded: the encoder has had no room for two minutes.
        """
        pixels = self._pixels_of(workspace_id, examples)
        rows = dict(self._embedded(pixels))
        stored = [rows.get(row, views_D) for row, views_D in enumerate(examples.views)]
        return np.stack([views_D for views_D in stored if views_D is not None])

    def _pixels_of(self, workspace_id: str, examples: Examples) -> dict[int, bytes]:
        """Row -> kept pixels, of the examples without stored views."""
        pixels: dict[int, bytes] = {}
        missing = 0
        for row, (scan, views_D) in enumerate(zip(examples.scans, examples.views, strict=True)):
            if views_D is not None:
                continue
            png = None if scan is None else self._catalog.kept_image(workspace_id, *scan)
            if png is None:
                missing += 1
            else:
                pixels[row] = png
        if missing:
            raise ViewsMissing(
                f"{missing} of {len(examples)} examples have no views: fits with views take files, "
                "and scans of collections that keep images, of one frame and region each"
            )
        return pixels

    def _embedded(self, pixels: dict[int, bytes]) -> list[tuple[int, Floats]]:
        rows = list(pixels)
        embedded: list[tuple[int, Floats]] = []
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            views = self._when_there_is_room([pixels[row] for row in part])
            embedded += zip(part, views, strict=True)
        return embedded

    def _when_there_is_room(self, images: Sequence[bytes]) -> list[Floats]:
        for _ in range(TRIES):
            try:
                return self._embed(images)
            except Overloaded:
                time.sleep(WAIT_S)
        return self._embed(images)
