"""The client's calls about collections: scans, searches, erasure, export and re-embedding."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sonoprobe_client.transport import JsonObject, Transport, files, json_part, part, without_none

DIGESTS_PER_REQUEST = 100  # they stand in the address


class CollectionCalls(Transport):
    """The part of ``PlainClient`` that works on collections."""

    def create_collection(
        self,
        name: str,
        *,
        description: str = "",
        keep_images: bool = False,
        retention_days: float | None = None,
        intake: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST /v1/collections; ``intake`` says which uploads the collection refuses."""
        body: JsonObject = {"name": name, "description": description, "keep_images": keep_images}
        body |= {"retention_days": retention_days, "intake": intake or {}}
        return self._json("POST", "/v1/collections", json=body, idempotency_key=idempotency_key)

    def collections(self) -> Iterator[JsonObject]:
        """GET /v1/collections, all pages."""
        return self._pages("/v1/collections")

    def collection(self, name: str) -> JsonObject:
        """GET /v1/collections/{name}."""
        return self._json("GET", _path(name))

    def patch_collection(
        self, name: str, changes: JsonObject, *, if_match: str | None = None
    ) -> JsonObject:
        """PATCH /v1/collections/{name}: ``description``, ``keep_images``, ``retention_days``.

        ``confirm_retention`` deletes what a sweep held back.
        """
        return self._json("PATCH", _path(name), json=changes, if_match=if_match)

    def delete_collection(self, name: str, *, if_match: str | None = None) -> JsonObject:
        """DELETE /v1/collections/{name}."""
        return self._json("DELETE", _path(name), if_match=if_match)

    def facets(self, collection: str, query: JsonObject | None = None) -> JsonObject:
        """POST .../facets: counts over a ``filter``, by ``labels`` and ``attributes``."""
        return self._json("POST", f"{_path(collection)}/facets", json=query or {})

    def map(
        self,
        collection: str,
        *,
        task: str | None = None,
        where: JsonObject | None = None,
        limit: int = 20_000,
        layout: str = "principal",
        machines: bool = False,
        classifier: str | None = None,
    ) -> JsonObject:
        """POST .../map: scans on a plane, as columns; ``classifier`` asks for doubts."""
        body: JsonObject = {"task": task, "filter": where or {}, "limit": limit, "layout": layout}
        body |= {"machines": machines, "classifier": classifier}
        return self._json("POST", f"{_path(collection)}/map", json=body)

    def lay_out(self, collection: str) -> JsonObject:
        """POST .../layout: an operation that lays the collection out for its map."""
        return self._json("POST", f"{_path(collection)}/layout")

    def layout(self, collection: str) -> JsonObject:
        """GET .../layout: how many scans have a place, and since when."""
        return self._json("GET", f"{_path(collection)}/layout")

    def agreement(self, collection: str, task: str, other_task: str) -> JsonObject:
        """POST .../agreement of two label tasks."""
        body = {"task": task, "other_task": other_task}
        return self._json("POST", f"{_path(collection)}/agreement", json=body)

    def next_scans(
        self, collection: str, tasks: Sequence[str], *, limit: int | None = None
    ) -> JsonObject:
        """GET .../next: scans to label where no classifier exists, as different as possible."""
        params = without_none({"task": list(tasks), "limit": limit})
        return self._json("GET", f"{_path(collection)}/next", params=params)

    def rename_label(
        self,
        collection: str,
        task: str,
        old: str,
        new: str,
        *,
        merge: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST .../labels/rename: another name for a class, in all scans at once."""
        body = {"task": task, "from": old, "to": new, "merge": merge, "dry_run": dry_run}
        path = f"{_path(collection)}/labels/rename"
        return self._json("POST", path, json=body, idempotency_key=idempotency_key)

    def reembed(self, collection: str) -> JsonObject:
        """POST .../reembed with the loaded encoder; ``wait`` for the operation."""
        return self._json("POST", f"{_path(collection)}/reembed")

    def reembedding(self, collection: str) -> JsonObject:
        """GET .../reembed: the progress."""
        return self._json("GET", f"{_path(collection)}/reembed")

    def end_reembedding(self, collection: str, *, keep: str) -> JsonObject:
        """DELETE .../reembed: keep the ``new`` vectors, or the ``old`` ones."""
        return self._json("DELETE", f"{_path(collection)}/reembed", params={"keep": keep})

    def export_collection(self, collection: str, to: str) -> JsonObject:
        """POST .../export into the service's folder of exports; ``wait`` for the operation."""
        return self._json("POST", f"{_path(collection)}/export", json={"to": to})

    def import_collection(self, collection: str, source: str) -> JsonObject:
        """POST .../import from the service's folder of exports; ``wait`` for the operation."""
        return self._json("POST", f"{_path(collection)}/import", json={"from": source})

    # scans --------------------------------------------------------------------------------

    def add_scans(
        self,
        collection: str,
        images: Sequence[bytes],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        frames: str | None = None,
        region: str | None = None,
        idempotency_key: str | None = None,
    ) -> JsonObject:
        """POST .../scans; one item per file, each with ``scan`` or ``problem``."""
        return self._json(
            "POST",
            f"{_path(collection)}/scans",
            files=files(images),
            data=json_part("metadata", None if metadata is None else list(metadata)),
            params=without_none({"frames": frames, "region": region}),
            idempotency_key=idempotency_key,
        )

    def known(self, collection: str, sha256s: Sequence[str]) -> dict[str, str]:
        """GET .../scans?sha256=: {sha256: scan_id} of files that are stored, of any subject."""
        found = self.known_scans(collection, sha256s)
        return {sha256: scans[0]["scan_id"] for sha256, scans in found.items()}

    def known_scans(self, collection: str, sha256s: Sequence[str]) -> dict[str, list[JsonObject]]:
        """As ``known``, with the scans of each file: one of each subject that it was sent for."""
        known: dict[str, list[JsonObject]] = {}
        for start in range(0, len(sha256s), DIGESTS_PER_REQUEST):
            params = {"sha256": list(sha256s[start : start + DIGESTS_PER_REQUEST])}
            for item in self._json("GET", f"{_path(collection)}/scans", params=params)["items"]:
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
        where: JsonObject | None = None,
        with_vector: bool = False,
        fields: Sequence[str] = (),
    ) -> Iterator[JsonObject]:
        """GET .../scans, all pages; ``label`` holds task:class, ``attribute`` name:value.

        ``where`` is a filter as in searches; ``with_vector`` adds the embedding of each scan;
        ``fields`` names the fields of each scan that are wanted, default all.
        """
        params: JsonObject = {"label": list(label), "subject_id": subject_id, "study_id": study_id}
        params["with_vector"] = with_vector
        params["filter"] = None if where is None else json.dumps(where)
        params["attribute"] = list(attribute)
        params["fields"] = list(fields)
        chosen = {name: value for name, value in params.items() if value}
        return self._pages(f"{_path(collection)}/scans", chosen)

    def scan(
        self,
        collection: str,
        scan_id: str,
        *,
        with_vector: bool = False,
        encoding_format: str | None = None,
        dtype: str | None = None,
    ) -> JsonObject:
        """GET .../scans/{scan_id}; ``encoding_format`` and ``dtype`` are of the vector."""
        params = {"with_vector": with_vector or None, "encoding_format": encoding_format}
        params = without_none(params | {"dtype": dtype})
        return self._json("GET", _path(collection, scan_id), params=params)

    def thumbnail(self, collection: str, scan_id: str) -> bytes:
        """GET .../scans/{scan_id}/thumbnail, JPEG."""
        return self.request("GET", f"{_path(collection, scan_id)}/thumbnail").content

    def patch_scan(
        self, collection: str, scan_id: str, changes: JsonObject, *, if_match: str | None = None
    ) -> JsonObject:
        """PATCH .../scans/{scan_id}; null removes a label or attribute."""
        return self._json("PATCH", _path(collection, scan_id), json=changes, if_match=if_match)

    def delete_scan(
        self, collection: str, scan_id: str, *, if_match: str | None = None, refit: bool = False
    ) -> JsonObject:
        """DELETE .../scans/{scan_id}; the answer names the classifiers that learnt from it."""
        params = {"refit": refit}
        return self._json("DELETE", _path(collection, scan_id), if_match=if_match, params=params)

    def subject(self, subject_id: str, *, cursor: str | None = None) -> JsonObject:
        """GET /v1/subjects?subject_id=: what is held of a patient, with one page of scans."""
        params = without_none({"subject_id": subject_id, "cursor": cursor})
        return self._json("GET", "/v1/subjects", params=params)

    def erase_subject(self, subject_id: str, *, refit: bool = False) -> JsonObject:
        """DELETE /v1/subjects/{subject_id}, or ?subject_id= with slashes; returns the receipt."""
        return self._erase("/v1/subjects", "subject_id", subject_id, refit=refit)

    def erase_study(self, study_id: str, *, refit: bool = False) -> JsonObject:
        """DELETE /v1/studies/{study_id}, or ?study_id= with slashes; returns the receipt."""
        return self._erase("/v1/studies", "study_id", study_id, refit=refit)

    def _erase(self, path: str, name: str, value: str, *, refit: bool) -> JsonObject:
        if "/" in value or not value.strip("."):  # proxies and clients change such paths
            return self._json("DELETE", path, params={name: value, "refit": refit})
        return self._json("DELETE", f"{path}/{part(value)}", params={"refit": refit})

    # searches -----------------------------------------------------------------------------

    def search(self, collection: str, query: JsonObject) -> JsonObject:
        """POST .../search by ``scan_id``, ``vector`` or ``positive`` and ``negative``."""
        return self._json("POST", f"{_path(collection)}/search", json=query)

    def search_image(
        self, collection: str, image: bytes, options: JsonObject | None = None
    ) -> JsonObject:
        """POST .../search by an uploaded image."""
        form = json_part("options", options)
        return self._json("POST", f"{_path(collection)}/search", files=files([image]), data=form)

    def search_many(self, collections: Sequence[str], queries: Sequence[JsonObject]) -> JsonObject:
        """POST /v1/search with ``queries``: one item each, ``items`` or ``problem``."""
        body = {"collections": list(collections), "queries": list(queries)}
        return self._json("POST", "/v1/search", json=body)

    def search_across(self, collections: Sequence[str], query: JsonObject) -> JsonObject:
        """POST /v1/search: several collections as if they were one."""
        return self._json("POST", "/v1/search", json={"collections": list(collections), **query})

    def search_images(
        self, collections: Sequence[str], images: Sequence[bytes], options: JsonObject | None = None
    ) -> JsonObject:
        """POST /v1/search by uploaded images, which are positive examples of one query."""
        form = json_part("options", {"collections": list(collections), **(options or {})})
        return self._json("POST", "/v1/search", files=files(images), data=form)


def _path(collection: str, scan_id: str | None = None) -> str:
    path = f"/v1/collections/{part(collection)}"
    return path if scan_id is None else f"{path}/scans/{part(scan_id)}"
