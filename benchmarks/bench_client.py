"""The Python client: seconds and size of its installation, and what it adds to a request.

``python benchmarks/bench_client.py --json``. The overhead is that of one prediction of one frame
by the shipped encoder, asked in turns by the client and by bare httpx, which reads the JSON: it
is a ratio, which other programs on the machine disturb on both sides alike.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from client_installation import install_client
from harness import argument_parser, print_report

from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client

CLASSES, FRAMES = 2, 5


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--turns", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = installation(Path(folder) / "venv")
        settings = Settings(data_dir=Path(folder) / "data", drain_s=0, audit=False)
        with local_service(settings) as local:
            figures |= overhead(local, arguments.turns)
    print_report(figures, arguments)


def installation(folder: Path) -> dict[str, Any]:
    """Seconds and MB of an installation, and milliseconds of the import."""
    made = install_client(folder)
    code = "import time; t = time.perf_counter(); import sonoprobe_client; "
    code += "print(time.perf_counter() - t)"
    command = [str(made.python), "-I", "-c", code]
    seconds = [float(subprocess.check_output(command)) for _ in range(5)]
    figures = {"install_s": made.seconds, "installed_mb": made.megabytes}
    figures["import_ms"] = 1000 * min(seconds)
    return {name: round(value, 1) for name, value in figures.items()}


def overhead(local: LocalService, turns: int) -> dict[str, Any]:
    """Medians of one prediction by the client and by httpx, and their ratio."""
    folders = sorted(path for path in SAMPLES.iterdir() if path.is_dir())[:CLASSES]
    files = [file for folder in folders for file in sorted(folder.glob("*.png"))[:FRAMES]]
    key = {"Authorization": f"Bearer {local.key}"}
    with (
        Client(local.url, key=local.key) as client,
        httpx.Client(base_url=local.url, headers=key, trust_env=False, timeout=120) as http,
    ):
        examples: list[Any] = [{"label": file.parent.name} for file in files]
        client.fit_images("bench", files, examples)
        image = files[0].read_bytes()

        def bare() -> Any:
            form = [("files", ("image-0", image))]
            return http.post("/v1/classifiers/bench/predict", files=form).json()["items"][0]

        def typed() -> Any:
            return client.predict("bench", [image]).items[0]

        seconds = in_turns([typed, bare], turns)
    medians = [1000 * statistics.median(times) for times in seconds]
    ratios = [mine / theirs for mine, theirs in zip(*seconds, strict=True)]
    return {
        "predict_client_ms": round(medians[0], 2),
        "predict_httpx_ms": round(medians[1], 2),
        "client_to_httpx": round(medians[0] / medians[1], 3),
        "client_to_httpx_paired": round(statistics.median(ratios), 3),
        "turns": turns,
    }


def in_turns(calls: list[Callable[[], Any]], turns: int) -> list[list[float]]:
    """Seconds of each call, one after the other, after a first turn that does not count."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(turns + 1):
        for call, spent in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            if turn:
                spent.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
