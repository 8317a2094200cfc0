"""A contact sheet of every effect, and the time that augmentation takes.

Shape suffixes: F frames, S side, H height, W width.
"""

import time
import timeit
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from service.errors import InputError
from service.imaging.analysis.preprocess import resize
from service.imaging.formats.decode import decode
from training.augmentation.augmenter import Augmenter
from training.augmentation.beam import Attenuation, Enhancement, GainCurve, Reverberation, Shadow
from training.augmentation.config import EFFECTS, AugmentationConfig
from training.augmentation.geometry import estimate_geometry
from training.augmentation.receiver import Compression, DynamicRange, Gain, Quantisation
from training.augmentation.texture import Haze, ResolutionLoss, Speckle
from training.augmentation.warp import Crop, Remap, Tilt, Zoom
from training.catalogue.simulator import ProbeShape, simulate

MAX_PIXELS = 100_000_000
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
FULL_DRAWS = 4
LABEL_PX = 14
STRONG = AugmentationConfig(  # one end of each range, so that a sheet shows what a change does
    crop=Crop(area=(0.45, 0.5)),
    attenuation=Attenuation(rate=(1.6, 1.6), floor=(0.0, 0.0)),
    gain_curve=GainCurve(gain=(0.5, 1.5)),
    shadow=Shadow(strength=(0.8, 0.8), width=(0.1, 0.15)),
    enhancement=Enhancement(strength=(0.7, 0.7), width=(0.1, 0.15)),
    reverberation=Reverberation(strength=(0.65, 0.65)),
    speckle=Speckle(strength=(0.4, 0.4), shapes=(1.0,)),
    haze=Haze(strength=(0.3, 0.3), width=(0.1, 0.15)),
    resolution=ResolutionLoss(across_px=(2.5, 2.5), focus=(0.0, 0.0)),
    gain=Gain(gain=(0.15, 0.15)),
    dynamic_range=DynamicRange(ratio=(1.25, 1.25), gamma=(1.4, 1.4)),
    compression=Compression(mu=(1500.0, 1500.0)),
    quantisation=Quantisation(bits=(4.0,)),
    tilt=Tilt(degrees=(12.0, 12.0)),
    zoom=Zoom(ratio=(0.75, 0.75)),
    remap=Remap(chance=1.0),
)


def simulated_frames(side_px: int, seed: int) -> list[npt.NDArray[np.uint8]]:
    """Two linear and two sector frames of the simulator, uint8 (S, S)."""
    frames = []
    for number, scene in enumerate(("cyst", "cyst", "a_lines", "stone")):
        rng = np.random.default_rng((seed, number))
        geometry: ProbeShape = "sector" if number % 2 else "linear"
        frame = simulate(scene, rng, geometry=geometry, height_px=side_px, width_px=side_px)
        frames.append(frame.pixels_HW)
    return frames


def folder_frames(folder: Path, side_px: int, limit: int) -> list[npt.NDArray[np.uint8]]:
    """Up to ``limit`` pictures spread over a folder and its subfolders, uint8 (S, S).

    Raises:
        InputError: there is no picture, or one does not decode.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"expected pictures ({', '.join(SUFFIXES)}) in the folder, found none")
    chosen = [files[number * len(files) // limit] for number in range(min(limit, len(files)))]
    decoded = [decode(file.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW for file in chosen]
    return [resize(frame_HW, side_px) for frame_HW in decoded]


def contact_sheet(
    frames_FSS: Sequence[npt.NDArray[np.uint8]], config: AugmentationConfig, seed: int
) -> Image.Image:
    """Rows: frames. Columns: beams found, each effect alone and strong, whole draws of ``config``.

    Raises:
        InputError: no frame, or frames of different or too small size.
    """
    frames_F1SS = as_batch(frames_FSS)
    side_px = frames_F1SS.shape[2]
    columns: list[tuple[str, Tensor]] = [("frame", frames_F1SS)]
    for number, effect in enumerate(EFFECTS):
        columns.append((effect, _views(STRONG.alone(effect), frames_F1SS, seed + number)))
    for number in range(FULL_DRAWS):
        columns.append((f"all {number + 1}", _views(config, frames_F1SS, seed + 100 + number)))
    height_px = LABEL_PX + len(frames_F1SS) * side_px
    sheet = Image.new("RGB", ((len(columns) + 1) * side_px, height_px))
    _paste(sheet, 0, "mask, beams, depth", draw_beams(frames_F1SS))
    for place, (label, views) in enumerate(columns, start=1):
        grey_FSS = (views[:, 0] * 255).round().byte().numpy()
        _paste(sheet, place, label, np.stack((grey_FSS,) * 3, -1))
    return sheet


def as_batch(frames_FSS: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    """float32 (F, 1, S, S) in [0, 1].

    Raises:
        InputError: no frame, or frames of different size.
    """
    if len({frame.shape for frame in frames_FSS}) != 1:
        raise InputError("expected at least one frame, all of one size")
    return torch.from_numpy(np.stack(frames_FSS))[:, None].float() / 255


def draw_beams(frames_F1SS: Tensor) -> npt.NDArray[np.uint8]:
    """uint8 (F, S, S, 3): mask in red; beams and depths green for a sector, blue for linear."""
    geometry = estimate_geometry(frames_F1SS)
    scan = geometry.scan
    depth, beam = scan.depth_B1HW[:, 0].numpy(), scan.beam_B1HW[:, 0].numpy()
    lines = _near_multiple(beam, 0.25) | _near_multiple(depth, 0.2)
    lines &= (np.abs(beam) <= 1.02) & (depth > 0) & (depth <= 1.02)
    grey_FSS = frames_F1SS[:, 0].numpy() * 255
    colour_FSSC = np.stack((grey_FSS,) * 3, -1)
    colour_FSSC[..., 0] += 40 * scan.mask_B1HW[:, 0].numpy()
    sector_F = geometry.beams.sector.flatten().tolist()
    for row, sector in enumerate(sector_F):
        ink = (0.0, 160.0, 0.0) if sector else (0.0, 80.0, 200.0)
        colour_FSSC[row, lines[row]] = 0.5 * colour_FSSC[row, lines[row]] + ink
    painted: npt.NDArray[np.uint8] = colour_FSSC.clip(0, 255).astype(np.uint8)
    return painted


def measure(config: AugmentationConfig, side_px: int, seed: int) -> dict[str, float]:
    """CPU milliseconds per frame: the whole chain, and what it costs with every effect off.

    CPU time of all threads, so that other work on the machine does not count; one batch of 64
    simulated frames, the best of three.
    """
    frames_F1SS = as_batch(simulated_frames(side_px, seed)).repeat(16, 1, 1, 1)

    def best_ms(chosen: AugmentationConfig) -> float:
        work = partial(_views, chosen, frames_F1SS, seed)
        times_s = timeit.repeat(work, timer=time.process_time, number=1, repeat=3)
        return min(times_s) / len(frames_F1SS) * 1000

    return {
        "whole_chain_cpu_ms": best_ms(config),
        "nothing_on_cpu_ms": best_ms(config.only()),
        "threads": float(torch.get_num_threads()),
    }


def _views(config: AugmentationConfig, frames_F1SS: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return Augmenter(config, frames_F1SS.shape[2])(frames_F1SS, generator)


def _near_multiple(values: npt.NDArray[np.float32], step: float) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = np.abs((values / step + 0.5) % 1 - 0.5) < 0.04
    return near


def _paste(sheet: Image.Image, place: int, label: str, tiles_FSSC: npt.NDArray[np.uint8]) -> None:
    side_px = tiles_FSSC.shape[1]
    ImageDraw.Draw(sheet).text((place * side_px + 2, 1), label, fill="white")
    for number, tile_SSC in enumerate(tiles_FSSC):
        corner = (place * side_px, LABEL_PX + number * side_px)
        sheet.paste(Image.fromarray(tile_SSC), corner)
