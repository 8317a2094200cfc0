"""What a classifier says of embeddings, as the JSON of predictions.

Shape suffixes: Q queries, T frames of a cine, D embedding width.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np

from service.api.heatmaps import HeatmapWish, heatmap_json, missing_heatmap
from service.api.schemas import JsonObject
from service.api.wire import Floats, reference_json
from service.classifiers.evidence import Cine, check_thresholds, cine_of, decisions
from service.classifiers.loaded import LoadedClassifier, Neighbour
from service.embedding.pipeline import MappedImage, UltrasoundTest
from service.errors import InputError
from service.fewshot.calibrator import Answer


@dataclass(frozen=True, slots=True)
class Frame:
    """One used frame of a clip: its number in the file, and how many frames it stands for.

    Of a frame with several regions, each is one: ``region`` says which.
    """

    index: int
    embedding_D: Floats
    copies: int = 1
    region: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One item: what is said of it, and what it was embedded as; None where it failed.

    Attributes:
        frames: of a clip, whose pooled embedding ``embedding_D`` is; empty for a still.
    """

    about: JsonObject
    embedding_D: Floats | None = None
    mapped: MappedImage | None = None
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """How the caller wants to be answered.

    Attributes:
        thresholds: class -> threshold of this request; they count more than the version's.
        ultrasound: tells what is no ultrasound frame; None = the encoder cannot.
    """

    coverage: float
    nearest: int
    heatmap: HeatmapWish = field(default_factory=HeatmapWish)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    ultrasound: UltrasoundTest | None = None


def answer_items(loaded: LoadedClassifier, seen: Sequence[Seen], asked: Asked) -> JsonObject:
    """``items`` in order, failed ones as they are, and what is said of their prediction sets.

    Raises:
        InputError: a threshold or heat map of no class of the version.
    """
    asked.heatmap.check(loaded)
    check_thresholds(loaded, asked.thresholds)
    rows = [item for item in seen if item.embedding_D is not None]
    vectors = [item.embedding_D for item in rows if item.embedding_D is not None]
    stacked_QD = np.stack(vectors) if vectors else np.eye(1, loaded.head.weights_CD.shape[1])
    found = _Answered(loaded, stacked_QD.astype(np.float32), asked)
    items = told(seen, asked, found.item)
    said = {
        "coverage": found.sets.coverage,
        "per_class": found.sets.per_class,
        "not_enough_because": found.sets.not_enough_because,
        "missing": found.sets.missing,
    }
    return {"prediction_sets": said, "items": items}


def told(
    seen: Sequence[Seen],
    asked: Asked,
    say: Callable[[int, MappedImage | None, Sequence[Frame]], JsonObject],
) -> list[JsonObject]:
    """The items in order, failed ones as they are.

    Args:
        say: what is said of the embedding of this row, of those that there are.
    """
    rows = itertools.count()
    return [
        item.about
        if item.embedding_D is None
        else item.about
        | say(next(rows), item.mapped, item.frames)
        | missing_heatmap(asked.heatmap, item.mapped)
        for item in seen
    ]


def answer_cine(loaded: LoadedClassifier, seen: Sequence[Seen], asked: Asked) -> JsonObject:
    """One answer for the items together, which are frames of a cine in their order.

    Frames that failed are left out and named.

    Raises:
        InputError: no frame could be read, or the embeddings cancel out.
    """
    frames = [Frame(i, s.embedding_D) for i, s in enumerate(seen) if s.embedding_D is not None]
    if not frames:
        raise InputError("expected at least one readable frame of the cine, got none")
    cine = _pooled(loaded, frames)
    found = _Answered(loaded, cine.embedding_D[None], asked)
    return found.item(0, None, frames) | {
        "left_out": [i for i, item in enumerate(seen) if item.embedding_D is None]
    }


def _pooled(loaded: LoadedClassifier, frames: Sequence[Frame]) -> Cine:
    embeddings_TD = np.stack([frame.embedding_D for frame in frames])
    return cine_of(loaded, embeddings_TD, [frame.copies for frame in frames])


def _frames_json(loaded: LoadedClassifier, frames: Sequence[Frame], predicted: str) -> JsonObject:
    """Each frame's scores and share, and which carried the answer."""
    classes, cine = loaded.head.classes, _pooled(loaded, frames)
    chosen = classes.index(predicted)
    told = [
        {
            "index": frame.index,
            "region": frame.region,
            "copies": frame.copies,
            "probabilities": dict(zip(classes, cine.probabilities_TC[t].tolist(), strict=True)),
            "image_term": float(cine.terms_TC[t, chosen]),
            "speaks_for": float(cine.speaks_TC[t, chosen]),
        }
        for t, frame in enumerate(frames)
    ]
    carried = dict.fromkeys(frames[t].index for t in cine.carried_by(chosen))
    return {"frames": told, "carried_by": list(carried)}


class _Answered:
    """Answers to all queries at once, told one by one."""

    def __init__(self, loaded: LoadedClassifier, embeddings_QD: Floats, asked: Asked) -> None:
        self._opened = loaded
        self._embeddings_QD = embeddings_QD
        self._asked = asked
        answers, self.sets = loaded.answers(embeddings_QD, asked.coverage)
        self._scores: list[float] | None = None
        if asked.ultrasound is not None:
            self._scores = asked.ultrasound.scores(embeddings_QD).tolist()
            passed = asked.ultrasound.passed(embeddings_QD)
            answers = [
                a if ok else a.as_no_ultrasound() for a, ok in zip(answers, passed, strict=True)
            ]
        self.answers = answers

    def item(
        self, row: int, mapped: MappedImage | None, frames: Sequence[Frame] = ()
    ) -> JsonObject:
        """What is said of one query."""
        answer, loaded = self.answers[row], self._opened
        nearest = loaded.support.nearest(self._embeddings_QD[row], self._asked.nearest)
        members = None if self.sets.members_NC is None else self.sets.members_NC[row].tolist()
        named = None
        if members is not None:
            pairs = zip(loaded.head.classes, members, strict=True)
            named = [name for name, inside in pairs if inside]
        heatmap = None
        if mapped is not None:
            heatmap = heatmap_json(loaded, mapped, answer.predicted, self._asked.heatmap)
        return {
            "label": answer.predicted,
            "probabilities": answer.probabilities,
            "abstained": _abstention(answer),
            "prediction_set": named,
            "distance": answer.distance if loaded.knows_distances else None,
            "distance_percentile": answer.distance_percentile,
            "ultrasound_score": None if self._scores is None else self._scores[row],
            "decisions": self._decisions(answer),
            "nearest": [evidence_json(each, {"label": each.example.label}) for each in nearest],
            "heatmap": heatmap,
            **(_frames_json(loaded, frames, answer.predicted) if frames else {}),
        }

    def _decisions(self, answer: Answer) -> list[JsonObject]:
        given = self._asked.thresholds
        return [
            {
                "label": one.name,
                "probability": one.probability,
                "threshold": one.threshold,
                "called": one.called,
                "set_by": "request" if one.name in given else "version",
            }
            for one in decisions(self._opened, answer.probabilities, given)
        ]


def _abstention(answer: Answer) -> JsonObject | None:
    if answer.abstained_because is None:
        return None
    between = None if answer.between is None else list(answer.between)
    return {"because": answer.abstained_because, "between": between}


def thumbnail_of(scan: tuple[str, str] | None) -> str | None:
    """The path of a stored scan's thumbnail; None for an upload."""
    if scan is None:
        return None
    collection, scan_id = scan
    return f"/v1/collections/{quote(collection)}/scans/{quote(scan_id, safe='')}/thumbnail"


def evidence_json(neighbour: Neighbour, label: JsonObject) -> JsonObject:
    """A labelled example that resembles the item; ``label`` as classifiers of its kind tell it."""
    example = neighbour.example
    thumbnail = thumbnail_of(example.scan)
    likeness = {"similarity": neighbour.similarity, "thumbnail": thumbnail}
    return reference_json(example) | label | likeness
