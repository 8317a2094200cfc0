"""What every benchmark needs: its arguments, its printed report, clocks, memory, the real frames.

Imports nothing of the project, so that ``search_engines`` runs in a peer's environment as well.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SHARED_VARIABLE = "SONOPROBE_SHARED"


def argument_parser(docstring: str | None, *, with_out: bool = False) -> argparse.ArgumentParser:
    """A parser described by the module's docstring, with ``--json`` and, if asked, ``--out``."""
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    if with_out:
        parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def print_report(report: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """One line per figure; with ``--json`` one JSON object as last line, with ``--out`` a file."""
    for name, value in report.items():
        text = json.dumps(value) if isinstance(value, dict | list) else value
        print(f"{name:30}{text}")
    write_report(report, arguments)


def write_report(report: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """What ``--json`` and ``--out`` ask for, for scripts that print a table of their own."""
    out = getattr(arguments, "out", None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(report))


def shared_folder() -> Path | None:
    """The folder that SONOPROBE_SHARED names, else ``../shared``; None without a manifest."""
    folder = Path(os.environ.get(SHARED_VARIABLE) or ROOT.parent / "shared")
    return folder if (folder / "data" / "manifest.csv").is_file() else None


def required_shared_folder() -> Path:
    """As ``shared_folder``. Raises SystemExit: there is none."""
    folder = shared_folder()
    if folder is None:
        raise SystemExit(f"expected data/manifest.csv in ${SHARED_VARIABLE} or ../shared")
    return folder


def end_in_order() -> None:
    """Let SIGTERM end this process through its ``finally`` blocks, which stop what it started."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_ms(times_s: list[float], digits: int = 1) -> float:
    """Median of seconds, in milliseconds."""
    return round(1000 * float(np.median(times_s)), digits)


def memory_mb(field: str = "VmRSS", pid: int | str = "self") -> float:
    """Resident memory of a process, MB (Linux); ``VmHWM`` is its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def resident_memory(pid: int | str = "self") -> dict[str, float]:
    """Memory of a process that is resident, MB (Linux): all, its own, and pages of files.

    Pages of files are libraries and maps; the system takes them back when it needs memory.
    ``peak_resident_mb`` is since the start or ``forget_peak``.
    """
    return {
        "resident_mb": round(memory_mb("VmRSS:", pid), 1),
        "anonymous_mb": round(memory_mb("RssAnon:", pid), 1),
        "file_mb": round(memory_mb("RssFile:", pid) + memory_mb("RssShmem:", pid), 1),
        "peak_resident_mb": round(memory_mb("VmHWM:", pid), 1),
    }


def forget_peak(pid: int | str = "self") -> None:
    """Let the peak of resident memory begin anew (Linux)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
