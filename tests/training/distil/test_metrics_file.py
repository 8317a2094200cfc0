"""The table of metrics survives a run that was killed in the middle of a line."""

from pathlib import Path

import pytest

from training.distil.metrics import CURVES_NAME, METRICS_NAME, RunMetrics, read_metrics


def logged(folder: Path, first: int, last: int) -> None:
    with RunMetrics(folder, first_step=first, steps=last) as metrics:
        for step in range(first, last):
            metrics.log(step, {"loss": 1 / (1 + step), "rate": 0.5})


@pytest.mark.parametrize("torn", ["3", "3,", "3,0.2", "3,0.25,0.", "3,0.25,0.5"])
def test_a_run_goes_on_after_it_was_killed_within_a_line(torn: str, tmp_path: Path) -> None:
    logged(tmp_path, 0, 3)
    path = tmp_path / METRICS_NAME
    with path.open("a") as stream:
        stream.write(torn)
    assert [row["step"] for row in read_metrics(path)] == [0, 1, 2]
    logged(tmp_path, 2, 5)
    rows = read_metrics(path)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["loss"] for row in rows] == [1 / (1 + step) for step in range(5)]
    assert (tmp_path / CURVES_NAME).is_file()


def test_a_table_that_was_half_rewritten_by_a_killed_run_is_not_taken_up(tmp_path: Path) -> None:
    logged(tmp_path, 0, 3)
    (tmp_path / METRICS_NAME).with_suffix(".partial").write_text("step,loss,rate\n9,9,9\n")
    logged(tmp_path, 3, 4)
    assert [row["step"] for row in read_metrics(tmp_path / METRICS_NAME)] == [0, 1, 2, 3]
