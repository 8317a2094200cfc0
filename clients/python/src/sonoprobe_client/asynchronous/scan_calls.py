"""The calls about scans and the patients and studies that they are of."""

import json
from collections.abc import AsyncIterator, Sequence

from sonoprobe_client.asynchronous.transport import AsyncTransport
from sonoprobe_client.batches import MAX_FILES, Batch, ImageQueue, Images, OnProgress
from sonoprobe_client.bodies import FilterBody, ScanMetadata, ScanPatchBody
from sonoprobe_client.models import (
    AddedScansAnswer,
    CopiedScansAnswer,
    ErasureAnswer,
    ScanAnswer,
    ScanDeleted,
    ScanPart,
    SubjectAnswer,
)
from sonoprobe_client.requests import (
    JsonObject,
    collection_path,
    files,
    json_part,
    part,
    without_none,
)

DIGESTS_PER_REQUEST = 100  # they stand in the address


class AsyncScanCalls(AsyncTransport):
    """The part for scans, patients and studies."""

    async def add_scans(
        self,
        collection: str,
        images: Images,
        metadata: Sequence[ScanMetadata] | None = None,
        *,
        frames: str | None = None,
        region: str | None = None,
        idempotency_key: str | None = None,
        on_progress: OnProgress | None = None,
        max_files: int = MAX_FILES,
    ) -> AddedScansAnswer:
        """POST .../scans; one item per image, each with ``scan`` or ``problem``.

        What the subject had already is answered with ``created`` False, so that an upload that
        broke off can be sent again.

        Args:
            metadata: one entry per image.
            on_progress: gets the number of answered images, and that of all.
            max_files: of one request.
        """
        path, key = f"{collection_path(collection)}/scans", self._repeatable(idempotency_key)
        params = without_none({"frames": frames, "region": region})

        async def send(batch: Batch) -> JsonObject:
            form = json_part("metadata", batch.extras)
            request: JsonObject = {"files": files(batch.images), "data": form, "params": params}
            return await self._json("POST", path, idempotency_key=batch.key(key), **request)

        queue = ImageQueue(images, metadata)
        answer = await self._in_batches(queue, send, on_progress, max_files)
        return self._read(AddedScansAnswer, answer)

    async def copy_scans(
        self,
        collection: str,
        scan_ids: Sequence[str],
        to: str,
        *,
        idempotency_key: str | None = None,
    ) -> CopiedScansAnswer:
        """POST .../scans/copy: store up to 200 scans in the collection ``to`` as well."""
        path, key = f"{collection_path(collection)}/scans/copy", self._repeatable(idempotency_key)
        body = {"to": to, "scan_ids": list(scan_ids)}
        answer = await self._json("POST", path, json=body, idempotency_key=key)
        return self._read(CopiedScansAnswer, answer)

    async def known(self, collection: str, sha256s: Sequence[str]) -> dict[str, str]:
        """GET .../scans?sha256=: {sha256: scan_id} of files that are stored, of any subject."""
        found = await self._known_documents(collection, sha256s)
        return {sha256: str(scans[0]["scan_id"]) for sha256, scans in found.items()}

    async def known_scans(
        self, collection: str, sha256s: Sequence[str]
    ) -> dict[str, list[ScanAnswer]]:
        """As ``known``, with the scans of each file: one of each subject that it was sent for."""
        found = await self._known_documents(collection, sha256s)
        return {
            sha256: [self._read(ScanAnswer, scan) for scan in scans]
            for sha256, scans in found.items()
        }

    async def _known_documents(
        self, collection: str, sha256s: Sequence[str]
    ) -> dict[str, list[JsonObject]]:
        known: dict[str, list[JsonObject]] = {}
        for start in range(0, len(sha256s), DIGESTS_PER_REQUEST):
            params = {"sha256": list(sha256s[start : start + DIGESTS_PER_REQUEST])}
            path = f"{collection_path(collection)}/scans"
            for item in (await self._json("GET", path, params=params))["items"]:
                known.setdefault(item["image"]["sha256"], []).append(item)
        return known

    def scans(
        self,
        collection: str,
        *,
        label: Sequence[str] = (),
        subject_id: str | None = None,
        study_id: str | None = None,
        attribute: Sequence[str] = (),
        where: FilterBody | None = None,
        with_vector: bool = False,
    ) -> AsyncIterator[ScanAnswer]:
        """GET .../scans, all pages; ``label`` holds task:class, ``attribute`` name:value.

        ``where`` is a filter as in searches; ``with_vector`` adds the embedding of each scan.
        """
        params: JsonObject = {"label": list(label), "subject_id": subject_id, "study_id": study_id}
        params["with_vector"] = with_vector
        params["filter"] = None if where is None else json.dumps(where)
        params["attribute"] = list(attribute)
        chosen = {name: value for name, value in params.items() if value}
        return self._pages(ScanAnswer, f"{collection_path(collection)}/scans", chosen)

    def scan_parts(
        self, collection: str, fields: Sequence[str], *, where: FilterBody | None = None
    ) -> AsyncIterator[ScanPart]:
        """GET .../scans?fields=, all pages: only these fields of each scan, and its id."""
        params: JsonObject = {"fields": list(fields)}
        if where is not None:
            params["filter"] = json.dumps(where)
        return self._pages(ScanPart, f"{collection_path(collection)}/scans", params)

    async def scan(
        self,
        collection: str,
        scan_id: str,
        *,
        with_vector: bool = False,
        encoding_format: str | None = None,
        dtype: str | None = None,
    ) -> ScanAnswer:
        """GET .../scans/{scan_id}; ``encoding_format`` and ``dtype`` are of the vector."""
        params = {"with_vector": with_vector or None, "encoding_format": encoding_format}
        params = without_none(params | {"dtype": dtype})
        path = collection_path(collection, scan_id)
        return self._read(ScanAnswer, await self._json("GET", path, params=params))

    async def thumbnail(self, collection: str, scan_id: str) -> bytes:
        """GET .../scans/{scan_id}/thumbnail, JPEG."""
        path = f"{collection_path(collection, scan_id)}/thumbnail"
        return (await self.request("GET", path)).content

    async def patch_scan(
        self, collection: str, scan_id: str, changes: ScanPatchBody, *, if_match: str | None = None
    ) -> ScanAnswer:
        """PATCH .../scans/{scan_id}; null removes a label or attribute."""
        path = collection_path(collection, scan_id)
        answer = await self._json("PATCH", path, json=changes, if_match=if_match)
        return self._read(ScanAnswer, answer)

    async def label(
        self, collection: str, scan_id: str, task: str, label: str | None
    ) -> ScanAnswer:
        """PATCH .../scans/{scan_id}: give it this label of the task; None removes it."""
        return await self.patch_scan(collection, scan_id, {"labels": {task: label}})

    async def delete_scan(
        self, collection: str, scan_id: str, *, if_match: str | None = None, refit: bool = False
    ) -> ScanDeleted:
        """DELETE .../scans/{scan_id}; the answer names the classifiers that learnt from it."""
        path, params = collection_path(collection, scan_id), {"refit": refit}
        answer = await self._json("DELETE", path, if_match=if_match, params=params)
        return self._read(ScanDeleted, answer)

    # patients and studies -----------------------------------------------------------------------

    async def subject(self, subject_id: str, *, cursor: str | None = None) -> SubjectAnswer:
        """GET /v1/subjects?subject_id=: what is held of a patient, with one page of scans."""
        params = without_none({"subject_id": subject_id, "cursor": cursor})
        return self._read(SubjectAnswer, await self._json("GET", "/v1/subjects", params=params))

    async def erase_subject(self, subject_id: str, *, refit: bool = False) -> ErasureAnswer:
        """DELETE /v1/subjects/{subject_id}, or ?subject_id= with slashes; returns the receipt."""
        return await self._erase("/v1/subjects", "subject_id", subject_id, refit=refit)

    async def erase_study(self, study_id: str, *, refit: bool = False) -> ErasureAnswer:
        """DELETE /v1/studies/{study_id}, or ?study_id= with slashes; returns the receipt."""
        return await self._erase("/v1/studies", "study_id", study_id, refit=refit)

    async def _erase(self, path: str, name: str, value: str, *, refit: bool) -> ErasureAnswer:
        params: JsonObject = {"refit": refit}
        if "/" in value or not value.strip("."):  # proxies and clients change such paths
            params[name] = value
        else:
            path = f"{path}/{part(value)}"
        return self._read(ErasureAnswer, await self._json("DELETE", path, params=params))
