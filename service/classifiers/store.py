"""Fit, extend and open versions of classifiers in the catalog. Blocking, thread safe.

Shape suffixes: N examples, C classes, D embedding width.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from service.catalog.interface import Catalog
from service.catalog.records import Author, Classifier, ClassifierVersion, NewVersion
from service.classifiers.erased_meanwhile import again_when_erased
from service.classifiers.examples import Changes, Examples, changed
from service.classifiers.examples import without_repetitions as unrepeated
from service.classifiers.fitting import (
    MULTI,
    FitOptions,
    UnlabelledPool,
    UnlabelledSelection,
    fitted_version,
    names_of,
    options_of,
)
from service.classifiers.label_source import SOURCE, LabelSource
from service.classifiers.labelling.unlabelled import kept_pool, selected_pool
from service.classifiers.loaded import LoadedClassifier, Support, load_classifier, support_of
from service.classifiers.portable_versions import version_of_document
from service.classifiers.signing.signatures import SIGNATURE, SignatureState
from service.classifiers.sources import Sources
from service.classifiers.views.chosen_views import ViewsChoice
from service.classifiers.views.kept_views import ViewMaker
from service.errors import (
    EncoderMismatch,
    NameTaken,
    NotEnoughExamples,
    PreconditionFailed,
    TooManyItems,
    UnknownItem,
)

MAX_LOADED = 32  # versions in memory; each holds at most 2000 embeddings


class ClassifierStore:
    """All classifiers of one catalog that the loaded encoder can serve."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        encoder_id: str,
        dim: int,
        near_duplicate_cosine: float,
        max_examples: int = 200_000,
        view_maker: ViewMaker | None = None,
        max_default_views: int = 0,
    ) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._max_examples = max_examples
        self.views = ViewsChoice(
            catalog, view_maker, max_examples=max_examples, max_default=max_default_views
        )
        self._ready: OrderedDict[tuple[str, str, int], LoadedClassifier] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()
        self.sources = Sources(
            catalog,
            encoder_id=encoder_id,
            dim=dim,
            near_duplicate_cosine=near_duplicate_cosine,
            max_examples=max_examples,
        )

    def fit(
        self,
        workspace_id: str,
        name: str,
        examples: Examples,
        author: Author,
        options: FitOptions | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        before_storing: Callable[[], None] = lambda: None,
    ) -> Classifier:
        """Fit, evaluate by grouped cross-validation, store as version 1 and publish.

        Args:
            options: None = the defaults.
            settings: stored with the version.
            before_storing: called after the fit; its exceptions abandon the fit.

        Raises:
            NotEnoughExamples: fewer than two classes; a label that no example has or lacks.
            ConflictingLabels: equal examples carry different labels.
            InputError: options that do not fit the examples.
            UnknownItem, EncoderMismatch: the collection of unlabelled scans.
            NameTaken: the workspace has a classifier of this name.
        """
        self._refuse_taken(workspace_id, name)
        options = options or FitOptions()
        pool = None
        if options.unlabelled is not None:
            pool = self._selected_pool(workspace_id, options.unlabelled)
        settings = settings or {}
        once = unrepeated(examples)
        version = self._fitted(workspace_id, once, settings, author, options, pool)
        before_storing()
        return self._catalog.create_classifier(workspace_id, name, version)

    def extend(
        self,
        workspace_id: str,
        name: str,
        changes: Changes,
        author: Author,
        *,
        base: int | None = None,
        options: FitOptions | None = None,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Fit a new version to the examples of an earlier one and some changes.

        Examples whose scans were deleted or whose subjects were erased are left out; the
        settings of the new version say how many.

        Args:
            base: number of the version to start from; None = the latest.
            options: of the new version; those left out are taken from the base.

        Raises:
            UnknownItem: no such classifier, version or example.
            EncoderMismatch: as ``Sources.of_version``.
            NotEnoughExamples: fewer than two classes are left.
            ConflictingLabels: equal examples carry different labels.
            InputError: nothing would change, or changes contradict each other.
            PreconditionFailed: ``if_revision`` is not the current one.
        """
        current = self._catalog.get_classifier(workspace_id, name)
        require_revision(current, if_revision)  # before the work, and again after it
        number = base or current.latest
        start = self._catalog.get_version(workspace_id, name, number)
        kept = self.sources.of_version(workspace_id, name, number)
        options = options or FitOptions()
        may_stay = changes.may_stay or options.is_given
        examples, counts = changed(kept, replace(changes, may_stay=may_stay))
        settings: dict[str, Any] = {"base_version": number, **counts}
        settings |= {"not_kept": start.examples - len(kept), **_inherited_source(start)}
        settings |= _dropped_thresholds(start) | dict(changes.settings)
        earlier = options_of(start.kind, start.settings)
        chosen = options.after(earlier, names_of(examples, start.kind))
        if options.unlabelled is not None:
            pool = self._selected_pool(workspace_id, options.unlabelled)
        else:
            pool, _ = kept_pool(self._catalog, self.sources, workspace_id, name, start, self._dim)
        version = self._fitted(workspace_id, examples, settings, author, chosen, pool)
        return self._catalog.add_version(
            workspace_id, name, version, publish=publish, if_revision=if_revision
        )

    @again_when_erased
    def refit(
        self, workspace_id: str, name: str, author: Author
    ) -> tuple[Classifier, ClassifierVersion] | None:
        """Publish a version fitted without the examples that are gone; None when none is gone.

        Unlabelled scans count as examples here.

        It starts from the published version, which is the one that predicts.

        Raises:
            UnknownItem: no such classifier.
            EncoderMismatch: as ``Sources.of_version``.
            NotEnoughExamples: fewer than two classes are left.
        """
        base = self._catalog.get_classifier(workspace_id, name).published
        kept = self.sources.of_version(workspace_id, name, base.number)
        pool, unlabelled_gone = kept_pool(
            self._catalog, self.sources, workspace_id, name, base, self._dim
        )
        gone = base.examples - len(kept)
        if not gone and not unlabelled_gone:
            return None
        settings: dict[str, Any] = {"base_version": base.number, "refit": True, "not_kept": gone}
        settings |= {"unlabelled_not_kept": unlabelled_gone} if unlabelled_gone else {}
        settings |= _dropped_thresholds(base) | _inherited_source(base)
        names = names_of(kept, base.kind)
        options = FitOptions().after(options_of(base.kind, base.settings), names)
        version = self._fitted(workspace_id, kept, settings, author, options, pool)
        return self._catalog.add_version(workspace_id, name, version, publish=True)

    def _selected_pool(
        self, workspace_id: str, selection: UnlabelledSelection
    ) -> UnlabelledPool | None:
        return selected_pool(self._catalog, self.sources, workspace_id, selection)

    def _refuse_taken(self, workspace_id: str, name: str) -> None:
        """Refuse before the work; the catalog refuses again when two requests race."""
        try:
            self._catalog.get_classifier(workspace_id, name)
        except UnknownItem:
            return
        raise NameTaken("the workspace has a classifier of this name")

    def _fitted(
        self,
        workspace_id: str,
        examples: Examples,
        settings: Mapping[str, Any],
        author: Author,
        options: FitOptions,
        pool: UnlabelledPool | None,
    ) -> NewVersion:
        if not len(examples):
            raise NotEnoughExamples("expected labelled examples of at least 2 classes, got none")
        if len(examples) > self._max_examples:
            raise TooManyItems(
                f"expected at most {self._max_examples} examples, got {len(examples)}"
            )
        kinds = {"scans": sum(scan is not None for scan in examples.scans)}
        kinds["uploads"] = len(examples) - kinds["scans"]
        settings = {**settings, SOURCE: {**settings.get(SOURCE, {}), **kinds}}
        pool = None if pool is None else pool.without(examples)
        wanted = "auto" if options.views is None else options.views
        views = self.views.of(
            workspace_id,
            wanted,
            examples,
            heads=len(names_of(examples, MULTI)) if options.kind == MULTI else 1,
            has_unlabelled=pool is not None,
        )
        return fitted_version(
            examples,
            options,
            settings,
            author,
            self._encoder_id,
            self.sources.near_duplicate_cosine,
            pool=pool,
            views=views,
        )

    def require_encoder(self, encoder_id: str) -> None:
        """Raises EncoderMismatch: it is not the loaded one."""
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(
                f"the classifier was fitted for {encoder_id}, loaded is {self._encoder_id}"
            )

    def open(self, workspace_id: str, name: str, number: int | None = None) -> LoadedClassifier:
        """Load the published version, or the one of this number.

        Versions never change, so loaded ones stay in memory until something of the workspace is
        deleted, by this process or another.

        Raises:
            UnknownItem: no such classifier or version.
            EncoderMismatch: it was fitted on another encoder's embeddings.
        """
        classifier, version = self.find(workspace_id, name, number)
        key = (workspace_id, classifier.classifier_id, version.number)
        with self._lock:
            generation = self._generation
            self._drop_older(workspace_id, classifier.forgettings)
            ready = self._ready.get(key)
            if ready is not None and ready.classifier.forgettings == classifier.forgettings:
                self._ready.move_to_end(key)
                return replace(ready, classifier=classifier, version=version)
        support, whole = self._support(workspace_id, classifier, version)
        loaded = load_classifier(classifier, version, support)
        with self._lock:
            # A version read before a deletion must not stay in memory. A deletion after ``find``
            # raises the number of forgettings, and the next caller reads again.
            if generation == self._generation and whole:
                self._ready[key] = loaded
                while len(self._ready) > MAX_LOADED:
                    self._ready.popitem(last=False)
        return loaded

    def find(
        self, workspace_id: str, name: str, number: int | None = None
    ) -> tuple[Classifier, ClassifierVersion]:
        """The classifier, and its published version or the one of this number.

        Raises:
            UnknownItem: no such classifier or version.
            EncoderMismatch: it was fitted on another encoder's embeddings.
        """
        classifier = self._catalog.get_classifier(workspace_id, name)
        version = classifier.published
        if number is not None:
            version = self._catalog.get_version(workspace_id, name, number)
        self.require_encoder(version.encoder_id)
        return classifier, version

    def _support(
        self, workspace_id: str, classifier: Classifier, version: ClassifierVersion
    ) -> tuple[Support, bool]:
        """The kept examples, and whether both reads of the catalog agree."""
        where = (workspace_id, classifier.name, version.number)
        stored = self._catalog.version_examples(*where)
        embeddings_ND = self._catalog.version_embeddings(*where, dim=self._dim)
        kept = [example for example in stored if example.is_kept]
        whole = len(kept) == len(embeddings_ND)
        kept, embeddings_ND = kept[: len(embeddings_ND)], embeddings_ND[: len(kept)]
        moved = self.sources.moved(workspace_id, kept)
        if moved:  # their scans were embedded by another encoder since: no neighbours of a query
            rows = [i for i, e in enumerate(kept) if e.scan is None or e.scan[0] not in moved]
            kept, embeddings_ND = [kept[i] for i in rows], embeddings_ND[rows]
        return support_of(kept, embeddings_ND), whole and not moved

    def forget(self) -> None:
        """Drop all loaded versions, after scans were deleted or subjects erased."""
        with self._lock:
            self._generation += 1
            self._ready.clear()

    @property
    def loaded(self) -> int:
        """The number of versions in memory."""
        return len(self._ready)

    def forget_older(self) -> None:
        """Drop loaded versions that were read before a deletion by any process."""
        with self._lock:
            workspace_ids = {workspace_id for workspace_id, _, _ in self._ready}
        for workspace_id in workspace_ids:
            forgettings = self._catalog.forgettings(workspace_id)
            with self._lock:
                self._drop_older(workspace_id, forgettings)

    def _drop_older(self, workspace_id: str, forgettings: int) -> None:
        """Drop versions of a workspace that were read before the latest deletion known here."""
        for key, loaded in list(self._ready.items()):
            if key[0] == workspace_id and loaded.classifier.forgettings < forgettings:
                del self._ready[key]

    def import_document(
        self,
        workspace_id: str,
        name: str,
        document: Mapping[str, Any],
        author: Author,
        *,
        signature: SignatureState | None = None,
    ) -> Classifier:
        """Store an exported document as version 1 of a new classifier.

        Args:
            signature: what is known of it, stored with the version; None = nobody looked.

        Raises:
            InvalidArtifact: damaged, of another format or of another format version.
            EncoderMismatch: made for another encoder.
            NameTaken: the workspace has a classifier of this name.
        """
        self._refuse_taken(workspace_id, name)
        version = version_of_document(document, author, self._encoder_id, self._dim)
        if signature is not None:
            version = replace(version, settings={**version.settings, SIGNATURE: asdict(signature)})
        return self._catalog.create_classifier(workspace_id, name, version)


def require_revision(current: Classifier, if_revision: int | None) -> None:
    """Raises PreconditionFailed: ``if_revision`` is not the current revision."""
    if if_revision not in (None, current.revision):
        raise PreconditionFailed(f"expected {if_revision}, the current is {current.revision}")


def _inherited_source(start: ClassifierVersion) -> dict[str, Any]:
    """The source of a version that reads no labels: that of the version it starts from."""
    source = LabelSource.of_version(start)
    return {} if source is None else {SOURCE: source.inherited(start.number).to_json()}


def _dropped_thresholds(start: ClassifierVersion) -> dict[str, int]:
    """How many thresholds the next version loses: single-label ones belong to one head."""
    if start.kind == MULTI:
        return {}
    # An import has them in its report only.
    count = len(start.settings.get("operating_points", ())) or sum(
        len(head["thresholds"]) for head in start.report.get("labels", ())
    )
    return {"thresholds_dropped": count} if count else {}
