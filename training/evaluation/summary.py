"""The few numbers of an evaluation that the model card and the console show."""

from collections.abc import Mapping
from typing import Any


def benchmark_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a bundle's manifest carries under ``about.benchmark``; JSON values only.

    Keys: shipped, seeds, centred_by, sets [{name, frames, in_domain}], mean_over_sets {encoder:
    {k | full | knn: percent}}, per_set {set: {encoder: {k | full | knn}}}, shipped_minus {other:
    {k | full: estimate}}, served_minus the same of the shipped encoder as it is served, ways
    {way: {"mean" | set: {k | full: estimate}}} of the shipped encoder minus itself on whole
    frames, fidelity, cost {encoder: cost}.
    """
    results = document["results"]
    names = [dataset["name"] for dataset in document["sets"]]
    return {
        "shipped": document["shipped"],
        "seeds": document["effort"]["seeds"],
        "centred_by": document["centred_by"],
        "sets": [
            {key: dataset[key] for key in ("name", "frames", "in_domain")}
            for dataset in document["sets"]
        ],
        "mean_over_sets": mean_over_sets(document),
        "per_set": {
            s: {encoder: _scores(by_set[s]) for encoder, by_set in results.items()} for s in names
        },
        "shipped_minus": _means(document["paired"]),
        "served_minus": _means(document.get("paired_served", {})),
        "ways": document.get("ways", {}).get(document["shipped"], {}),
        "fidelity": document["fidelity"],
        "cost": {e["name"]: e["cost"] for e in document["encoders"] if e["cost"]},
    }


def _means(paired: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: parts["mean"] for name, parts in paired.items() if "mean" in parts}


def mean_over_sets(
    document: Mapping[str, Any], which: str = "outside"
) -> dict[str, dict[str, float]]:
    """Encoder -> {"1", "5", ..., "full", "knn"} -> percent, mean over sets.

    Args:
        which: ``outside`` = sets that no corpus frame comes from; ``all`` = every set.
    """
    return {
        name: {
            key: value["mean"] if isinstance(value, Mapping) else value
            for key, value in figures.items()
            if key.isdigit() or key in ("full", "knn")
        }
        for name, figures in document["means"][which].items()
    }


def _scores(result: Mapping[str, Any]) -> dict[str, float]:
    shots = {k: estimate["mean"] for k, estimate in result["shots"].items()}
    return shots | {"full": result["full"]["mean"], "knn": result["retrieval"]["knn"]}


def console(document: Mapping[str, Any]) -> str:
    """Means over sets and paired differences as plain text, one encoder per line."""
    table = mean_over_sets(document) or mean_over_sets(document, "all")
    columns = list(next(iter(table.values())))
    width = max(len(name) for name in table) + 2
    lines = ["mean over sets".ljust(width) + "".join(f"{column:>8}" for column in columns)]
    lines += [
        name.ljust(width) + "".join(f"{scores[column]:8.1f}" for column in columns)
        for name, scores in table.items()
    ]
    for other, parts in document["paired"].items():
        for key, figures in parts.get("mean", {}).items():
            low, high = figures["low"], figures["high"]
            lines.append(
                f"{document['shipped']} - {other}, {key}: {figures['mean']:+.2f} [{low}, {high}]"
            )
    return "\n".join(lines)
