"""The embeddings of the views of examples: stored with an upload, made of kept pixels of scans.

Nothing of a scan is stored beside it for this, so nothing is left of one that is erased.

Shape suffixes: N examples, V views of each, D embedding width.
"""

import math
from collections.abc import Mapping

import numpy as np

from service.arrays import Floats, unit_rows
from service.catalog.interface import Catalog
from service.classifiers.examples import Examples
from service.classifiers.views.kept_views import KeptViews
from service.errors import ViewsMissing


class ExampleViews:
    """Blocking; for threads beside the event loop."""

    def __init__(self, catalog: Catalog, kept: KeptViews) -> None:
        self._catalog = catalog
        self._kept = kept

    def of(self, workspace_id: str, examples: Examples) -> Floats:
        """float32 (N, V, D), in the order of the examples.

        Raises:
            ViewsMissing: no pixels of a scan are kept as one picture, or an upload came without
                its views.
            ServiceError: as ``KeptViews.of``.
        """
        pixels, missing = self.pixels_of(workspace_id, examples)
        if missing:
            raise ViewsMissing(
                f"{missing} of {len(examples)} examples have no views: fits with views take files, "
                "and scans of collections that keep images, of one frame and region each"
            )
        return self.made(examples, pixels)

    def made(
        self, examples: Examples, pixels: Mapping[int, bytes], *, max_s: float = math.inf
    ) -> Floats:
        """As ``of``, from the pixels that ``pixels_of`` found. Raises as ``KeptViews.of``."""
        rows = dict(zip(pixels, self._kept.of(list(pixels.values()), max_s=max_s), strict=True))
        stored = [rows.get(row, views_VD) for row, views_VD in enumerate(examples.views)]
        return np.stack([views_VD for views_VD in stored if views_VD is not None])

    def pixels_of(self, workspace_id: str, examples: Examples) -> tuple[dict[int, bytes], int]:
        """Row -> kept pixels of the examples without stored views, and how many have neither."""
        pixels: dict[int, bytes] = {}
        missing = 0
        for row, (scan, views_VD) in enumerate(zip(examples.scans, examples.views, strict=True)):
            if views_VD is not None:
                continue
            png = None if scan is None else self._catalog.kept_image(workspace_id, *scan)
            if png is None:
                missing += 1
            else:
                pixels[row] = png
        return pixels, missing


def means_of(views_NVD: Floats) -> Floats:
    """The mean embedding of the views of each example, at unit length: float32 (N, D)."""
    return unit_rows(views_NVD.mean(1, dtype=np.float64)).astype(np.float32)
