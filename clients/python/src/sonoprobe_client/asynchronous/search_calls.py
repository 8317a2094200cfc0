"""The calls that search and embed."""

from collections.abc import Sequence

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.batches import MAX_FILES, Batch, ImageQueue, Images, OnProgress
from sonoprobe_client.bodies import QueryBody, SearchOptions
from sonoprobe_client.images import Image
from sonoprobe_client.models import (
    EmbeddingsAnswer,
    EncoderAnswer,
    SearchAnswer,
    SearchesAnswer,
)
from sonoprobe_client.requests import JsonObject, collection_path, files, json_part, without_none


class AsyncSearchCalls(AsyncTransport):
    """The part for searches and embeddings."""

    async def search(self, collection: str, query: QueryBody) -> SearchAnswer:
        """POST .../search by ``scan_id``, ``vector`` or ``positive`` and ``negative``."""
        path = f"{collection_path(collection)}/search"
        return self._read(SearchAnswer, await self._json("POST", path, json=query))

    async def search_image(
        self, collection: str, image: Image, options: SearchOptions | None = None
    ) -> SearchAnswer:
        """POST .../search by an uploaded image."""
        path, form = f"{collection_path(collection)}/search", json_part("options", options)
        return self._read(SearchAnswer, await self._upload(path, [image], form))

    async def search_many(
        self, collections: Sequence[str], queries: Sequence[QueryBody]
    ) -> SearchesAnswer:
        """POST /v1/search with ``queries``: one item each, ``items`` or ``problem``."""
        body = {"collections": list(collections), "queries": list(queries)}
        return self._read(SearchesAnswer, await self._json("POST", "/v1/search", json=body))

    async def search_across(self, collections: Sequence[str], query: QueryBody) -> SearchAnswer:
        """POST /v1/search: several collections as if they were one."""
        body = {"collections": list(collections), **query}
        return self._read(SearchAnswer, await self._json("POST", "/v1/search", json=body))

    async def search_images(
        self, collections: Sequence[str], images: Images, options: SearchOptions | None = None
    ) -> SearchAnswer:
        """POST /v1/search by uploaded images, which are positive examples of one query."""
        form = json_part("options", {"collections": list(collections), **(options or {})})
        return self._read(SearchAnswer, await self._upload("/v1/search", images, form))

    async def embed(
        self,
        images: Images,
        *,
        encoding_format: str = "float",
        dtype: str = "float32",
        frames: str | None = None,
        region: str | None = None,
        pool: str = "mean",
        on_progress: OnProgress | None = None,
    ) -> EmbeddingsAnswer:
        """POST /v1/embeddings; one item per image, each with ``embedding`` or ``problem``."""
        params = {"encoding_format": encoding_format, "dtype": dtype, "pool": pool}
        params |= without_none({"frames": frames, "region": region})

        async def send(batch: Batch) -> JsonObject:
            form = files(batch.images)
            return await self._json("POST", "/v1/embeddings", files=form, params=params)

        answer = await self._in_batches(ImageQueue(images), send, on_progress, MAX_FILES)
        return self._read(EmbeddingsAnswer, answer)

    async def encoder(self) -> EncoderAnswer:
        """GET /v1/encoder: manifest and model card."""
        return self._read(EncoderAnswer, await self._json("GET", "/v1/encoder"))
