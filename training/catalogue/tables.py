"""Terminal tables of the catalogue and of rule violations."""

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from training.catalogue.checks import RuleViolation
from training.catalogue.entries import TIERS, Dataset, steps_by_hand


def catalogue_table(datasets: Iterable[Dataset]) -> Table:
    """One line a set."""
    table = Table("name", "organ", "images", "task", "licence", "tier", "fetch", box=None)
    for dataset in datasets:
        table.add_row(
            dataset.name,
            escape(", ".join(dataset.organs)),
            f"{dataset.images:,}" if dataset.images else dataset.count,
            dataset.task,
            dataset.licence or "none known",
            dataset.tier,
            "open" if dataset.open_direct else "by hand",
        )
    return table


def dataset_table(dataset: Dataset) -> Table:
    """All that is known of one set, and how to get it."""
    table = Table(title=dataset.title, show_header=False, box=None)
    facts = {
        "name": dataset.name,
        "organ": ", ".join(dataset.organs),
        "device": dataset.device,
        "images": dataset.count,
        "task": dataset.task,
        "licence": dataset.licence or "none known",
        "tier": f"{dataset.tier}: {TIERS[dataset.tier]}",
        "page": dataset.url,
        "record": dataset.record,
        "links": "\n".join(item.url for item in dataset.downloads),
        "citation": dataset.citation,
        "scan area": dataset.geometry,
        "shares images with": ", ".join(dataset.overlaps),
        "layout": ", ".join(f"{key} = {value}" for key, value in dataset.layout.items()),
        "note": dataset.note,
        "to get it": _way(dataset),
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, escape(value))
    return table


def violations_table(violations: Sequence[RuleViolation]) -> Table:
    """One line a broken rule."""
    table = Table("", "rule", "number", title="Findings")
    table.add_column("such as", overflow="fold")
    for violation in violations:
        table.add_row(
            "error" if violation.is_error else "note",
            violation.rule,
            f"{violation.number:,}",
            escape("\n".join(violation.examples)),
        )
    return table


def _way(dataset: Dataset) -> str:
    if dataset.open_direct:
        flag = " --accept-licence" if dataset.needs_acceptance else ""
        return f"python -m training datasets fetch {dataset.name} --to FOLDER{flag}"
    return "\n".join(f"{n}. {step}" for n, step in enumerate(steps_by_hand(dataset), start=1))
