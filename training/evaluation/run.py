"""The whole evaluation: encoders x sets -> one document.

Shape suffixes: N frames, D feature width, M frames of a map.
"""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from rich.progress import track

from service.errors import InputError
from training.catalogue.contents import content_of
from training.catalogue.manifest import ManifestRow
from training.evaluation.cache import features
from training.evaluation.clusters import umap_plane
from training.evaluation.compare import over_groups
from training.evaluation.cost import Cost
from training.evaluation.document import (
    SCHEMA_VERSION,
    differences_of_ways,
    means,
    paired,
    result,
)
from training.evaluation.encoders import FrameEncoder, most_exact
from training.evaluation.protocol import Floats
from training.evaluation.scores import Effort, SetScores, evaluate_set, unit_rows
from training.evaluation.served import Way
from training.evaluation.sets import EvaluationSet

MAP_FRAMES = 600  # most points of one map; more only hide each other
CENTRED = "_centred"
BOTH: tuple[Way, ...] = ("whole", "served")
BUNDLE = "bundle_"  # before the names of precisions
BEFORE = "before_"  # the same, of the bundle that the evaluated one would replace
_PACKAGES = ("numpy", "onnxruntime", "scikit-learn", "timm", "torch")


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What one evaluation measures.

    Attributes:
        encoders: all that are evaluated; the first is the shipped one, evaluated as it is served.
        corpus: unlabelled rows whose mean centres the features; may be empty.
        cache: folder for features.
        ways: what the encoders get of each file: whole frames, and what the service uses of them;
            other ways tell which part of the analysis a difference comes from.
    """

    encoders: Sequence[FrameEncoder]
    sets: Sequence[EvaluationSet]
    corpus: Sequence[ManifestRow]
    cache: Path
    effort: Effort = field(default_factory=Effort)
    jobs: int = 1
    maps: bool = True
    ways: Sequence[Way] = BOTH


@dataclass(frozen=True, slots=True)
class _Form:
    """An encoder as it is evaluated: in one way, and centred or as it is."""

    encoder: FrameEncoder
    way: Way
    centred: bool
    name: str


Features = dict[str, dict[str, Floats]]  # evaluated encoder -> set -> unit features


def evaluate(plan: EvaluationPlan, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Measure everything in ``plan``; the result is what ``evaluation.json`` holds.

    Args:
        costs: of the encoders, by name, and of ``dinov3_vitb16`` where it was measured.

    Raises:
        InputError: no encoder or no set, names twice, or a frame that does not decode.
    """
    names = [encoder.name for encoder in plan.encoders]
    if not names or not plan.sets or len(set(names)) < len(names):
        raise InputError(f"expected sets and encoders of different names, got {names}")
    embeddings = _features(plan)
    results = _score(embeddings, plan)
    outside = [dataset.name for dataset in plan.sets if not dataset.in_domain]
    everything = [dataset.name for dataset in plan.sets]
    reference = costs.get("dinov3_vitb16")
    ways = _ways_of(plan)
    served = ways[names[0]].get("served")
    return {
        "schema_version": SCHEMA_VERSION,
        "effort": asdict(plan.effort),
        "centred_by": "mean of the corpus frames" if plan.corpus else "mean of the set's frames",
        "shipped": names[0],
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "sets": [_about_set(dataset) for dataset in plan.sets],
        "encoders": list(_about_encoders(plan, embeddings, costs)),
        "reference_cost": asdict(reference) if reference else None,
        "results": {
            name: {s: result(evaluated) for s, evaluated in by_set.items()}
            for name, by_set in results.items()
        },
        "means": {"outside": means(results, outside), "all": means(results, everything)},
        "paired": paired(results, names[0], outside),
        "paired_served": paired(results, served, outside) if served else {},
        "ways": differences_of_ways(results, ways, outside),
        "fidelity": _fidelity(plan, embeddings, results, outside),
        "maps": _maps(embeddings, plan) if plan.maps else [],
    }


def _forms(plan: EvaluationPlan) -> Iterator[_Form]:
    """Bundles as served and centred, others centred or one form; ways without the second form."""
    for encoder in plan.encoders:
        is_first = encoder is plan.encoders[0]
        is_bundle = is_first or encoder.name.startswith((BUNDLE, BEFORE))
        for way in plan.ways:
            name = encoder.name if way == "whole" else f"{encoder.name}_{way}"
            yield _Form(encoder, way, not is_bundle, name)
            if is_bundle and way == "whole" and not encoder.name.startswith(BEFORE):
                yield _Form(encoder, way, True, encoder.name + CENTRED)


def _ways_of(plan: EvaluationPlan) -> dict[str, dict[str, str]]:
    """Encoder -> way -> name of the evaluated form; without the second form of bundles."""
    found: dict[str, dict[str, str]] = {}
    for form in _forms(plan):
        if not form.name.endswith(CENTRED):
            found.setdefault(form.encoder.name, {})[form.way] = form.name
    return found


def _features(plan: EvaluationPlan) -> Features:
    """Unit features of every evaluated form."""
    embeddings: Features = {}
    work = [(form, dataset) for form in _forms(plan) for dataset in plan.sets]
    for form, dataset in track(work, "features"):
        raw_ND = features(form.encoder, dataset.rows, plan.cache, form.way)
        centre_D = _centre(form, raw_ND, plan) if form.centred else None
        embeddings.setdefault(form.name, {})[dataset.name] = unit_rows(raw_ND, centre_D)
    return embeddings


def _centre(form: _Form, raw_ND: Floats, plan: EvaluationPlan) -> Floats:
    """Of the corpus in the same way: the mean of whole frames would not centre cropped ones."""
    known_ND = raw_ND
    if plan.corpus:
        known_ND = features(form.encoder, plan.corpus, plan.cache, form.way)
    mean_D: Floats = known_ND.mean(0, dtype=np.float64)
    return mean_D


def _score(embeddings: Features, plan: EvaluationPlan) -> dict[str, dict[str, SetScores]]:
    work = [(name, dataset) for name in embeddings for dataset in plan.sets]
    scores = Parallel(n_jobs=plan.jobs, return_as="generator")(
        delayed(evaluate_set)(embeddings[name][dataset.name], dataset.labelled, plan.effort)
        for name, dataset in work
    )
    scores = track(scores, "heads", total=len(work))
    results: dict[str, dict[str, SetScores]] = {}
    for (name, dataset), evaluated in zip(work, scores, strict=True):
        results.setdefault(name, {})[dataset.name] = evaluated
    return results


def _about_set(dataset: EvaluationSet) -> dict[str, Any]:
    labelled = dataset.labelled
    tested_N = ~labelled.support_N
    return {
        "name": dataset.name,
        "frames": int(tested_N.sum()),
        "groups": len(np.unique(labelled.groups_N[tested_N])),
        "classes": {c: int((labelled.labels_N[tested_N] == c).sum()) for c in labelled.classes},
        "support_frames": int(labelled.support_N.sum()),
        "in_domain": dataset.in_domain,
        "content": content_of(dataset.rows),
    }


def _about_encoders(
    plan: EvaluationPlan, embeddings: Features, costs: Mapping[str, Cost]
) -> Iterator[dict[str, Any]]:
    for form in _forms(plan):
        cost = costs.get(form.encoder.name) if form.way == "whole" else None
        yield {
            "name": form.name,
            "key": form.encoder.key,
            "dim": int(embeddings[form.name][plan.sets[0].name].shape[1]),
            "centred": form.centred,
            "way": form.way,
            "cost": asdict(cost) if cost else None,
        }


def _fidelity(
    plan: EvaluationPlan,
    embeddings: Features,
    results: Mapping[str, Mapping[str, SetScores]],
    outside: Sequence[str],
) -> dict[str, Any]:
    """Each precision of a bundle against its fp32: cosines, and probe points lost in the mean.

    Where a bundle has no fp32 network its fp16 one stands for it: the same weights in halves,
    computed in float32 on a CPU, at a cosine of 1.0000 (model card).
    """
    evaluated = [e.name for e in plan.encoders if e.name.startswith(BUNDLE)]
    exact = most_exact([name.removeprefix(BUNDLE) for name in evaluated])
    if exact is None:
        return {}
    facts, reference = {}, f"{BUNDLE}{exact}"
    for name in evaluated:
        cosines = np.concatenate(
            [(embeddings[name][s] * embeddings[reference][s]).sum(1) for s in embeddings[name]]
        )
        points_lost = None
        if outside:
            full, rounded = (
                over_groups([results[n][s].full for s in outside]).value for n in (reference, name)
            )
            points_lost = round(full - rounded, 3)
        facts[name.removeprefix(BUNDLE)] = {
            "against": exact,
            "frames": len(cosines),
            "mean_cosine": round(float(cosines.mean()), 5),
            "min_cosine": round(float(cosines.min()), 5),
            "probe_points_lost": points_lost,
        }
    return facts


def _maps(embeddings: Features, plan: EvaluationPlan) -> list[dict[str, Any]]:
    """Shipped beside teacher: one map per set by class, and one of all sets by set."""
    names = [n for n in (plan.encoders[0].name, "teacher") if n in embeddings]
    rng = np.random.default_rng(0)
    rows = {s.name: _map_rows(s, rng) for s in plan.sets}
    maps = []
    for name in track(names, "maps"):
        parts = [embeddings[name][s.name][rows[s.name]] for s in plan.sets]
        for dataset, features_MD in zip(plan.sets, parts, strict=True):
            groups = dataset.labelled.labels_N[rows[dataset.name]].tolist()
            maps.append(_map(dataset.name, name, features_MD, groups))
        if len(plan.sets) > 1:
            groups = [s.name for s in plan.sets for _ in rows[s.name]]
            maps.append(_map("all sets", name, np.concatenate(parts), groups))
    return maps


def _map_rows(dataset: EvaluationSet, rng: np.random.Generator) -> list[int]:
    evaluated = np.flatnonzero(~dataset.labelled.support_N)
    rows: list[int] = sorted(rng.permutation(evaluated)[:MAP_FRAMES].tolist())
    return rows


def _map(title: str, encoder: str, features_MD: Floats, groups: list[str]) -> dict[str, Any]:
    points = [[round(float(x), 3), round(float(y), 3)] for x, y in umap_plane(features_MD)]
    return {"title": title, "encoder": encoder, "points": points, "groups": groups}
