"""The pixels of a file that an encoder is asked about: the whole frame, or what the service uses.

An upload passes the analysis of ``service.imaging`` before it is embedded. Encoders are evaluated
both ways, because a number on whole frames alone says nothing about the default of the service.

Shape suffixes: h w used region, R regions of all files, N files, D feature width.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from service.arrays import Floats, Pixels
from service.errors import InputError
from service.imaging.analysis.cine_analysis import CineAnalysis
from service.imaging.analysis.frame_analysis import analyze_frame, choose_regions
from service.imaging.analysis.text import NETWORK, TextFinder
from service.imaging.formats.frames import grey_of
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from training.bundle.onnx_files import open_text_network
from training.catalogue.manifest import MAX_PIXELS

Way: TypeAlias = Literal["whole", "served", "cropped", "masked"]
WAYS: tuple[Way, ...] = get_args(Way)


def read_ways(names: Sequence[str]) -> tuple[Way, ...]:
    """The named ways, each once. Raises InputError: an unknown one, or whole frames are missing."""
    chosen = tuple(way for way in WAYS if way in names)
    if len(chosen) < len(set(names)) or "whole" not in chosen:
        raise InputError(f"expected whole and others among the ways {WAYS}, got {list(names)}")
    return chosen


@cache
def text_finder() -> TextFinder:
    """The detector of burned-in text that the service opens, on one thread."""
    return TextFinder(open_text_network(NETWORK))


def used_pixels(path: Path, way: Way) -> tuple[Pixels, ...]:
    """What an encoder gets of one still, uint8 (h, w) of each region, largest first.

    Args:
        way: ``whole``, the frame as it was published; ``served``, as an upload with the settings
            of the service: each region, black outside its outline, text filled; ``cropped``, the
            same regions with their text; ``masked``, the whole frame with its text filled.

    Raises:
        InputError: the file is missing or does not decode; it is named.
    """
    try:
        image = read(path.read_bytes(), Sampling(), DecodeLimits(max_pixels=MAX_PIXELS))
        frames = list(image)
    except (OSError, InputError) as error:
        raise InputError(f"{path.name}: {error}") from error
    if len(frames) != 1:
        raise InputError(f"{path.name}: expected one still frame, got {len(frames)}")
    pixels = frames[0].pixels
    if way == "whole":
        return (np.ascontiguousarray(grey_of(pixels)),)
    if way == "served":
        analysis = CineAnalysis(image.info, text_finder(), "auto")
        analysis.decide([pixels])
        return analysis.use(pixels)
    regions = choose_regions(pixels, "auto" if way == "cropped" else "none", image.info.regions)
    analyzed = analyze_frame(pixels, regions, text_finder(), keep_text=way == "cropped")
    return tuple(view.used_hw for view in analyzed.views)


def file_rows(rows_RD: Floats, counts: Sequence[int]) -> Floats:
    """One row per file: the mean over its regions, as the service pools them; float32 (N, D).

    Args:
        rows_RD: of the regions of all files, one file after the other; of unit length where the
            encoder gives such rows.
        counts: regions of each file, at least 1.
    """
    starts = np.cumsum([0, *counts[:-1]])
    sums_ND = np.add.reduceat(rows_RD, starts, axis=0)
    means_ND: Floats = (sums_ND / np.asarray(counts)[:, None]).astype(np.float32)
    return means_ND
