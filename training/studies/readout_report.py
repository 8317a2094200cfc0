"""Designs of the read-out against a bundle as it serves: no weight of the trunk is trained.

The trunk of the bundle pools every frame once: of the corpus several views with the border of the
next encoder, of the evaluated sets both ways with that border and with the bundle's own. Every
design is fitted on the corpus alone. The sets judge
it.

Shape suffixes: N frames, R regions of all files, K pooled features, D embedding width.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.arrays import Floats, unit_rows
from service.embedding.bundle import read_manifest
from service.imaging.analysis.preprocess import PreprocessSpec, fit, normalise
from training.bundle.card import table
from training.bundle.onnx_files import open_pooled
from training.bundle.recovered import read_trunk
from training.catalogue.contents import content_of, write_whole
from training.catalogue.manifest import ManifestRow
from training.evaluation.compare import HeldOutPredictions, paired_over_groups, paired_over_seeds
from training.evaluation.protocol import LabelledSet, full_probe, shot_scores
from training.evaluation.served import Way, file_rows, used_pixels
from training.evaluation.sets import EvaluationSet, facts_of
from training.refit.corpus_views import Pool, read_views
from training.refit.refit import float_network
from training.studies.readout_designs import CorpusKeys, ReadoutDesign, fit_design

log = logging.getLogger("training")
SHOTS = (5, 10, 20)
WAYS: tuple[Way, ...] = ("served", "whole")
Embed: TypeAlias = Callable[[Floats], Floats]  # pooled (R, K) -> embeddings (R, D)
COMPARED: tuple[tuple[Way, Way], ...] = (  # of a design, of the base
    ("served", "served"),
    ("served", "whole"),
    ("whole", "whole"),
)
_BATCH = 8


@dataclass(frozen=True, slots=True)
class PooledSet:
    """Pooled features of all regions of the files of a set.

    Attributes:
        counts: regions of each file.
    """

    pooled_RK: Floats
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WayScores:
    """Balanced accuracies per number of shots, one per seed, and held-out predictions."""

    shots: Mapping[int, list[float]]
    full: HeldOutPredictions


Scored: TypeAlias = Mapping[tuple[Way, str], WayScores]  # way and name of the set


@dataclass(frozen=True, slots=True)
class DesignScores:
    """One row of the report."""

    name: str
    scored: Scored


def pool_set(
    evaluated: EvaluationSet, way: Way, pool: Pool, spec: PreprocessSpec, folder: Path
) -> PooledSet:
    """Pooled features of every region of a set's files, or what the folder holds of them.

    Args:
        folder: of one trunk and one input.

    Raises:
        InputError: a frame does not decode.
    """
    path = folder / f"{content_of(evaluated.rows)}-{way}.npz"
    if not path.exists():
        log.info("pooling", extra={"frames": len(evaluated.rows), "way": way})
        used = [used_pixels(row.path, way) for row in evaluated.rows]
        squares = [fit(region_hw, spec) for regions in used for region_hw in regions]
        pooled = [
            pool(normalise(np.stack(squares[start : start + _BATCH]), spec))
            for start in range(0, len(squares), _BATCH)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(
            unfinished,
            pooled=np.concatenate(pooled).astype(np.float16),
            counts=[len(regions) for regions in used],
        )
        unfinished.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        pooled_RK: Floats = stored["pooled"].astype(np.float32)
        return PooledSet(pooled_RK, tuple(stored["counts"].tolist()))


class ReadoutStudy:
    """A trunk, what it pooled, and the designs that are evaluated on it; resumable."""

    def __init__(
        self,
        source: Path,
        border: float,
        corpus: Sequence[ManifestRow],
        evaluated: Sequence[EvaluationSet],
        run: Path,
        *,
        shots: Sequence[int] = SHOTS,
        seeds: int,
        threads: int = 0,
    ) -> None:
        """Open the networks of a bundle.

        Args:
            border: of the designs; the bundle keeps its own.
            run: keeps pooled features and scores.
            threads: of the trunk; 0 = every core.

        Raises:
            InputError: the bundle has no float network of a ResNet-50 v2 that ends at stage 3.
        """
        manifest = read_manifest(source)
        self._pool = open_pooled(source / manifest.networks[manifest.default_precision], threads)
        self._readout = read_trunk(float_network(source, manifest))[1]
        self._bare, self._bordered = manifest.spec, replace(manifest.spec, border=border)
        self._corpus, self._evaluated = corpus, evaluated
        self._content = content_of(corpus)
        self._facts = facts_of(evaluated)
        self._folder = run / manifest.encoder_id
        self._shots, self._seeds = shots, seeds
        self._version = manifest.version

    def base(self) -> DesignScores:
        """The bundle as it serves: its read-out and its border."""
        return self._score(f"{self._version} as it serves", "", self._bare, lambda: self._shipped)

    def bordered(self) -> DesignScores:
        """The read-out of the bundle with the border of the designs."""
        name = f"{self._version} with the border"
        return self._score(name, "", self._bordered, lambda: self._shipped)

    def design(self, design: ReadoutDesign) -> DesignScores:
        """A design, fitted on the corpus.

        Raises:
            InputError: a frame does not decode, or there are no more frames than axes.
        """

        def make() -> Embed:
            folder = self._folder_of(self._bordered) / f"corpus-{self._content}"
            views = read_views(self._corpus, design.views, self._pool, self._bordered, folder)
            return fit_design(design, views, self._keys())

        facts = f"{design} {self._content} {self._keys()}"
        return self._score(design.name, facts, self._bordered, make)

    def _shipped(self, pooled_RK: Floats) -> Floats:
        return self._readout.embed(pooled_RK)

    def _folder_of(self, spec: PreprocessSpec) -> Path:
        return self._folder / f"{spec.side_px}px-border-{spec.border:g}"

    def _keys(self) -> CorpusKeys:
        """Groups and labels of the corpus, but no label of a frame that a set learns from."""
        supports = {row.path for one in self._evaluated for row in one.rows}
        labels = [
            f"{row.dataset}/{row.label}" if row.label and row.path not in supports else ""
            for row in self._corpus
        ]
        return CorpusKeys([row.group for row in self._corpus], labels)

    def _score(
        self, name: str, facts: str, spec: PreprocessSpec, make: Callable[[], Embed]
    ) -> DesignScores:
        """Evaluate one way to embed on every set, or read what the folder holds of it."""
        folder = self._folder_of(spec)
        made_of = f"{name} {facts} {self._facts} {self._shots} {self._seeds}"
        key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        path = folder / "scores" / f"{key}.json"
        labelled = {one.name: one.labelled for one in self._evaluated}
        if not path.exists():
            log.info("evaluating", extra={"design": name})
            embed = make()
            documents = []
            for one, way in ((one, way) for one in self._evaluated for way in WAYS):
                pooled = pool_set(one, way, self._pool, spec, folder)
                rows_ND = unit_rows(file_rows(embed(pooled.pooled_RK), pooled.counts))
                scores = _probe(rows_ND, one.labelled, self._shots, self._seeds)
                documents.append({"way": way, "set": one.name, **scores})
            write_whole(path, json.dumps(documents))
        stored = json.loads(path.read_text())
        scored = {(one["way"], one["set"]): _read(one, labelled[one["set"]]) for one in stored}
        return DesignScores(name, scored)


def _probe(
    rows_ND: Floats, labelled: LabelledSet, shots: Sequence[int], seeds: int
) -> dict[str, Any]:
    rows, guesses = full_probe(rows_ND, labelled)
    scores = {k: shot_scores(rows_ND, labelled, k, seeds) for k in shots}
    return {"shots": scores, "rows": rows.tolist(), "guesses": guesses.tolist()}


def _read(stored: Mapping[str, Any], labelled: LabelledSet) -> WayScores:
    full = HeldOutPredictions(labelled, np.array(stored["rows"]), np.array(stored["guesses"]))
    return WayScores({int(k): scores for k, scores in stored["shots"].items()}, full)


def report(base: DesignScores, designs: Sequence[DesignScores]) -> str:
    """Both tables, Markdown: scores of every set, and what each design gains over ``base``."""
    names = list(dict.fromkeys(name for _, name in base.scored))
    shots = list(next(iter(base.scored.values())).shots)
    scores = [
        [row.name, way, *(_written(row.scored[way, name]) for name in names)]
        for row in (base, *designs)
        for way in WAYS
    ]
    gains = [
        [design.name, f"{ours} - {theirs}", *_gains(design.scored, base.scored, ours, theirs)]
        for design in designs
        for ours, theirs in COMPARED
    ]
    labels = [*map(str, shots), "all"]
    return "\n\n".join(
        [
            table([f"balanced accuracy, {' / '.join(labels)}", "way", *names], scores),
            table(["gain, mean of the sets", "ways", *labels, "without one set, at least"], gains),
        ]
    )


def _written(scores: WayScores) -> str:
    means = [float(np.mean(of_seeds)) for of_seeds in scores.shots.values()]
    return " / ".join(f"{value:.1f}" for value in (*means, scores.full.score))


def _gains(ours: Scored, theirs: Scored, our_way: Way, their_way: Way) -> list[str]:
    """Per number of shots and with all labels the mean gain; and the least without one set."""
    mine = {name: scores for (way, name), scores in ours.items() if way == our_way}
    other = {name: theirs[their_way, name] for name in mine}
    shots = next(iter(mine.values())).shots
    few = [
        paired_over_seeds(
            {name: scores.shots[k] for name, scores in mine.items()},
            {name: scores.shots[k] for name, scores in other.items()},
        )
        for k in shots
    ]
    every = paired_over_groups(
        [mine[name].full for name in mine], [other[name].full for name in mine]
    )
    gain_of = {
        name: float(
            np.mean([np.subtract(mine[name].shots[k], other[name].shots[k]) for k in shots])
        )
        for name in mine
    }
    without = [(sum(gain_of.values()) - gain) / max(1, len(mine) - 1) for gain in gain_of.values()]
    written = [f"{g.value:+.1f} [{g.low:+.1f}, {g.high:+.1f}]" for g in (*few, every)]
    return [*written, f"{min(without):+.1f}"]
