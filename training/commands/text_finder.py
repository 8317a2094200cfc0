"""``python -m training text-finder``: corpus frames and fonts -> the network that finds text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.analysis.text import TextFinder
from service.imaging.formats.decode import decode
from training.bundle.onnx_files import open_text_network
from training.networks.saved_files import read_saved
from training.text_detector.synthetic_text import find_fonts
from training.text_detector.textnet import PEN_FONTS, TextNetConfig, export, fit

DEFAULTS = TextNetConfig()


def text_finder(
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    frames: Annotated[list[Path], typer.Option(help="Folder of frames.")],
    fonts: Annotated[list[Path], typer.Option(help="Folder of .ttf and .otf files.")],
    former: Annotated[
        Path | None,
        typer.Option(
            help="Network of before: it says what is text in frames as they are. "
            "Those in which it finds text are no backgrounds."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(min=1)] = DEFAULTS.batch,
    limit: Annotated[int, typer.Option(min=1, help="Most frames.")] = 2500,
    seed: Annotated[int, typer.Option()] = 0,
    start: Annotated[Path | None, typer.Option(help="Weights (.pt) to go on from.")] = None,
) -> None:
    """Train the finder of burned-in text on synthetic text; ``<out>.pt`` keeps the weights."""
    files = [file for folder in frames for file in folder.rglob("*")]
    files = sorted(file for file in files if file.suffix.lower() in (".png", ".jpg"))
    if not files:
        raise InputError("expected .png or .jpg frames, found none")
    chosen = files[:: max(1, len(files) // limit)][:limit]
    pictures = [decode(f.read_bytes(), max_pixels=10**8).pixels_HW for f in chosen]
    faces = (*PEN_FONTS, *find_fonts(fonts))
    config = TextNetConfig(seed=seed, steps=steps, batch=batch, fonts=faces)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # the network is too small for more
    known = None if start is None else read_saved(start)
    network = None if former is None else open_text_network(former)
    backgrounds = pictures if network is None else _without_text(pictures, TextFinder(network))
    net = fit(backgrounds, config, frames=pictures, former=network, start=known)
    torch.save(net.state_dict(), out.with_suffix(".pt"))
    export(net, out)


def _without_text(frames: Sequence[Pixels], finder: TextFinder) -> list[Pixels]:
    """The frames in which no text is found, neither at their size nor at twice their size."""
    return [
        frame_HW
        for frame_HW in frames
        if not finder.find(frame_HW) and not finder.find(_at_twice_its_size(frame_HW))
    ]


def _at_twice_its_size(frame_HW: Pixels) -> Pixels:
    large_HW = cv2.resize(frame_HW, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large_HW, np.uint8)
