"""A collection's change to the loaded encoder, from the images that it kept.

While it lasts the catalog holds two vectors of each scan: those in use and staged ones. The
change is over when one set is dropped.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias

import numpy as np

from service.catalog.interface import Catalog
from service.embedding.pipeline import EmbeddedImage
from service.errors import Conflict, EncoderMismatch, ServiceError
from service.gallery.gallery_records import Collection, Reembedding

KeptVectors: TypeAlias = Literal["old", "new"]
Exchange: TypeAlias = Callable[[str, str], AbstractContextManager[None]]


class EncoderChange:
    """Re-embeds the collections of one catalog; ``exchange`` keeps an index in step."""

    def __init__(self, catalog: Catalog, *, encoder_id: str, dim: int, exchange: Exchange) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._exchange = exchange

    def begin(self, workspace_id: str, name: str) -> Reembedding:
        """Begin, or go on with, a change. Raises UnknownItem, Conflict, ImagesNotKept."""
        return self._catalog.begin_reembedding(
            workspace_id, name, encoder_id=self._encoder_id, dim=self._dim
        )

    def get(self, workspace_id: str, name: str) -> Reembedding:
        """How far a change is. Raises UnknownItem: the collection is not changing."""
        return self._catalog.get_reembedding(workspace_id, name)

    def require_target(self, encoder_id: str) -> None:
        """Raises EncoderMismatch: another encoder is loaded than the change is to."""
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(f"the change is to {encoder_id}, loaded is {self._encoder_id}")

    def next_images(
        self, workspace_id: str, name: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        """(row_id, PNG) of scans without a staged vector, oldest first."""
        return self._catalog.images_to_embed(workspace_id, name, limit=limit)

    def stage(
        self,
        workspace_id: str,
        name: str,
        row_ids: Sequence[int],
        embedded: Sequence[EmbeddedImage | ServiceError],
    ) -> None:
        """Stage vectors of the loaded encoder. Raises ServiceError: of the first that failed."""
        for image in embedded:
            if isinstance(image, ServiceError):
                raise image
        vectors = [image.embedding_D for image in embedded if isinstance(image, EmbeddedImage)]
        self._catalog.stage_vectors(workspace_id, name, row_ids, np.stack(vectors))

    def switch(self, workspace_id: str, name: str) -> Reembedding:
        """Exchange the vectors in use and the staged ones. Raises UnknownItem, Conflict."""
        with self._exchange(workspace_id, name):
            return self._catalog.switch_reembedding(workspace_id, name)

    def end(self, workspace_id: str, name: str, keep: KeptVectors) -> Collection:
        """Keep one set of vectors and drop the other; return the collection as it is then.

        Raises:
            UnknownItem: no such collection, or it is not changing.
            Conflict: the new vectors are to be kept and not all are there.
        """
        state = self._catalog.get_reembedding(workspace_id, name).state
        if keep == "new" and state != "switched":
            raise Conflict(
                "the collection is still being embedded: its new vectors are not all there"
            )
        if keep == "old" and state == "switched":
            self.switch(workspace_id, name)
        self._catalog.end_reembedding(workspace_id, name)
        return self._catalog.get_collection(workspace_id, name)
