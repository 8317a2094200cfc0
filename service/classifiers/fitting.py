"""Fit a version, single-label or multi-label, to examples, grouped by patient or by similarity.

Shape suffixes: N examples, V views of an example, D embedding width.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np

from service.arrays import Floats
from service.catalog.filter_records import ScanFilter
from service.catalog.records import (
    UNLABELLED,
    Author,
    ClassifierVersion,
    NewExample,
    NewVersion,
)
from service.classifiers.examples import (
    Examples,
    Ids,
    by_class_name,
    joined_by_study,
    labels_of,
    subjects_of_studies,
    to_records,
)
from service.classifiers.views.chosen_views import VIEWS, ChosenViews, Views, wanted_views
from service.classifiers.views.example_views import means_of
from service.errors import InputError
from service.fewshot.classifier_fit import ClassifierFit, ViewedRows, fit_classifier, presence
from service.fewshot.duplicates import MAX_ROWS, joined_by_similarity, similarity_of_copies
from service.fewshot.fit import Counted
from service.fewshot.head import TeachingViews
from service.fewshot.heldout import without_scores as without_scores
from service.fewshot.label_quality import refuse_conflicts
from service.fewshot.portable import to_bytes, to_plain
from service.fewshot.report import GroupingReport
from service.fewshot.semi_supervision.semi_supervised import UnlabelledScans

Kind: TypeAlias = Literal["single_label", "multi_label"]
SINGLE: Kind = "single_label"
MULTI: Kind = "multi_label"
REPORT_DIGITS = 6
MAX_COMPARED = 10_000  # examples without ids: comparing all pairs takes some seconds


@dataclass(frozen=True, slots=True)
class UnlabelledSelection:
    """Scans that take part in a fit without a label.

    Attributes:
        collection: None = none, also where the version before had some.
        where: filter of the scans; ``filter`` as the request wrote it.
    """

    collection: str | None = None
    where: ScanFilter = field(default_factory=ScanFilter)
    filter: Mapping[str, Any] = field(default_factory=dict)


def names_patients(where: ScanFilter) -> bool:
    """Whether a filter names subjects or studies, and so must not be stored."""
    ids = (where.subject_ids, where.study_ids, where.not_subject_ids, where.not_study_ids)
    inner = (*where.all_of, *where.any_of, *where.none_of)
    return any(ids) or any(map(names_patients, inner))


@dataclass(frozen=True, slots=True)
class UnlabelledPool:
    """Unlabelled scans as columns of length U, none of which is an example of the fit.

    Attributes:
        groups: as those of examples.
        ids: of the subject and the study.
        example_ids: of scans that an earlier version used; None = not yet listed.
        settings: for the version: where they come from.
    """

    embeddings_UD: Floats
    groups: Sequence[str]
    ids: Sequence[Ids]
    scans: Sequence[tuple[str, str]]
    sha256s: Sequence[str | None]
    example_ids: Sequence[str | None]
    settings: Mapping[str, Any]

    def take(self, rows: Sequence[int]) -> "UnlabelledPool":
        """Some of the scans."""
        return UnlabelledPool(
            self.embeddings_UD[list(rows)],
            [self.groups[row] for row in rows],
            [self.ids[row] for row in rows],
            [self.scans[row] for row in rows],
            [self.sha256s[row] for row in rows],
            [self.example_ids[row] for row in rows],
            self.settings,
        )

    def without(self, examples: Examples) -> "UnlabelledPool":
        """Those that are no examples, by scan and by file."""
        scans, files = frozenset(examples.scans), frozenset(examples.sha256s) - {None}
        pairs = enumerate(zip(self.scans, self.sha256s, strict=True))
        return self.take([u for u, (s, f) in pairs if s not in scans and f not in files])

    def beside(
        self, examples: Examples, grouping: "Grouping", near_duplicate_cosine: float
    ) -> UnlabelledScans:
        """For the fit: grouped with the examples and among themselves, as ``grouped`` does."""
        groups = joined_by_study(self.groups, self.ids, examples.ids())
        count, bare = len(groups), sum(ids == (None, None) for ids in self.ids)
        if not bare or bare > MAX_ROWS:
            return UnlabelledScans(self.embeddings_UD, groups)
        similarity = grouping.report.similarity
        if similarity is None:
            similarity = similarity_of_copies(
                examples.embeddings_ND, examples.labels, min_similarity=near_duplicate_cosine
            )
        is_bare = [ids == (None, None) for ids in self.ids] + [False] * len(examples)
        joined, _ = joined_by_similarity(
            [*groups, *grouping.groups],
            np.array(is_bare),
            np.concatenate([self.embeddings_UD, examples.embeddings_ND]),
            min_similarity=similarity,
        )
        return UnlabelledScans(self.embeddings_UD, joined[:count])

    def to_records(self) -> tuple[NewExample, ...]:
        """What the version lists, so that an erasure finds it."""
        columns = zip(self.example_ids, self.scans, self.sha256s, strict=True)
        return tuple(NewExample("", UNLABELLED, *row) for row in columns)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a version is fitted. None = the default, or the option of the version before.

    Attributes:
        class_weights: class -> weight relative to the others, or label -> weight relative to its
            absence; empty = balanced.
        counted: whether frames of one patient and class count once together, or one by one.
        thresholds: label -> probability from which it is present; multi-label only.
        unlabelled: further scans that take part; None = those of the version before.
        views: True = fit to the mean embedding of seven views of each example, and be asked with
            such; ``examples`` = fit to the seven views, and be asked with single embeddings;
            False = no views; ``auto``, which is the default = ``examples`` or none.
    """

    kind: Kind = SINGLE
    class_weights: Mapping[str, float] | None = None
    counted: Counted | None = None
    thresholds: Mapping[str, float] | None = None
    unlabelled: UnlabelledSelection | None = None
    views: Views | None = None

    @property
    def is_given(self) -> bool:
        """Whether any option is given."""
        options = (
            *(self.class_weights, self.counted, self.thresholds),
            *(self.unlabelled, self.views),
        )
        return any(option is not None for option in options)

    def after(self, base: "FitOptions", names: Collection[str]) -> "FitOptions":
        """These options; where they are None those of ``base``, restricted to ``names``."""

        def inherited(
            own: Mapping[str, float] | None, known: Mapping[str, float] | None
        ) -> Mapping[str, float]:
            if own is not None:
                return own
            return {name: value for name, value in (known or {}).items() if name in names}

        return FitOptions(
            base.kind,
            inherited(self.class_weights, base.class_weights),
            self.counted or base.counted,
            inherited(self.thresholds, base.thresholds),
            self.unlabelled,
            base.views if self.views is None else self.views,
        )

    def in_one_spelling(self) -> "FitOptions":
        """These options by ``class_name``. Raises InputError: two values of one name."""
        return replace(
            self,
            class_weights=by_class_name(self.class_weights),
            thresholds=by_class_name(self.thresholds),
        )

    def to_settings(self) -> dict[str, Any]:
        """The settings that a version stores beside its views: what differs from the defaults."""
        options = {
            "class_weights": dict(self.class_weights or {}),
            "counted": self.counted if self.counted != "groups" else None,
            "thresholds": dict(self.thresholds or {}),
        }
        return {name: value for name, value in options.items() if value}


def options_of(kind: str, settings: Mapping[str, Any]) -> FitOptions:
    """The options in the settings of a version."""
    # Thresholds of a single-label version belong to its head and to no other.
    thresholds = settings.get("thresholds") if kind == MULTI else None
    return FitOptions(
        MULTI if kind == MULTI else SINGLE,
        settings.get("class_weights"),
        settings.get("counted"),
        thresholds,
        views=wanted_views(settings),
    )


def asks_views(version: ClassifierVersion) -> bool:
    """Whether a version was fitted to means of views, and must be asked with such."""
    return version.settings.get(VIEWS) is True


def names_of(examples: Examples, kind: str) -> frozenset[str]:
    """The classes or labels of the examples."""
    names = frozenset(examples.labels)
    return frozenset[str]().union(*map(labels_of, names)) if kind == MULTI else names


def fitted_version(
    examples: Examples,
    options: FitOptions,
    settings: Mapping[str, Any],
    author: Author,
    encoder_id: str,
    near_duplicate_cosine: float,
    pool: UnlabelledPool | None = None,
    views: ChosenViews | None = None,
) -> NewVersion:
    """Fit and calibrate; the version holds the out-of-fold scores.

    Args:
        near_duplicate_cosine: of the encoder of the examples; from it on, frames without ids are
            of one group.
        views: what it learns of the views of its examples; None = nothing.

    Raises:
        ConflictingLabels: equal examples carry different labels.
        NotEnoughExamples, InputError: as ``fit_classifier``.
    """
    if options.kind == SINGLE and options.thresholds:
        raise InputError("thresholds belong to multi-label classifiers")
    views = views or ChosenViews()
    grouping = grouped(examples, near_duplicate_cosine, () if pool is None else pool.ids)
    names = [examples.name(row) for row in range(len(examples))]
    refuse_conflicts(examples.embeddings_ND, examples.labels, names)
    unlabelled = None if pool is None else pool.beside(examples, grouping, near_duplicate_cosine)
    fit = _fit(examples, grouping.groups, options, encoder_id, unlabelled, views)
    settings = {**settings, **options.to_settings(), **views.to_settings()}
    records = to_records(examples, grouping.groups)
    if pool is not None:
        settings["unlabelled"] = {**pool.settings, "scans": len(pool.scans)}
        records = (*records, *pool.to_records())
    report = replace(
        fit.report,
        grouping=grouping.report,
        warnings=(*grouping.warnings(), *fit.report.warnings),
    )
    return NewVersion(
        encoder_id=encoder_id,
        classes=fit.classifier.labels,
        artifact=to_bytes(fit.classifier.without_anchors()),
        out_of_fold=fit.out_of_fold.to_bytes(),
        report=to_plain(report, REPORT_DIGITS),
        settings=settings,
        examples=records,
        author=author,
        kind=options.kind,
    )


def _fit(
    examples: Examples,
    groups: tuple[str, ...],
    options: FitOptions,
    encoder_id: str,
    unlabelled: UnlabelledScans | None,
    views: ChosenViews,
) -> ClassifierFit:
    if options.kind == MULTI:
        labels_by_key = {key: labels_of(key) for key in set(examples.labels)}
        targets = presence([labels_by_key[key] for key in examples.labels])
    else:
        targets = {None: examples.labels}
    rows: Floats | ViewedRows | TeachingViews = examples.embeddings_ND
    if views.rows_NVD is not None and views.views == "examples":
        rows = TeachingViews(examples.embeddings_ND, views.rows_NVD)
    elif views.rows_NVD is not None:
        rows = ViewedRows(examples.embeddings_ND, means_of(views.rows_NVD))
    return fit_classifier(
        rows,
        targets,
        groups,
        encoder_id=encoder_id,
        thresholds=options.thresholds,
        weights=options.class_weights,
        counted=options.counted or "groups",
        unlabelled=unlabelled,
    )


# groups ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grouping:
    """One group per example, and how the groups came about.

    Attributes:
        without_subject: examples with a study and no subject, of which ``linked`` count with the
            only subject of their study; ``shared`` are of studies that name several subjects.
        has_subjects: whether other examples have subjects.
    """

    groups: tuple[str, ...]
    report: GroupingReport
    without_subject: int = 0
    linked: int = 0
    shared: int = 0
    has_subjects: bool = False

    def warnings(self) -> tuple[str, ...]:
        """Warnings for readers of the report."""
        return (*self._warnings_of_studies(), *self._warnings_of_missing_ids())

    def _warnings_of_missing_ids(self) -> tuple[str, ...]:
        without_ids, count = self.report.without_ids, len(self.groups)
        if not without_ids:
            return ()
        start = f"patient ids are missing for {without_ids} of {count} examples: "
        if self.report.similarity is None:
            return (f"{start}each image stands for a patient; too many to look for copies",)
        return (f"{start}near-duplicates count as one patient, other views of a patient do not",)

    def _warnings_of_studies(self) -> tuple[str, ...]:
        """Where only some examples have subjects, one patient may be in two groups."""
        if not self.without_subject or not self.has_subjects:
            return ()
        alone = self.without_subject - self.linked
        start = (
            f"subject ids are missing for {self.without_subject} of {len(self.groups)} examples "
            f"that have a study: {self.linked} count with the subject of their study, "
            f"{alone} with their study alone"
        )
        if not self.shared:
            return (start,)
        return (f"{start}, {self.shared} of them in studies that name several subjects",)


def grouped(
    examples: Examples, near_duplicate_cosine: float, others: Sequence[Ids] = ()
) -> Grouping:
    """Group by subject, else by study; examples without either join similar examples.

    The order of the examples changes neither groups nor names.

    Args:
        near_duplicate_cosine: of the encoder of the examples.
        others: ids of further scans, which may name the subject of a study.
    """
    ids, count = examples.ids(), len(examples)
    subjects = subjects_of_studies(chain(ids, others))
    studies = [
        study_id for subject_id, study_id in ids if subject_id is None and study_id is not None
    ]
    of_studies = partial(
        Grouping,
        without_subject=len(studies),
        linked=sum(subjects.get(study) is not None for study in studies),
        shared=sum(study in subjects and subjects[study] is None for study in studies),
        has_subjects=any(subject_id is not None for subject_id, _ in ids),
    )
    groups = joined_by_study(examples.groups, ids, others)
    is_bare_N = np.fromiter((i == (None, None) for i in ids), np.bool_, count)
    bare = int(is_bare_N.sum())
    if not bare or bare > MAX_COMPARED:
        return of_studies(tuple(groups), GroupingReport(bare, 0, None))
    similarity = similarity_of_copies(
        examples.embeddings_ND, examples.labels, min_similarity=near_duplicate_cosine
    )
    groups, is_joined_N = joined_by_similarity(
        groups, is_bare_N, examples.embeddings_ND, min_similarity=similarity
    )
    return of_studies(tuple(groups), GroupingReport(bare, int(is_joined_N.sum()), similarity))
