"""``evaluation.json`` -> ``report.html`` (one file, nothing fetched) and ``benchmark.md``."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from training.bundle.card import benchmark_section
from training.evaluation import plots
from training.evaluation.summary import benchmark_of

REPORT_NAME, TABLE_NAME = "report.html", "benchmark.md"
_TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(document: Mapping[str, Any], folder: Path) -> Path:
    """Write both files into ``folder``; return the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    benchmark = benchmark_section(benchmark_of(document))
    (folder / TABLE_NAME).write_text(benchmark, encoding="utf-8")
    path = folder / REPORT_NAME
    path.write_text(html(document), encoding="utf-8")
    return path


def html(document: Mapping[str, Any]) -> str:
    """The report as one HTML page with its pictures inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["estimate"] = _estimate
    environment.filters["number"] = _number
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        document=document,
        benchmark=benchmark_of(document),
        columns=[*(str(k) for k in document["effort"]["shots"]), "full"],
        pictures=_pictures(document),
        ratios=_ratios(document),
    )


def _pictures(document: Mapping[str, Any]) -> dict[str, str]:
    compared = [n for n in (document["shipped"], "teacher") if n in document["results"]]
    pictures = {
        "shots": plots.shot_curves(document),
        "fractions": plots.fraction_curves(document),
        "maps": plots.umap_panels(document),
    } | {f"confusion of {name}": plots.confusions(document, name) for name in compared}
    return {
        name: "data:image/png;base64," + base64.b64encode(picture).decode()
        for name, picture in pictures.items()
        if picture is not None
    }


def _ratios(document: Mapping[str, Any]) -> dict[str, str]:
    """Shipped against the paper's teacher: parameters and time."""
    reference = document["reference_cost"]
    shipped = next(e for e in document["encoders"] if e["name"] == document["shipped"])["cost"]
    if not reference or not shipped or not shipped["parameters"]:
        return {}
    times = {b: reference["cpu_ms"][b] / ms for b, ms in shipped["cpu_ms"].items() if ms > 0}
    return {
        "times fewer parameters": f"{reference['parameters'] / shipped['parameters']:.2f}",
        "times fewer multiply-adds": f"{reference['multiply_adds'] / shipped['multiply_adds']:.1f}",
    } | {f"times faster at batch {b}": f"{ratio:.1f}" for b, ratio in times.items()}


def _estimate(score: Mapping[str, Any] | None, signed: bool = False) -> Markup:
    """The mean, with its interval on a second line: tables then fit a printed page."""
    if score is None:
        return Markup("–")
    sign = "+" if signed else ""
    middle = format(score["mean"], f"{sign}.1f")
    if score["low"] is None:
        return Markup("{}").format(middle)
    between = f"{score['low']:{sign}.1f} … {score['high']:{sign}.1f}"
    return Markup("{}<br><small>{}</small>").format(middle, between)


def _number(value: float | None, digits: int = 1, scale: float = 1.0) -> str:
    return "–" if value is None else f"{value / scale:.{digits}f}"
