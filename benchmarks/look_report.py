"""What the service makes of real files: a table, and a sheet of the thumbnails it would store.

Every file goes through the whole corridor of a running ``Pipeline`` with the shipped bundle, so
the sheet shows what a collection keeps. Look at it: no writing may be left.
"""

import argparse
import asyncio
import io
import json
from pathlib import Path

from PIL import Image, ImageDraw

from service.app import pipeline_limits
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import load_encoder
from service.embedding.pipeline import EmbeddedImage, Pipeline
from service.errors import ServiceError
from service.settings import Settings

TILE, COLUMNS, SKIPPED = (250, 226), 6, (".md", ".csv", ".txt")


def files_of(folders: list[Path]) -> list[Path]:
    """Files below the folders, sorted."""
    return sorted(
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.suffix.lower() not in SKIPPED
    )


def row_of(name: str, found: EmbeddedImage | ServiceError) -> dict[str, object]:
    """One line of the table."""
    if isinstance(found, ServiceError):
        return {"file": name, "problem": found.code}
    analysis = found.analysis
    first = analysis.regions[0]
    return {
        "file": name,
        "format": found.format,
        "frames": found.info.frames_in_file,
        "size": [found.width_px, found.height_px],
        "regions": len(analysis.regions),
        "found": first.found,
        "box": list(first.box),
        "confidence": round(first.confidence, 2),
        "masked": round(analysis.masked_px / (found.width_px * found.height_px), 3),
        "risk": analysis.risk,
        "reasons": list(analysis.risk_reasons),
        "quality": [finding.reason for finding in analysis.findings],
    }


def markdown(rows: list[dict[str, object]]) -> str:
    """The table of docs/measurements/sample-files.md."""
    lines = [
        "| file | region | box | masked | risk | quality |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "problem" in row:
            lines.append(f"| {row['file']} | `{row['problem']}` | | | | |")
            continue
        said = ", ".join(map(str, [row["risk"], *_list(row["reasons"])]))
        box = " ".join(map(str, _list(row["box"])))
        quality = ", ".join(map(str, _list(row["quality"])))
        found = f"{row['found']} {row['confidence']}"
        lines.append(f"| {row['file']} | {found} | {box} | {row['masked']} | {said} | {quality} |")
    return "\n".join(lines)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def sheet(pairs: list[tuple[str, bytes, str]]) -> Image.Image:
    """Thumbnails at their own size, each under its name and what was said of it."""
    rows = -(-len(pairs) // COLUMNS)
    page = Image.new("RGB", (TILE[0] * COLUMNS, TILE[1] * rows), (40, 0, 40))
    pen = ImageDraw.Draw(page)
    for number, (name, jpeg, said) in enumerate(pairs):
        x, y = TILE[0] * (number % COLUMNS), TILE[1] * (number // COLUMNS)
        pen.text((x, y), name[-38:], fill=(255, 255, 0))
        pen.text((x, y + 14), said, fill=(0, 255, 0))
        if jpeg:
            page.paste(Image.open(io.BytesIO(jpeg)), (x, y + 30))
    return page


async def look_at(files: list[Path]) -> list[EmbeddedImage | ServiceError]:
    """Each file alone, as uploads come."""
    limits = pipeline_limits(Settings())
    async with Pipeline(load_encoder(SHIPPED_BUNDLE), limits) as pipeline:
        return [
            (await pipeline.embed_all([file.read_bytes()], with_thumbnail=True))[0]
            for file in files
        ]


def main() -> None:
    """Measure, print, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sheet", type=Path, help="PNG to write; keep it out of the repository")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    given = parser.parse_args()
    files = files_of(given.folders)
    found = asyncio.run(look_at(files))
    rows = [row_of(f"{f.parent.name}/{f.name}", item) for f, item in zip(files, found, strict=True)]
    print(markdown(rows))
    if given.sheet is not None:
        tiles = [
            (str(row["file"]), item.thumbnail_jpeg, f"{row['found']} {row['risk']}")
            for row, item in zip(rows, found, strict=True)
            if isinstance(item, EmbeddedImage)
        ]
        given.sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet(tiles).save(given.sheet)
    if given.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
