"""What a fit to the views of its examples takes through HTTP, beside the same fit without views.

Both ways take turns on the same examples: scans of a collection that keeps images, and files that
are sent with the request. ``ratio`` is the median of the ratios of the pairs, which a busy machine
changes little; ``added_passes`` is how many passes of the encoder the views add.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import argument_parser, print_report, seconds

from service.cli.folder_walk import image_files
from service.imaging.analysis.views import VIEWS
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from training.catalogue.simulator import write_samples

SIZES, UPLOADS, RUNS, CLASSES = (10, 30, 60, 100, 200), (10, 30, 60), 3, 2
AT_ONCE = 50
TIMEOUT_S = 900.0


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="examples that are scans"
    )
    parser.add_argument("--uploads", type=int, nargs="*", default=UPLOADS, help="files of a fit")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    most = max(*arguments.sizes, *arguments.uploads, CLASSES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "frames"
        write_samples(folder, per_class=-(-most // CLASSES))
        files = _in_turns(folder)
        settings = Settings(data_dir=Path(scratch) / "data", drain_s=0, max_items=most)
        with (
            local_service(settings) as local,
            Client(local.url, key=local.key, timeout_s=TIMEOUT_S) as client,
        ):
            bench = Bench(client, files, arguments.runs)
            report = bench.scans(arguments.sizes) | bench.uploads(arguments.uploads)
    print_report(report, arguments)


def _in_turns(folder: Path) -> list[Path]:
    """Files of the classes in turns, so that the first N are of all classes."""
    names = sorted(path.name for path in folder.iterdir())[:CLASSES]
    of_classes = [image_files(folder / name) for name in names]
    return [file for files in zip(*of_classes, strict=True) for file in files]


class Bench:
    """Fits of the same service. The folders of the files are their classes."""

    def __init__(self, client: Client, files: Sequence[Path], runs: int) -> None:
        self._client = client
        self._images = [file.read_bytes() for file in files]
        self._labels = [file.parent.name for file in files]
        self._runs = runs

    def scans(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Fits of stored scans."""
        self._client.create_collection("kept", keep_images=True)
        for start in range(0, len(self._images), AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, len(self._images)))
            said = [{"scan_id": f"s{n}", "subject_id": f"p{n}"} for n in numbers]
            self._client.add_scans("kept", self._images[start : start + AT_ONCE], said)
        report: dict[str, Any] = {}
        for size in sizes:
            examples = [
                {"scan_id": f"s{n}", "label": label} for n, label in enumerate(self._labels[:size])
            ]
            body = {"collection": "kept", "examples": examples}
            report |= self._pairs(f"scans_{size}", size, partial(self._fit_scans, body))
        return report

    def uploads(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Fits of files."""
        report: dict[str, Any] = {}
        for size in sizes:
            fit = partial(self._fit_files, size)
            report |= self._pairs(f"uploads_{size}", size, fit)
        return report

    def _pairs(self, name: str, size: int, fit: Any) -> dict[str, Any]:
        times_s: dict[Any, list[float]] = {False: [], "examples": []}
        cpu_s: dict[Any, list[float]] = {False: [], "examples": []}
        for _ in range(self._runs):
            for views in times_s:
                start_s = time.process_time()
                times_s[views].append(seconds(partial(fit, views)))
                cpu_s[views].append(time.process_time() - start_s)
                self._client.delete_classifier("bench")
        plain_s, views_s = (np.array(times_s[views]) for views in times_s)
        return {
            f"{name}_s": round(float(np.median(plain_s)), 2),
            f"{name}_views_s": round(float(np.median(views_s)), 2),
            f"{name}_ratio": round(float(np.median(views_s / plain_s)), 1),
            f"{name}_cpu_s": round(float(np.median(cpu_s[False])), 2),
            f"{name}_views_cpu_s": round(float(np.median(cpu_s["examples"])), 2),
            f"{name}_added_passes": size * (VIEWS if name.startswith("scans") else VIEWS - 1),
        }

    def _fit_scans(self, body: dict[str, Any], views: Any) -> None:
        self._client.fit({"name": "bench", "views": views, **body})

    def _fit_files(self, size: int, views: Any) -> None:
        examples = [
            {"label": label, "subject_id": f"p{n}"} for n, label in enumerate(self._labels[:size])
        ]
        self._client.fit_images("bench", self._images[:size], examples, fields={"views": views})


if __name__ == "__main__":
    main()
