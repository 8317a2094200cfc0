"""Metrics of a run: a CSV row per logged step, TensorBoard on request, and a plot."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

METRICS_NAME, CURVES_NAME = "metrics.csv", "losses.png"
STEP = "step"


class RunMetrics:
    """Writes metrics of steps; rows at or after ``first_step`` of an earlier try are dropped.

    Args:
        steps: of the whole run, for the bar, which shows in terminals only.
        tensorboard: write event files below ``folder`` as well.
    """

    def __init__(
        self, folder: Path, *, first_step: int, steps: int, tensorboard: bool = False
    ) -> None:
        self._path = folder / METRICS_NAME
        self._kept = [row for row in read_metrics(self._path) if row[STEP] < first_step]
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"))
        console = Console(stderr=True)
        name = TextColumn("{task.description}")
        columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("distil", total=steps, completed=first_step)

    def __enter__(self) -> "RunMetrics":
        """Rewrite the rows that are kept and show the bar."""
        if self._kept:
            unfinished = self._path.with_suffix(".partial")
            unfinished.unlink(missing_ok=True)
            _write(unfinished, self._kept)
            unfinished.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close bar and event file; draw the curves, after a break as well."""
        self._bar.stop()
        if self._writer is not None:
            self._writer.close()
        if read_metrics(self._path):
            draw_losses(self._path, self._path.with_name(CURVES_NAME))

    def advance(self, loss: float) -> None:
        """Move the bar by one step."""
        self._bar.update(self._task, advance=1, description=f"distil  loss {loss:.4f}")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row, at once."""
        _write(self._path, [{STEP: step, **values}])
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def _write(path: Path, rows: list[dict[str, float]]) -> None:
    """Append rows, below a header where the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics file, oldest first; none when there is no file.

    A last line without its end is left out: the run was killed, or the disk full, within it.
    """
    if not path.exists():
        return []
    text = path.read_bytes().decode()
    whole = text[: text.rfind("\n") + 1]
    return [
        {name: int(value) if name == STEP else float(value) for name, value in row.items()}
        for row in csv.DictReader(whole.splitlines())
    ]


def draw_losses(metrics: Path, picture: Path) -> None:
    """Draw every loss column of a metrics file over its steps, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = read_metrics(metrics)
    names = [name for name in rows[0] if name == "loss" or name.endswith("_loss")]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in names:
        axes.plot([r[STEP] for r in rows], [r[name] for r in rows], label=name)
    axes.set(xlabel="step", ylabel="loss", title="Distillation losses")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
