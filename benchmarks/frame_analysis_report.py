"""How the service analyses real files: a table, and a sheet of the thumbnails it would store.

Every file goes through a running ``Pipeline`` with the shipped bundle, so the sheet shows what a
collection stores. Inspect it: no burned-in text may be left.
"""

import asyncio
import io
from pathlib import Path

from harness import argument_parser, write_report
from PIL import Image, ImageDraw

from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import load_encoder
from service.embedding.pipeline import EmbeddedImage, EmbedOptions, Pipeline
from service.errors import ServiceError
from service.opening.encoder_opening import pipeline_limits
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


def row_of(name: str, result: EmbeddedImage | ServiceError) -> dict[str, object]:
    """One line of the table."""
    if isinstance(result, ServiceError):
        return {"file": name, "problem": result.code}
    analysis = result.analysis
    first = analysis.regions[0]
    return {
        "file": name,
        "format": result.format,
        "frames": result.info.frames_in_file,
        "size": [result.width_px, result.height_px],
        "regions": len(analysis.regions),
        "source": first.source,
        "box": list(first.box),
        "confidence": round(first.confidence, 2),
        "masked": round(analysis.masked_px / (result.width_px * result.height_px), 3),
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
        risk = ", ".join(map(str, [row["risk"], *_list(row["reasons"])]))
        box = " ".join(map(str, _list(row["box"])))
        quality = ", ".join(map(str, _list(row["quality"])))
        region = f"{row['source']} {row['confidence']}"
        lines.append(f"| {row['file']} | {region} | {box} | {row['masked']} | {risk} | {quality} |")
    return "\n".join(lines)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def sheet(tiles: list[tuple[str, bytes, str]]) -> Image.Image:
    """Thumbnails at their own size, each under its name and its region and risk."""
    rows = -(-len(tiles) // COLUMNS)
    page = Image.new("RGB", (TILE[0] * COLUMNS, TILE[1] * rows), (40, 0, 40))
    pen = ImageDraw.Draw(page)
    for number, (name, jpeg, caption) in enumerate(tiles):
        x, y = TILE[0] * (number % COLUMNS), TILE[1] * (number // COLUMNS)
        pen.text((x, y), name[-38:], fill=(255, 255, 0))
        pen.text((x, y + 14), caption, fill=(0, 255, 0))
        if jpeg:
            page.paste(Image.open(io.BytesIO(jpeg)), (x, y + 30))
    return page


async def embed_each(files: list[Path]) -> list[EmbeddedImage | ServiceError]:
    """Embed each file alone, as an upload."""
    limits = pipeline_limits(Settings())
    async with Pipeline(load_encoder(SHIPPED_BUNDLE), limits) as pipeline:
        return [
            (await pipeline.embed_all([file.read_bytes()], EmbedOptions(with_thumbnail=True)))[0]
            for file in files
        ]


def main() -> None:
    """Measure, print, and write the sheet."""
    parser = argument_parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sheet", type=Path, help="PNG to write; keep it out of the repository")
    arguments = parser.parse_args()
    files = files_of(arguments.folders)
    results = asyncio.run(embed_each(files))
    rows = [
        row_of(f"{f.parent.name}/{f.name}", item) for f, item in zip(files, results, strict=True)
    ]
    print(markdown(rows))
    if arguments.sheet is not None:
        tiles = [
            (str(row["file"]), item.thumbnail_jpeg, f"{row['source']} {row['risk']}")
            for row, item in zip(rows, results, strict=True)
            if isinstance(item, EmbeddedImage)
        ]
        arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet(tiles).save(arguments.sheet)
    write_report({"rows": rows}, arguments)


if __name__ == "__main__":
    main()
