"""``python -m training text-finder``: corpus frames and fonts -> the network that finds text."""

from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from service.errors import InputError
from service.imaging.formats.decode import decode
from training.text_detector.synthetic_text import find_fonts
from training.text_detector.textnet import PEN_FONTS, TextNetConfig, export, fit


def text_finder(
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    frames: Annotated[list[Path], typer.Option(help="Folder of frames without writing.")],
    fonts: Annotated[list[Path], typer.Option(help="Folder of .ttf and .otf files.")],
    steps: Annotated[int, typer.Option(min=1)] = 2500,
    batch: Annotated[int, typer.Option(min=1)] = 12,
    limit: Annotated[int, typer.Option(min=1, help="Most frames.")] = 1000,
    seed: Annotated[int, typer.Option()] = 0,
    start: Annotated[Path | None, typer.Option(help="Weights (.pt) to go on from.")] = None,
) -> None:
    """Train the finder of burned-in text on synthetic text; ``<out>.pt`` keeps the weights."""
    files = [file for folder in frames for file in folder.rglob("*")]
    files = sorted(file for file in files if file.suffix.lower() in (".png", ".jpg"))
    if not files:
        raise InputError("expected .png or .jpg frames, found none")
    chosen = files[:: max(1, len(files) // limit)][:limit]
    backgrounds = [decode(f.read_bytes(), max_pixels=10**8).pixels_HW for f in chosen]
    faces = (*PEN_FONTS, *find_fonts(fonts))
    config = TextNetConfig(seed=seed, steps=steps, batch=batch, fonts=faces)
    cv2.setNumThreads(1)
    known = None if start is None else torch.load(start, weights_only=True)
    net = fit(backgrounds, config, known)
    torch.save(net.state_dict(), out.with_suffix(".pt"))
    export(net, out)
