"""Examples -> a version to be stored, of either kind.

Shape suffixes: N examples, D embedding width.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.records import Author, NewVersion
from service.classifiers.examples import Example, labels_of, to_records
from service.classifiers.grouping import Grouping, grouped
from service.classifiers.loaded import kept_trust
from service.classifiers.loaded_labels import kept_labels
from service.errors import InputError
from service.fewshot.calibrator import fit_calibrator
from service.fewshot.fit import Fit, fit
from service.fewshot.head import to_npz
from service.fewshot.label_quality import refuse_conflicts
from service.fewshot.multilabel import MultiLabelFit, fit_labels
from service.fewshot.multilabel_files import stacked_head
from service.fewshot.weights import Counted

Floats: TypeAlias = npt.NDArray[np.float32]
Kind: TypeAlias = Literal["single_label", "multi_label"]
SINGLE: Kind = "single_label"
MULTI: Kind = "multi_label"


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a version is fitted, beside its examples. None = the default, or as the version before.

    Attributes:
        class_weights: class or label -> how much it counts beside the others (of a label: beside
            its absence); empty = balanced.
        counted: whether frames of one patient and class count once together, or one by one.
        thresholds: label -> probability from which it counts as present; multi-label only.
    """

    kind: Kind = SINGLE
    class_weights: Mapping[str, float] | None = None
    counted: Counted | None = None
    thresholds: Mapping[str, float] | None = None

    @property
    def says_something(self) -> bool:
        """Whether any option is given."""
        return any(v is not None for v in (self.class_weights, self.counted, self.thresholds))

    def after(self, base: "FitOptions", names: Collection[str]) -> "FitOptions":
        """These, and where they say nothing those of ``base``, as far as ``names`` go on."""

        def inherited(
            given: Mapping[str, float] | None, known: Mapping[str, float] | None
        ) -> Mapping[str, float]:
            kept = {name: value for name, value in (known or {}).items() if name in names}
            return kept if given is None else given

        return FitOptions(
            base.kind,
            inherited(self.class_weights, base.class_weights),
            self.counted or base.counted,
            inherited(self.thresholds, base.thresholds),
        )

    def to_settings(self) -> dict[str, Any]:
        """What a version remembers: only what differs from the defaults."""
        given = {
            "class_weights": dict(self.class_weights or {}),
            "counted": self.counted if self.counted != "groups" else None,
            "thresholds": dict(self.thresholds or {}),
        }
        return {name: value for name, value in given.items() if value}


def options_of(kind: str, settings: Mapping[str, Any]) -> FitOptions:
    """The options that ``to_settings`` remembered."""
    # Thresholds of a single-label version are set on the version and judged (``thresholds``).
    thresholds = settings.get("thresholds") if kind == MULTI else None
    return FitOptions(
        MULTI if kind == MULTI else SINGLE,
        settings.get("class_weights"),
        settings.get("counted"),
        thresholds,
    )


def names_of(examples: Sequence[Example], kind: str) -> frozenset[str]:
    """Classes or labels that occur."""
    if kind == MULTI:
        return frozenset[str]().union(*(labels_of(example.label) for example in examples))
    return frozenset(example.label for example in examples)


@dataclass(frozen=True, slots=True)
class ToFit:
    """What a fit takes beside the labels of its examples."""

    embeddings_ND: Floats
    grouping: Grouping
    options: FitOptions
    encoder_id: str


def to_fit(examples: Sequence[Example], options: FitOptions, encoder_id: str) -> ToFit:
    """Stack and group the examples, once: 100,000 of them are half a gigabyte."""
    embeddings_ND = stacked(examples)
    return ToFit(embeddings_ND, grouped(examples, embeddings_ND), options, encoder_id)


def stacked(examples: Sequence[Example]) -> Floats:
    """embeddings_ND; no copy where the examples are the rows of one matrix, in order."""
    rows = [example.embedding_D for example in examples]
    whole_ND = rows[0].base
    if isinstance(whole_ND, np.ndarray) and whole_ND.shape == (len(rows), *rows[0].shape):
        places_N = np.fromiter((_address(row_D) for row_D in rows), np.int64, len(rows))
        if (places_N == _address(whole_ND) + np.arange(len(rows)) * whole_ND.strides[0]).all():
            return whole_ND
    return np.stack(rows)


def _address(array: Floats) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def fit_single(examples: Sequence[Example], wanted: ToFit) -> Fit:
    """Raises NotEnoughExamples, InputError: as ``fewshot.fit``."""
    options = wanted.options
    return fit(
        wanted.embeddings_ND,
        [example.label for example in examples],
        wanted.grouping.groups,
        encoder_id=wanted.encoder_id,
        weights=options.class_weights,
        counted=options.counted or "groups",
    )


def fit_multi(examples: Sequence[Example], wanted: ToFit) -> MultiLabelFit:
    """Raises NotEnoughExamples, InputError: as ``fewshot.multilabel.fit_labels``."""
    options = wanted.options
    return fit_labels(
        wanted.embeddings_ND,
        [labels_of(example.label) for example in examples],
        wanted.grouping.groups,
        encoder_id=wanted.encoder_id,
        thresholds=options.thresholds,
        weights=options.class_weights,
        counted=options.counted or "groups",
    )


def fitted_version(
    examples: Sequence[Example],
    options: FitOptions,
    settings: Mapping[str, Any],
    author: Author,
    encoder_id: str,
) -> NewVersion:
    """Fit, judge and calibrate.

    Raises:
        ConflictingLabels: equal examples carry different labels.
        NotEnoughExamples, InputError: as the fits.
    """
    if options.kind == SINGLE and options.thresholds:
        raise InputError("thresholds belong to multi-label classifiers")
    wanted = to_fit(examples, options, encoder_id)
    names = [example.called for example in examples]
    refuse_conflicts(wanted.embeddings_ND, [example.label for example in examples], names)
    make = _multi if options.kind == MULTI else _single
    classes, head_npz, trust_npz, report = make(examples, wanted)
    grouping = wanted.grouping
    report["grouping"] = grouping.to_json()
    report["warnings"] = [*grouping.warnings(), *report["warnings"]]
    return NewVersion(
        encoder_id=encoder_id,
        classes=classes,
        head_npz=head_npz,
        report=report,
        settings={**settings, **options.to_settings()},
        trust_npz=trust_npz,
        examples=to_records(examples, grouping.groups),
        author=author,
        kind=options.kind,
    )


_Made: TypeAlias = tuple[tuple[str, ...], bytes, bytes, dict[str, Any]]


def _single(examples: Sequence[Example], wanted: ToFit) -> _Made:
    found = fit_single(examples, wanted)
    trusted = fit_calibrator(found, wanted.embeddings_ND)
    report = found.report.to_json() | trusted.to_json()
    return found.head.classes, to_npz(found.head), kept_trust(found.head, trusted), report


def _multi(examples: Sequence[Example], wanted: ToFit) -> _Made:
    found = fit_multi(examples, wanted)
    made = found.made
    return made.labels, to_npz(stacked_head(made)), kept_labels(made), found.report
