"""Collections: the catalog's truth and the search over it, kept in step. Blocking, thread safe.

A write is committed to the catalog first and told to the search second; only then is it
acknowledged. So a search never knows what the catalog does not, and a lost index is rebuilt.
Searches do not wait for writers.

Shape suffixes: N scans, D embedding width.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from service.catalog.erasure_records import SweepLimits
from service.catalog.given_ids.given_id_records import RenamedIds
from service.catalog.ids import content_hash
from service.catalog.interface import Catalog
from service.catalog.records import NewScan
from service.catalog.vector_search import IndexedRows, IndexStatistics, VectorSearch
from service.embedding.pipeline import EmbeddedImage
from service.errors import ServiceError, TooManyItems, UnknownItem
from service.gallery.acceptance import AcceptancePolicy, scan_of
from service.gallery.copying import copied
from service.gallery.encoder_change import EncoderChange
from service.gallery.exchange_folder import ExchangeFolder
from service.gallery.gallery_records import (
    Collection,
    ErasedSubject,
    Floats,
    HeldSubject,
    Page,
    Scan,
    ScanFacts,
    StoredScan,
)
from service.gallery.parquet import Imported, OnScan, export_collection, import_collection
from service.gallery.projection import lay_out, project
from service.gallery.pseudonymize import pseudonymize, pseudonyms_of
from service.gallery.search import SimilaritySearch
from service.gallery.several_ids import held_subject, one_receipt
from service.gallery.subject_view import subject_within

MAX_DIGESTS = 500
NAMES_AT_ONCE = 500


class Gallery:
    """All collections of one catalog that the loaded encoder can serve.

    Args:
        search: over the same catalog; its encoder is the loaded one.
    """

    def __init__(
        self,
        catalog: Catalog,
        search: VectorSearch,
        *,
        exchange_dir: Path | None = None,
        sweep_limits: SweepLimits | None = None,
    ) -> None:
        self._catalog = catalog
        self.vector_search = search
        self._encoder_id = search.encoder_id
        self._sweep_limits = sweep_limits or SweepLimits()
        self._similarity = SimilaritySearch(catalog, search)
        # What concerns no index is the catalog's own answer.
        self.create = partial(
            catalog.create_collection, encoder_id=search.encoder_id, dim=search.dim
        )
        self.get = catalog.get_collection
        self.get_own = self._similarity.get_own
        self.list_collections = catalog.list_collections
        self.patch = catalog.patch_collection
        self.facets = catalog.facets
        self.get_scan = catalog.get_scan
        self.list_scans = catalog.list_scans
        self.patch_scan = catalog.patch_scan
        self.rename_label = catalog.rename_label
        self.thumbnail = catalog.thumbnail
        self.kept_image = catalog.kept_image
        self.vectors_of = catalog.embeddings
        self.row_vectors = catalog.row_vectors
        self.subject_within = partial(subject_within, self.subject)
        self.all_statistics = search.all_statistics
        self.search = self._similarity.search
        self.project = partial(project, catalog)
        self.lay_out = partial(lay_out, catalog)
        self.layout_state = catalog.layout_state
        self.exports = ExchangeFolder(exchange_dir)
        self.encoder_change = EncoderChange(catalog, search)

    def open(self) -> int:
        """Make all collections searchable; return the number of scans.

        Work in the background goes on until ``close``.
        """
        self.encoder_change.tell_others()
        return self.vector_search.open()

    def close(self) -> None:
        """End the work in the background, before the catalog is closed."""
        self.vector_search.close()

    def statistics(self, workspace_id: str, collection: Collection) -> IndexStatistics | None:
        """The state of search in a collection; None for a collection of another encoder."""
        if collection.encoder_id != self._encoder_id:
            return None
        return self.vector_search.statistics(workspace_id, collection.name)

    # collections --------------------------------------------------------------------------

    def delete(self, workspace_id: str, name: str, *, if_version: int | None = None) -> int:
        """Delete a collection and its scans. Raises UnknownItem, PreconditionFailed."""
        with self.vector_search.writing():
            removed = self._catalog.delete_collection(workspace_id, name, if_version=if_version)
            self.vector_search.drop(workspace_id, name)
        self._similarity.frames.forget()
        return removed

    def remove_workspace(
        self, workspace_id: str, *, on_collection: Callable[[int, int], None]
    ) -> bool | None:
        """Delete a workspace that was closed for it, with everything in it. Can be repeated.

        Args:
            on_collection: called with the number of deleted collections, and of all.

        Returns:
            As ``Catalog.remove_workspace``; False if an earlier call has removed it.
        """
        names = self._names_in(workspace_id)
        for done, name in enumerate(names):
            on_collection(done, len(names))
            with suppress(UnknownItem):
                self.delete(workspace_id, name)
        on_collection(len(names), len(names))
        # No report follows: work that stops behind the last step would seem to have failed.
        # What requests stored meanwhile goes here; afterwards no writer finds the workspace.
        with self.vector_search.writing():
            for name in self._names_in(workspace_id):
                self._catalog.delete_collection(workspace_id, name)
                self.vector_search.drop(workspace_id, name)
            try:
                known = self._catalog.remove_workspace(workspace_id)
            except UnknownItem:
                known = False
        self._similarity.frames.forget()
        return known

    def _names_in(self, workspace_id: str) -> list[str]:
        """The names of all collections of a workspace; none if it is gone."""
        names: list[str] = []
        page = self._catalog.list_collections(workspace_id, limit=NAMES_AT_ONCE)
        names += [collection.name for collection in page.items]
        while page.next_after is not None:
            after = page.next_after
            page = self._catalog.list_collections(workspace_id, limit=NAMES_AT_ONCE, after=after)
            names += [collection.name for collection in page.items]
        return names

    def export(
        self, workspace_id: str, name: str, to: str, *, on_scan: OnScan = lambda *_: None
    ) -> int:
        """Write a collection as the export ``to``. Raises as ``export_collection``."""
        folder = self.exports.of(workspace_id, to)
        return export_collection(self._catalog, workspace_id, name, folder, on_scan=on_scan)

    def import_(
        self, workspace_id: str, source: str, name: str, *, on_scan: OnScan = lambda *_: None
    ) -> Imported:
        """Read the export ``source`` and index its scans. Raises as ``import_collection``."""
        folder = self.exports.of(workspace_id, source)
        return import_collection(
            self._catalog, workspace_id, folder, name, on_scan=on_scan, store=self.store
        )

    # scans --------------------------------------------------------------------------------

    def add(
        self,
        workspace_id: str,
        name: str,
        uploads: Sequence[EmbeddedImage | ServiceError],
        facts: Sequence[ScanFacts],
    ) -> list[StoredScan | ServiceError]:
        """Store and index the uploads that the collection accepts.

        Args:
            uploads: embedded files; an error is returned in its place.
            facts: what the caller knows of each file.

        Returns:
            The stored scan of each upload, or the reason why there is none.

        Raises:
            UnknownItem: no such collection. EncoderMismatch: of another encoder.
        """
        collection = self.get_own(workspace_id, name)
        policy = AcceptancePolicy.from_json(collection.intake)
        results: list[NewScan | ServiceError] = []
        for upload, known in zip(uploads, facts, strict=True):
            if isinstance(upload, EmbeddedImage):
                refusal = policy.refusal(upload.analysis)
                results.append(scan_of(upload, known, policy) if refusal is None else refusal)
            else:
                results.append(upload)
        scans = [result for result in results if isinstance(result, NewScan)]
        stored = iter(self.store(workspace_id, name, scans) if scans else [])
        return [next(stored) if isinstance(result, NewScan) else result for result in results]

    def store(
        self,
        workspace_id: str,
        name: str,
        scans: Sequence[NewScan],
        *,
        encoder_id: str | None = None,
        unless_erased: bool = False,
    ) -> list[StoredScan | ServiceError]:
        """Store scans and index those of the loaded encoder; see ``Catalog.add_scans``.

        Args:
            encoder_id: of the embeddings; None = the loaded one.
        """
        origin = encoder_id or self._encoder_id
        with self.vector_search.writing():
            add = partial(self._catalog.add_scans, unless_erased=unless_erased)
            stored = add(workspace_id, name, scans, encoder_id=origin)
            if origin == self._encoder_id:
                self._index(workspace_id, name, stored, [scan.embedding_D for scan in scans])
        self.vector_search.wake()
        return stored

    def copy(
        self, workspace_id: str, source: str, target: str, scan_ids: Sequence[str]
    ) -> list[StoredScan | ServiceError]:
        """Store scans of a collection in another one too, and index them.

        Raises:
            UnknownItem: no such collections. EncoderMismatch: of another encoder.
            InputError, TooManyItems, QuotaExceeded: as ``copied``.
        """
        origin, other = (self.get_own(workspace_id, name) for name in (source, target))
        with self.vector_search.writing():
            stored = copied(self._catalog, workspace_id, origin, other, scan_ids)
            fresh = [item for item in stored if isinstance(item, StoredScan) and item.created]
            row_ids = [item.scan.row_id for item in fresh]
            found_ids, embeddings_ND = self._catalog.row_vectors(workspace_id, target, row_ids)
            vectors = dict(zip(found_ids.tolist(), embeddings_ND, strict=True))
            # One that another process has erased meanwhile has no vector any more.
            kept = [item for item in fresh if item.scan.row_id in vectors]
            self._index(workspace_id, target, kept, [vectors[item.scan.row_id] for item in kept])
        self.vector_search.wake()
        return stored

    def _index(
        self,
        workspace_id: str,
        name: str,
        stored: Sequence[StoredScan | ServiceError],
        embeddings: Sequence[Floats],
    ) -> None:
        """Tell the search of the scans that are new."""
        fresh = [
            (item.scan.row_id, content_hash(item.scan.image.sha256), embedding_D)
            for item, embedding_D in zip(stored, embeddings, strict=True)
            if isinstance(item, StoredScan) and item.created
        ]
        if fresh:
            row_ids, hashes, vectors = zip(*fresh, strict=True)
            rows = IndexedRows(
                np.array(row_ids, np.int64), np.array(hashes, np.uint64), np.stack(vectors)
            )
            self.vector_search.add(workspace_id, name, rows)

    def scans_of_files(self, workspace_id: str, name: str, sha256s: Sequence[str]) -> Page[Scan]:
        """The scans of those files that the collection has, one per file and subject.

        Raises:
            UnknownItem: no such collection. TooManyItems: more than ``MAX_DIGESTS``.
        """
        if len(sha256s) > MAX_DIGESTS:
            raise TooManyItems(f"expected at most {MAX_DIGESTS} digests, got {len(sha256s)}")
        return Page(self._catalog.find_known(workspace_id, name, sha256s), None)

    def remove(
        self, workspace_id: str, name: str, scan_id: str, *, if_version: int | None = None
    ) -> ErasedSubject:
        """Delete one scan. Raises UnknownItem, PreconditionFailed."""
        with self.vector_search.writing():
            _, receipt = self._catalog.erase_scan(
                workspace_id, name, scan_id, if_version=if_version
            )
            self._unindex(workspace_id, receipt)
        return receipt

    def subject(
        self, workspace_id: str, subject_ids: Sequence[str], *, limit: int, after: str | None = None
    ) -> tuple[HeldSubject, Page[Scan]]:
        """What is held of a patient with these ids. Raises as ``Catalog.subject``."""
        return held_subject(self._catalog, workspace_id, subject_ids, limit=limit, after=after)

    def erase_subject(self, workspace_id: str, *subject_ids: str) -> ErasedSubject:
        """Remove the scans of a subject with these ids everywhere. Raises UnknownItem."""
        return self._erased(workspace_id, self._catalog.erase_subject, subject_ids)

    def erase_study(self, workspace_id: str, *study_ids: str) -> ErasedSubject:
        """Remove the scans of a study with these ids everywhere. Raises UnknownItem."""
        return self._erased(workspace_id, self._catalog.erase_study, study_ids)

    def _erased(
        self, workspace_id: str, erase: Callable[..., ErasedSubject], ids: Sequence[str]
    ) -> ErasedSubject:
        receipts: list[ErasedSubject] = []
        missing: list[UnknownItem] = []
        with self.vector_search.writing():
            for given in ids:
                try:
                    # Under all ids: a copy of before may know the patient under another one.
                    others = [other for other in ids if other != given]
                    receipts.append(erase(workspace_id, given, also=others))
                except UnknownItem as error:
                    missing.append(error)
                else:
                    self._unindex(workspace_id, receipts[-1])
        if not receipts:
            raise missing[-1]
        return one_receipt(receipts)

    def pseudonymize(self, workspace_id: str, report: Callable[[int, int], None]) -> RenamedIds:
        """See ``pseudonymize.pseudonymize``."""
        return pseudonymize(self._catalog, workspace_id, report)

    def require_pseudonyms(self, workspace_id: str) -> None:
        """Raises Conflict: the policy makes none. PseudonymKeyMissing."""
        pseudonyms_of(self._catalog, workspace_id).beginnings()

    def expire(self, tell: Callable[[str, int], None] = lambda workspace_id, scans: None) -> int:
        """Delete scans that are past their collection's retention; return how many.

        Args:
            tell: called after each step with the number of scans of each workspace.

        A collection of which too many are due, on a clock that is not proven, keeps them all.
        """
        self._catalog.settle_erasures()
        removed = 0
        while True:
            # Let go between two steps, so that other writers get a turn.
            with self.vector_search.writing():
                receipts = self._catalog.expire(limits=self._sweep_limits)
                for workspace_id, receipt in receipts:
                    self._unindex(workspace_id, receipt)
            for workspace_id, receipt in receipts:
                tell(workspace_id, len(receipt.scans))
            removed += sum(len(receipt.scans) for _, receipt in receipts)
            if not receipts:
                return removed

    def expire_confirmed(self, workspace_id: str, name: str) -> int:
        """Delete all scans of one collection that are due, on the caller's word for the clock.

        Returns how many. Raises UnknownItem.
        """
        removed = 0
        while True:
            with self.vector_search.writing():
                receipt = self._catalog.expire_collection(workspace_id, name)
                if receipt is None:
                    return removed
                self._unindex(workspace_id, receipt)
            removed += len(receipt.scans)

    def erasures_owed(self) -> int:
        """Number of erasures that could not be written beside the backups yet."""
        return self._catalog.erasures_owed

    def erasures_unvacuumed(self) -> int:
        """Number of erasures of which rows were left in the files of the database."""
        return self._catalog.erasures_unvacuumed

    def retention_held(self) -> int:
        """Number of scans that the last sweep refused to delete, in all collections."""
        return sum(record.retention_held for _, record in self._catalog.all_collections())

    # keeping in step ----------------------------------------------------------------------

    def _unindex(self, workspace_id: str, receipt: ErasedSubject) -> None:
        by_name: defaultdict[str, list[int]] = defaultdict(list)
        for name, row_id in receipt.row_ids:
            by_name[name].append(row_id)
        for name, row_ids in by_name.items():
            self.vector_search.remove(workspace_id, name, np.array(row_ids, np.int64))
        self._similarity.frames.forget()  # nothing deleted stays in memory
        self.vector_search.wake()
