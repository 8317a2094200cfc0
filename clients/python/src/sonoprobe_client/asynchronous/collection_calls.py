"""The calls about collections: make, change, map, export and re-embed them."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.bodies import CollectionChangeBody, FacetsBody, FilterBody, IntakeBody
from sonoprobe_client.models import (
    AgreementAnswer,
    CollectionAnswer,
    CollectionDeleted,
    FacetsAnswer,
    LabelRenameAnswer,
    LayoutAnswer,
    MapAnswer,
    NearDuplicatesAnswer,
    NextScansAnswer,
    OperationAnswer,
    ReembeddingAnswer,
    ReembeddingEnded,
)
from sonoprobe_client.requests import JsonObject, collection_path, without_none


class AsyncCollectionCalls(AsyncTransport):
    """The part for collections."""

    async def create_collection(
        self,
        name: str,
        *,
        description: str = "",
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: IntakeBody | None = None,
        idempotency_key: str | None = None,
    ) -> CollectionAnswer:
        """POST /v1/collections; ``intake`` says which uploads the collection refuses."""
        body: JsonObject = {"name": name, "description": description, "keep_images": keep_images}
        body |= {"retention_days": retention_days, "intake": intake or {}}
        key = self._repeatable(idempotency_key)
        answer = await self._json("POST", "/v1/collections", json=body, idempotency_key=key)
        return self._read(CollectionAnswer, answer)

    def collections(self) -> AsyncIterator[CollectionAnswer]:
        """GET /v1/collections, all pages."""
        return self._pages(CollectionAnswer, "/v1/collections")

    async def collection(self, name: str) -> CollectionAnswer:
        """GET /v1/collections/{name}."""
        return self._read(CollectionAnswer, await self._json("GET", collection_path(name)))

    async def patch_collection(
        self, name: str, changes: CollectionChangeBody, *, if_match: str | None = None
    ) -> CollectionAnswer:
        """PATCH /v1/collections/{name}: ``description``, ``keep_images``, ``retention_days``.

        ``confirm_retention`` deletes what a sweep held back.
        """
        path = collection_path(name)
        answer = await self._json("PATCH", path, json=changes, if_match=if_match)
        return self._read(CollectionAnswer, answer)

    async def delete_collection(
        self, name: str, *, if_match: str | None = None
    ) -> CollectionDeleted:
        """DELETE /v1/collections/{name}."""
        answer = await self._json("DELETE", collection_path(name), if_match=if_match)
        return self._read(CollectionDeleted, answer)

    async def facets(self, collection: str, query: FacetsBody | None = None) -> FacetsAnswer:
        """POST .../facets: counts over a ``filter``, by ``labels`` and ``attributes``."""
        path = f"{collection_path(collection)}/facets"
        return self._read(FacetsAnswer, await self._json("POST", path, json=query or {}))

    async def map(
        self,
        collection: str,
        *,
        task: str | None = None,
        where: FilterBody | None = None,
        limit: int = 20_000,
        layout: Literal["principal", "neighbours"] = "principal",
        machines: bool = False,
        classifier: str | None = None,
    ) -> MapAnswer:
        """POST .../map: scans on a plane, as columns; ``classifier`` asks for its doubts."""
        body: JsonObject = {"task": task, "filter": where or {}, "limit": limit, "layout": layout}
        body |= {"machines": machines, "classifier": classifier}
        path = f"{collection_path(collection)}/map"
        return self._read(MapAnswer, await self._json("POST", path, json=body))

    async def lay_out(self, collection: str) -> OperationAnswer:
        """POST .../layout: lay it out for its map; ``wait`` for the operation."""
        path = f"{collection_path(collection)}/layout"
        return self._read(OperationAnswer, await self._json("POST", path))

    async def layout(self, collection: str) -> LayoutAnswer:
        """GET .../layout: how many scans have a place, and since when."""
        path = f"{collection_path(collection)}/layout"
        return self._read(LayoutAnswer, await self._json("GET", path))

    async def agreement(self, collection: str, task: str, other_task: str) -> AgreementAnswer:
        """POST .../agreement of two label tasks."""
        body = {"task": task, "other_task": other_task}
        path = f"{collection_path(collection)}/agreement"
        return self._read(AgreementAnswer, await self._json("POST", path, json=body))

    async def next_scans(
        self, collection: str, tasks: Sequence[str], *, limit: int | None = None
    ) -> NextScansAnswer:
        """GET .../next: scans to label where no classifier exists, as different as possible."""
        params = without_none({"task": list(tasks), "limit": limit})
        path = f"{collection_path(collection)}/next"
        return self._read(NextScansAnswer, await self._json("GET", path, params=params))

    async def near_duplicates(
        self,
        collection: str,
        *,
        min_similarity: float | None = None,
        patients: str | None = None,
        limit: int | None = None,
    ) -> NearDuplicatesAnswer:
        """GET .../duplicates: pairs that nearly repeat each other, of different patients first.

        Args:
            min_similarity: cosine; None = that of the encoder, which the answer states.
            patients: only pairs of ``different`` patients, of the ``same``, or ``unknown``.
        """
        params = without_none({"min_similarity": min_similarity, "patients": patients})
        path = f"{collection_path(collection)}/duplicates"
        answer = await self._json("GET", path, params=params | without_none({"limit": limit}))
        return self._read(NearDuplicatesAnswer, answer)

    async def rename_label(
        self,
        collection: str,
        task: str,
        old: str,
        new: str,
        *,
        merge: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> LabelRenameAnswer:
        """POST .../labels/rename: another name for a class, in all scans at once."""
        body = {"task": task, "from": old, "to": new, "merge": merge, "dry_run": dry_run}
        path = f"{collection_path(collection)}/labels/rename"
        key = self._repeatable(idempotency_key)
        answer = await self._json("POST", path, json=body, idempotency_key=key)
        return self._read(LabelRenameAnswer, answer)

    async def reembed(self, collection: str) -> OperationAnswer:
        """POST .../reembed with the loaded encoder; ``wait`` for the operation."""
        path = f"{collection_path(collection)}/reembed"
        return self._read(OperationAnswer, await self._json("POST", path))

    async def reembedding(self, collection: str) -> ReembeddingAnswer:
        """GET .../reembed: the progress."""
        path = f"{collection_path(collection)}/reembed"
        return self._read(ReembeddingAnswer, await self._json("GET", path))

    async def end_reembedding(self, collection: str, *, keep: str) -> ReembeddingEnded:
        """DELETE .../reembed: keep the ``new`` vectors, or the ``old`` ones."""
        path = f"{collection_path(collection)}/reembed"
        answer = await self._json("DELETE", path, params={"keep": keep})
        return self._read(ReembeddingEnded, answer)

    async def export_collection(self, collection: str, to: str) -> OperationAnswer:
        """POST .../export into the service's folder of exports; ``wait`` for the operation."""
        path = f"{collection_path(collection)}/export"
        return self._read(OperationAnswer, await self._json("POST", path, json={"to": to}))

    async def import_collection(self, collection: str, source: str) -> OperationAnswer:
        """POST .../import from the service's folder of exports; ``wait`` for the operation."""
        path = f"{collection_path(collection)}/import"
        return self._read(OperationAnswer, await self._json("POST", path, json={"from": source}))
