"""How each file of a folder is decoded, and what of it is embedded and shown: one row per file.

python benchmarks/file_format_report.py FOLDER [FOLDER ...] --json
"""

import asyncio
from pathlib import Path
from typing import Any

import frame_analysis_report
import numpy as np
from harness import argument_parser, write_report

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
    info = image.info
    return {
        "file": name,
        "format": info.format,
        "encoding": info.encoding,
        "size": f"{info.width_px} x {info.height_px}",
        "frames": len(frames),
        "per_s": None if info.frame_rate_hz is None else round(info.frame_rate_hz, 1),
        "colour": any(frame.pixels.ndim == 3 for frame in frames),
        "mean": round(float(np.mean([frame.grey.mean() for frame in frames])), 1),
        "declared": ", ".join(
            _SPATIAL[r.spatial_format] if r.spatial_format < len(_SPATIAL) else "other"
            for r in info.regions
        ),
        "mm": None if info.spacing_mm is None else round(info.spacing_mm[0], 3),
    }


def rows_of(folders: list[Path]) -> list[dict[str, Any]]:
    """Every file below the folders, sorted; text files are left out."""
    files = [
        (file, folder) for folder in folders for file in frame_analysis_report.files_of([folder])
    ]
    results = asyncio.run(frame_analysis_report.embed_each([file for file, _ in files]))
    rows = []
    for (file, folder), result in zip(files, results, strict=True):
        row = row_of(file, folder)
        analysis = frame_analysis_report.row_of("", result)
        rows.append(row if "problem" in analysis else row | analysis_columns(analysis))
    return rows


def analysis_columns(analysis: dict[str, Any]) -> dict[str, Any]:
    """The columns that say what is embedded and shown."""
    risk = [analysis["risk"], *analysis["reasons"]]
    more = f" of {analysis['regions']}" if analysis["regions"] > 1 else ""
    box = " ".join(map(str, analysis["box"]))
    return {
        "region": f"{analysis['source']} {analysis['confidence']}: {box}{more}",
        "masked": analysis["masked"],
        "risk": ", ".join(risk),
        "quality": ", ".join(analysis["quality"]),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table; a refused file has its error instead."""
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
    parser = argument_parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    rows = rows_of(arguments.folders)
    print(markdown(rows))
    write_report({"rows": rows}, arguments)


if __name__ == "__main__":
    main()
