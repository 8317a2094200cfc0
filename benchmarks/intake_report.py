"""What becomes of each file of a folder: one row of a Markdown table, or one JSON object, a file.

How it is decoded, and what of it is used and shown, through the whole corridor.

``python benchmarks/intake_report.py FOLDER [FOLDER ...] [--json]``
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import look_report
import numpy as np

from service.errors import ServiceError
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling

COLUMNS = (
    "file",
    "format",
    "encoding",
    "size",
    "frames",
    "per_s",
    "colour",
    "mean",
    "declared",
    "mm",
    "region",
    "masked",
    "risk",
    "quality",
)
_SPATIAL = ("none", "2D", "M-mode", "spectral", "waveform", "graphics")


def row_of(file: Path, root: Path) -> dict[str, Any]:
    """What decoding gives; ``error`` instead when it is refused."""
    name = str(file.relative_to(root.parent))
    try:
        image = read(file.read_bytes(), Sampling(), DecodeLimits())
        frames = list(image.frames)
    except ServiceError as error:
        return {"file": name, "error": f"{error.code}: {error}"}
    facts = image.info
    return {
        "file": name,
        "format": facts.format,
        "encoding": facts.encoding,
        "size": f"{facts.width_px} x {facts.height_px}",
        "frames": len(frames),
        "per_s": None if facts.frame_rate_hz is None else round(facts.frame_rate_hz, 1),
        "colour": any(frame.pixels.ndim == 3 for frame in frames),
        "mean": round(float(np.mean([frame.grey.mean() for frame in frames])), 1),
        "declared": ", ".join(
            _SPATIAL[r.spatial_format] if r.spatial_format < len(_SPATIAL) else "other"
            for r in facts.regions
        ),
        "mm": None if facts.spacing_mm is None else round(facts.spacing_mm[0], 3),
    }


def rows_of(folders: list[Path]) -> list[dict[str, Any]]:
    """Every file below the folders, sorted; notes are passed over."""
    files = [(file, folder) for folder in folders for file in look_report.files_of([folder])]
    analysis = asyncio.run(look_report.look_at([file for file, _ in files]))
    rows = []
    for (file, folder), found in zip(files, analysis, strict=True):
        row = row_of(file, folder)
        seen = look_report.row_of("", found)
        rows.append(row if "problem" in seen else row | looked_at(seen))
    return rows


def looked_at(seen: dict[str, Any]) -> dict[str, Any]:
    """The columns of what is used and shown."""
    said = [seen["risk"], *seen["reasons"]]
    more = f" of {seen['regions']}" if seen["regions"] > 1 else ""
    return {
        "region": f"{seen['found']} {seen['confidence']}: {' '.join(map(str, seen['box']))}{more}",
        "masked": seen["masked"],
        "risk": ", ".join(said),
        "quality": ", ".join(seen["quality"]),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of the decoded, then the refused."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['file']} | {row['error']} |" + " |" * (len(COLUMNS) - 2))
        else:
            lines.append("| " + " | ".join(_shown(row[name]) for name in COLUMNS) + " |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def main() -> None:
    """Decode and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    rows = rows_of(given.folders)
    print("\n".join(json.dumps(row) for row in rows) if given.json else markdown(rows))


if __name__ == "__main__":
    main()
