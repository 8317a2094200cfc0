"""``evaluation.json``: everything that was measured, and the only source of report and card.

Schema, version 1 (all scores in percent; an estimate is {"mean", "low", "high"}, the 95 % interval;
null = not known):

    schema_version  1
    effort          shots, seeds, fractions, fraction_seeds
    centred_by      what the centred encoders were centred by
    shipped         name of the encoder that the others are compared with
    versions        package -> version
    sets            [{name, frames, groups, classes {name: frames}, support_frames, in_domain,
                    content}]
    encoders        [{name, key, dim, centred, way, cost}]; way as ``training.evaluation.served``
                    names it; cost as ``training.evaluation.cost`` gives it
    reference_cost  of the paper's teacher, DINOv3 ViT-B/16, measured in the same run; null
    results         encoder -> set -> {shots {k: estimate + scores}, full (estimate + confusion),
                    fractions {share: estimate}, retrieval {knn, recall_at {k}, map},
                    clusters {silhouette, purity}}
    means           "outside" (sets never seen) and "all" (in-domain ones too) -> encoder ->
                    {k: estimate, "full": estimate, "knn", "map", "silhouette", "purity"}
    ways            encoder -> way -> {"mean" | set -> {k | "full": estimate of it - whole}}; absent
                    in earlier files
    paired          other encoder -> {"mean" | set -> {k | "full": estimate of shipped - other}}
    paired_served   the same of the shipped one as it is served; absent in earlier files
    fidelity        precision -> {against, frames, mean_cosine, min_cosine, probe_points_lost}:
                    against fp32, or fp16 where a bundle has no fp32
                    of the same bundle
    maps            [{title, encoder, points [[x, y]], groups [name per point]}]
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.errors import InputError
from service.fewshot.uncertainty.intervals import Estimate
from training.evaluation.compare import (
    estimate_json,
    over_groups,
    over_seeds,
    paired_over_groups,
    paired_over_seeds,
)
from training.evaluation.scores import SetScores, confusion

SCHEMA_VERSION = 1
FILE_NAME = "evaluation.json"
_KEYS = ("effort", "sets", "encoders", "shipped", "results", "means", "paired", "maps")
Results: TypeAlias = Mapping[str, Mapping[str, SetScores]]  # encoder -> set -> scores


def result(scores: SetScores) -> dict[str, Any]:
    """One encoder on one set."""
    retrieval = scores.retrieval
    return {
        "shots": {
            str(k): estimate_json(over_seeds(s)) | {"scores": [round(v, 3) for v in s]}
            for k, s in scores.shots.items()
        },
        "full": estimate_json(over_groups([scores.full])) | {"confusion": confusion(scores.full)},
        "fractions": {str(f): estimate_json(over_seeds(s)) for f, s in scores.fractions.items()},
        "retrieval": {
            "knn": round(retrieval.knn, 2),
            "recall_at": {str(k): round(v, 2) for k, v in retrieval.recall_at.items()},
            "map": round(retrieval.mean_average_precision, 2),
        },
        "clusters": {
            "silhouette": round(scores.clusters.silhouette, 4),
            "purity": round(scores.clusters.purity, 2),
        },
    }


def means(results: Results, sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Mean over ``sets`` of every encoder; a number of shots counts where every set has it."""
    return {name: _mean([by_set[s] for s in sets]) for name, by_set in results.items() if sets}


def _mean(scores: Sequence[SetScores]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        str(k): estimate_json(over_seeds(np.mean([j.shots[k] for j in scores], axis=0).tolist()))
        for k in _shots(scores)
    }
    fields["full"] = estimate_json(over_groups([j.full for j in scores]))
    fields["knn"] = round(float(np.mean([j.retrieval.knn for j in scores])), 2)
    fields["map"] = round(float(np.mean([j.retrieval.mean_average_precision for j in scores])), 2)
    fields["silhouette"] = round(float(np.mean([j.clusters.silhouette for j in scores])), 4)
    fields["purity"] = round(float(np.mean([j.clusters.purity for j in scores])), 2)
    return fields


def _shots(scores: Sequence[SetScores]) -> list[int]:
    """Numbers of shots that every one of them has."""
    return sorted(set.intersection(*(set(j.shots) for j in scores)))


def paired(results: Results, shipped: str, outside: Sequence[str]) -> dict[str, Any]:
    """Shipped minus every other encoder on the same splits: over ``outside`` and per set."""
    ours = results[shipped]
    return {
        other: _by_part(ours, theirs, outside)
        for other, theirs in results.items()
        if other != shipped
    }


def _by_part(
    ours: Mapping[str, SetScores], theirs: Mapping[str, SetScores], outside: Sequence[str]
) -> dict[str, Any]:
    parts = {name: [name] for name in ours}
    if outside:
        parts = {"mean": list(outside)} | parts
    return {part: _difference(ours, theirs, sets) for part, sets in parts.items()}


def differences_of_ways(
    results: Results, names: Mapping[str, Mapping[str, str]], outside: Sequence[str]
) -> dict[str, Any]:
    """Each encoder in each other way minus the same on whole frames: over ``outside``, per set.

    Args:
        names: encoder -> way -> name in ``results``.
    """
    return {
        encoder: {
            way: _by_part(results[name], results[by_way["whole"]], outside)
            for way, name in by_way.items()
            if way != "whole"
        }
        for encoder, by_way in names.items()
    }


def _difference(
    ours: Mapping[str, SetScores], theirs: Mapping[str, SetScores], sets: Sequence[str]
) -> dict[str, Any]:
    fields: dict[str, Estimate] = {
        str(k): paired_over_seeds(
            {s: ours[s].shots[k] for s in sets}, {s: theirs[s].shots[k] for s in sets}
        )
        for k in _shots([ours[s] for s in sets])
    }
    fields["full"] = paired_over_groups(*([part[s].full for s in sets] for part in (ours, theirs)))
    return {key: estimate_json(estimate) for key, estimate in fields.items()}


def write_document(document: Mapping[str, Any], folder: Path) -> Path:
    """Write ``evaluation.json``; what is not finite becomes null, as JSON has no word for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    text = json.dumps(_finite(document), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_document(path: Path) -> dict[str, Any]:
    """Read what ``write_document`` wrote.

    Raises:
        InputError: not JSON, of another schema version, or a part is missing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is no readable evaluation") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"expected evaluation schema {SCHEMA_VERSION}, got {version!r}")
    missing = sorted(set(_KEYS) - set(document))
    if missing:
        raise InputError(f"{path.name} lacks {missing}")
    parts: dict[str, Any] = document
    return parts
