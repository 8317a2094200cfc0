"""Moves a collection to the loaded encoder by embedding its kept images again.

Meanwhile the catalog holds two vectors of each scan: the one in use and a staged one. The change
ends when one set is dropped.

Shape suffixes: N scans, D embedding width.
"""

import logging
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.vector_search import VectorSearch
from service.embedding.pipeline import EmbeddedImage
from service.errors import Conflict, EncoderMismatch, ServiceError
from service.gallery.gallery_records import Collection, Reembedding

log = logging.getLogger(__name__)
KeptVectors: TypeAlias = Literal["old", "new"]


class EncoderChange:
    """Re-embeds the collections of one catalog for the encoder of ``search``."""

    def __init__(self, catalog: Catalog, search: VectorSearch) -> None:
        self._catalog = catalog
        self._encoder_id = search.encoder_id
        self._dim = search.dim
        self._exchange = search.exchange
        self.get = catalog.get_reembedding
        self.next_images = catalog.images_to_embed

    def tell_others(self) -> None:
        """Log what the loaded encoder cannot serve until it is embedded anew."""
        records = [collection for _, collection in self._catalog.all_collections()]
        others = [record for record in records if record.encoder_id != self._encoder_id]
        if others:
            fields = {
                "collections": len(others),
                "scans": sum(record.scans for record in others),
                "encoder_ids": sorted({record.encoder_id for record in others}),
                "loaded": self._encoder_id,
            }
            log.warning("collections of another encoder", extra=fields)

    def begin(self, workspace_id: str, name: str) -> Reembedding:
        """Begin or continue a change. Raises UnknownItem, Conflict, ImagesNotKept."""
        return self._catalog.begin_reembedding(
            workspace_id, name, encoder_id=self._encoder_id, dim=self._dim
        )

    def require_target(self, encoder_id: str) -> None:
        """Raises EncoderMismatch: the loaded encoder is not the target of the change."""
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(f"the change is to {encoder_id}, loaded is {self._encoder_id}")

    def stage(
        self,
        workspace_id: str,
        name: str,
        row_ids: Sequence[int],
        embedded: Sequence[EmbeddedImage | ServiceError],
    ) -> None:
        """Stage vectors of the loaded encoder. Raises the first error among ``embedded``."""
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
        """Keep one set of vectors and drop the other; return the changed collection.

        Raises:
            UnknownItem: no such collection, or it is not changing.
            Conflict: the new vectors are to be kept, and some are missing.
        """
        state = self.get(workspace_id, name).state
        if keep == "new" and state != "switched":
            raise Conflict(
                "expected a switched collection to keep the new vectors: it is still embedding"
            )
        if keep == "old" and state == "switched":
            self.switch(workspace_id, name)
        self._catalog.end_reembedding(workspace_id, name)
        return self._catalog.get_collection(workspace_id, name)
