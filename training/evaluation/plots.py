"""Plots of an evaluation, from ``evaluation.json`` alone, as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TABLEAU_COLORS
from matplotlib.figure import Figure

DPI = 110
PANEL_INCHES = (4.6, 3.5)
_MARKS = "osD^vPX*"
_HUES = tuple(TABLEAU_COLORS.values())


def shot_curves(document: Mapping[str, Any]) -> bytes:
    """Balanced accuracy against labelled frames per class, one panel per set, 95 % intervals."""
    return _curves(document, "shots", "labelled frames per class", scale=1)


def fraction_curves(document: Mapping[str, Any]) -> bytes:
    """Balanced accuracy against the share of labelled groups, one panel per set."""
    return _curves(document, "fractions", "labelled groups, % of all", scale=100)


def _curves(document: Mapping[str, Any], part: str, label: str, *, scale: float) -> bytes:
    figure, panels = _panels([dataset["name"] for dataset in document["sets"]])
    ticks = [scale * float(x) for x in document["effort"][part]]
    for panel, dataset in zip(panels, document["sets"], strict=True):
        for place, (name, results) in enumerate(document["results"].items()):
            points = {scale * float(x): e for x, e in results[dataset["name"]][part].items()}
            _curve(panel, place, name, points, of=len(document["results"]))
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel(label)
        panel.set_ylabel("balanced accuracy, %")
    return _png(_named(figure, panels))


def _curve(
    panel: Axes, place: int, name: str, points: Mapping[float, Mapping[str, Any]], *, of: int
) -> None:
    xs = sorted(points)
    if not xs:
        return
    hue, mark = _HUES[place % len(_HUES)], _MARKS[place % len(_MARKS)]
    # Side by side on the logarithmic axis, so that bars do not hide each other.
    shifted = [x * 1.02 ** (place - (of - 1) / 2) for x in xs]
    means = [points[x]["mean"] for x in xs]
    bars = [
        [0 if points[x]["low"] is None else abs(points[x][edge] - points[x]["mean"]) for x in xs]
        for edge in ("low", "high")
    ]
    panel.errorbar(
        shifted, means, bars, color=hue, marker=mark, ms=4, lw=1.2, elinewidth=0.8, label=name
    )


def confusions(document: Mapping[str, Any], encoder: str) -> bytes:
    """Row-normalised confusion of the full probe of one encoder, counts in the cells."""
    figure, panels = _panels([dataset["name"] for dataset in document["sets"]])
    for panel, dataset in zip(panels, document["sets"], strict=True):
        classes = list(dataset["classes"])
        result = document["results"][encoder][dataset["name"]]
        counts = np.array(result["full"]["confusion"], dtype=float)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            text = f"{int(counts[row, column])}\n{100 * share:.0f} %"
            panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        panel.set_xticks(range(len(classes)), classes)
        panel.set_yticks(range(len(classes)), classes)
        panel.set_xlabel("guessed")
        panel.set_ylabel("true")
    return _png(figure)


def umap_panels(document: Mapping[str, Any]) -> bytes | None:
    """UMAP of shipped beside teacher, a row per set; None when no map was computed.

    A silhouette is of the features, not of the plane.
    """
    maps = document["maps"]
    if not maps:
        return None
    rows = list(dict.fromkeys(item["title"] for item in maps))
    columns = list(dict.fromkeys(item["encoder"] for item in maps))
    width, height = PANEL_INCHES
    figure = _figure(width * len(columns), height * len(rows))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for item in maps:
        panel = grid[rows.index(item["title"]), columns.index(item["encoder"])]
        _scatter(panel, np.array(item["points"]), item["groups"])
        panel.set_title(_map_title(document, item["title"], item["encoder"]), fontsize=10)
    for panel in grid[:, 0]:  # below the frame: inside, names hide points
        panel.legend(
            fontsize=8, frameon=False, markerscale=2, ncols=4, handletextpad=0.2,
            loc="upper left", bbox_to_anchor=(0, 0),
        )  # fmt: skip
    return _png(figure)


def _map_title(document: Mapping[str, Any], title: str, encoder: str) -> str:
    result = document["results"].get(encoder, {}).get(title)
    if result is None:  # all sets side by side have no classes in common
        return f"{title}: {encoder}"
    return f"{title}: {encoder}, silhouette {result['clusters']['silhouette']:.2f}"


def _scatter(panel: Axes, points_M2: np.ndarray, groups: Sequence[str]) -> None:
    names_M = np.array(groups)
    for place, name in enumerate(sorted(set(groups))):
        x, y = points_M2[names_M == name].T
        hue, mark = _HUES[place % len(_HUES)], _MARKS[place % len(_MARKS)]
        rarer_later = 2 + 1 / len(x)  # so that a frequent class does not bury the others
        panel.scatter(
            x, y, s=9, alpha=0.7, color=hue, marker=mark, label=name, linewidths=0,
            zorder=rarer_later,
        )  # fmt: skip
    panel.set_xticks([])
    panel.set_yticks([])


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = _figure(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[len(titles) :]:
        panel.set_visible(False)
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title, fontsize=10)
    return figure, panels[: len(titles)]


def _figure(width: float, height: float) -> Figure:
    # A figure of its own canvas: pyplot would keep state and look for a screen.
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _named(figure: Figure, panels: Sequence[Axes]) -> Figure:
    """One legend below all panels: every panel shows the same encoders."""
    for panel in panels:
        panel.grid(alpha=0.25)
    names = {
        name: handle
        for panel in panels
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if names:
        figure.legend(
            list(names.values()), list(names), fontsize=8, frameon=False,
            loc="outside lower center", ncols=min(4, len(names)),
        )  # fmt: skip
    return figure


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
