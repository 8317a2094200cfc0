"""A small B-mode simulator: the frames of tests, demo and golden checks.

Speckle is the envelope of random scatterers under a point spread function (Wagner et al. 1983,
"Statistics of speckle in ultrasound B-scans"); echoes fall off with depth and what lies in the
way (0.5 dB/cm/MHz in soft tissue, Szabo, "Diagnostic Ultrasound Imaging", ch. 4); the envelope is
log-compressed and scan-converted. Plausible texture and artefacts, not anatomy: nothing that is
measured on these frames says how good an encoder is on patients.

Shape suffixes: Z depth samples, X scan lines, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.signal import fftconvolve

from service.arrays import Bools, Doubles, Pixels
from service.errors import InputError
from service.imaging.analysis.thumbnails import encode_png

ProbeShape: TypeAlias = Literal["linear", "sector"]

DEPTH_SAMPLES, SCAN_LINES = 480, 192
DEPTH_CM = 6.0
FREQUENCY_MHZ = 5.0
ATTENUATION_DB_PER_CM_MHZ = 0.5
GAIN_DB_PER_CM = 4.6  # time-gain compensation: a little less than the round trip costs
SECTOR_HALF_ANGLE_RAD = 0.62
SECTOR_APEX_CM = 1.2  # distance of the virtual apex behind the skin


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """One frame with the truth about it.

    Attributes:
        parameters: what was drawn, for tests; lengths as shares of depth or width.
    """

    pixels_HW: Pixels
    scene: str
    parameters: dict[str, float]


@dataclass(slots=True)
class _Medium:
    """What the beam meets, by sample.

    Attributes:
        echo_ZX: scatterer amplitude, 1 = ordinary tissue.
        loss_ZX: dB lost on the way back and forth through the sample, beyond tissue.
        bright_ZX: specular echoes added to the envelope.
    """

    echo_ZX: Doubles
    loss_ZX: Doubles
    bright_ZX: Doubles
    z_ZX: Doubles
    x_ZX: Doubles


Draw: TypeAlias = Callable[[_Medium, np.random.Generator], dict[str, float]]


def simulate(
    scene: str,
    rng: np.random.Generator,
    *,
    geometry: ProbeShape = "linear",
    height_px: int = 192,
    width_px: int = 208,
) -> SimulatedFrame:
    """Draw one frame; the same generator state gives the same frame.

    Raises:
        InputError: an unknown scene or geometry, or sides under 32 px.
    """
    if scene not in _DRAW:
        raise InputError(f"expected one of {SCENES}, got {scene!r}")
    if geometry not in ("linear", "sector"):
        raise InputError(f"expected linear or sector, got {geometry!r}")
    if min(height_px, width_px) < 32:
        raise InputError(f"expected sides of at least 32 px, got {height_px} x {width_px}")
    medium = _tissue(rng)
    parameters = _DRAW[scene](medium, rng)
    decibel_ZX = _image(medium, rng)
    dynamic_db = rng.uniform(48, 60)
    reference_db = float(np.percentile(decibel_ZX, 99.7))
    grey_ZX = np.clip(1 + (decibel_ZX - reference_db) / dynamic_db, 0, 1)
    convert = _scan_convert_linear if geometry == "linear" else _scan_convert_sector
    grey_HW = convert(grey_ZX, height_px, width_px)
    pixels_HW = np.rint(grey_HW * 255).astype(np.uint8)
    return SimulatedFrame(pixels_HW, scene, parameters | {"dynamic_db": dynamic_db})


def _tissue(rng: np.random.Generator) -> _Medium:
    """Layers of slightly different echogenicity with wavy borders."""
    shape = (DEPTH_SAMPLES, SCAN_LINES)
    z_ZX, x_ZX = np.meshgrid(
        np.linspace(0, 1, DEPTH_SAMPLES), np.linspace(0, 1, SCAN_LINES), indexing="ij"
    )
    echo_ZX = np.ones(shape)
    for border in np.sort(rng.uniform(0.05, 0.95, rng.integers(2, 5))):
        wave_X = border + 0.02 * np.sin(rng.uniform(2, 9) * x_ZX[0] + rng.uniform(0, 6))
        echo_ZX[z_ZX > wave_X] *= rng.uniform(0.75, 1.3)
    return _Medium(echo_ZX, np.zeros(shape), np.zeros(shape), z_ZX, x_ZX)


def _image(medium: _Medium, rng: np.random.Generator) -> Doubles:
    """Envelope of the received echoes in dB, shape (Z, X)."""
    shape = medium.echo_ZX.shape
    scatterers_ZX = medium.echo_ZX * (
        rng.normal(size=shape) + 1j * rng.normal(size=medium.z_ZX.shape)
    )
    # Pulse length in depth, beam width across; the beam widens away from its focus.
    near_ZX = fftconvolve(scatterers_ZX, _spread(1.6, 1.5), mode="same")
    far_ZX = fftconvolve(scatterers_ZX, _spread(1.6, 3.4), mode="same")
    blend_ZX = np.clip(np.abs(medium.z_ZX - rng.uniform(0.3, 0.6)) * 1.8, 0, 1)
    envelope_ZX = np.abs((1 - blend_ZX) * near_ZX + blend_ZX * far_ZX) + medium.bright_ZX
    depth_cm_ZX = medium.z_ZX * DEPTH_CM
    round_trip_db_ZX = 2 * ATTENUATION_DB_PER_CM_MHZ * FREQUENCY_MHZ * depth_cm_ZX
    lost_db_ZX = round_trip_db_ZX + np.cumsum(medium.loss_ZX, axis=0)
    gained_db_ZX = GAIN_DB_PER_CM * depth_cm_ZX
    noise_ZX = 10 ** (rng.uniform(-44, -38) / 20) * np.abs(rng.normal(size=medium.z_ZX.shape))
    received_ZX = envelope_ZX * 10 ** ((gained_db_ZX - lost_db_ZX) / 20)
    decibel_ZX: Doubles = 20 * np.log10(received_ZX + noise_ZX + 1e-9)
    return decibel_ZX


def _spread(sigma_z: float, sigma_x: float) -> Doubles:
    """Gaussian point spread function of unit energy, in samples."""
    z = np.arange(-8, 9)[:, None]
    x = np.arange(-14, 15)[None]
    spread_ZX = np.exp(-(z**2) / (2 * sigma_z**2) - x**2 / (2 * sigma_x**2))
    unit_ZX: Doubles = spread_ZX / np.sqrt((spread_ZX**2).sum())
    return unit_ZX


def _blob(
    medium: _Medium, rng: np.random.Generator, roughness: float
) -> tuple[Bools, dict[str, float]]:
    """A closed region with a rim that is a random sum of harmonics."""
    depth, across = rng.uniform(0.32, 0.55), rng.uniform(0.35, 0.65)
    radius = rng.uniform(0.1, 0.17)
    dz_ZX, dx_ZX = (medium.z_ZX - depth), (medium.x_ZX - across) * rng.uniform(0.75, 1.1)
    angle_ZX = np.arctan2(dz_ZX, dx_ZX)
    rim_ZX = np.full_like(angle_ZX, radius)
    for harmonic in range(2, 9):
        strength = roughness * radius * rng.normal() / harmonic**0.7
        rim_ZX += strength * np.cos(harmonic * angle_ZX + rng.uniform(0, 2 * np.pi))
    truth = {"depth": depth, "across": across, "radius": radius}
    return np.hypot(dz_ZX, dx_ZX) < rim_ZX, truth


def _draw_tissue(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    return {}


def _draw_cyst(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    """Anechoic, smooth, with posterior enhancement: fluid attenuates less than tissue."""
    inside_ZX, truth = _blob(medium, rng, roughness=0.03)
    medium.echo_ZX[inside_ZX] = 0.008
    enhancement_db = rng.uniform(8, 14)
    medium.loss_ZX[inside_ZX] -= enhancement_db / (2 * truth["radius"] * DEPTH_SAMPLES)
    return truth | {"enhancement_db": enhancement_db}


def _draw_mass(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    """Hypoechoic with an irregular rim; attenuates a little more than its surroundings."""
    inside_ZX, truth = _blob(medium, rng, roughness=0.22)
    contrast = rng.uniform(0.2, 0.35)
    medium.echo_ZX[inside_ZX] *= contrast
    medium.loss_ZX[inside_ZX] += 3.0 / (2 * truth["radius"] * DEPTH_SAMPLES)
    return truth | {"contrast": contrast}


def _draw_stone(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    """A bright curved surface that lets nothing through: clean shadow below."""
    depth, across = rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.7)
    half = rng.uniform(0.05, 0.1)
    offset_X = (medium.x_ZX[0] - across) / half
    hit_X = np.abs(offset_X) < 1
    surface_X = depth + 0.25 * half * offset_X**2
    behind_ZX = (medium.z_ZX >= surface_X) & hit_X
    thick_ZX = behind_ZX & (medium.z_ZX < surface_X + 0.014)
    medium.bright_ZX[thick_ZX] += 9.0
    first_Z = np.argmax(behind_ZX & ~thick_ZX, axis=0)
    medium.loss_ZX[first_Z[hit_X], np.flatnonzero(hit_X)] += rng.uniform(30, 42)
    return {"depth": depth, "across": across, "half_width": half}


def _pleura(medium: _Medium, rng: np.random.Generator) -> tuple[Doubles, float]:
    """Chest wall over aerated lung: a bright line, below it no tissue of its own."""
    depth = rng.uniform(0.17, 0.26)
    line_X = depth + 0.008 * np.sin(rng.uniform(2, 5) * medium.x_ZX[0] + rng.uniform(0, 6))
    distance_ZX = medium.z_ZX - line_X
    medium.bright_ZX += 9.0 * np.exp(-((distance_ZX / 0.007) ** 2))
    medium.echo_ZX *= np.where(distance_ZX > 0, 0.13 * np.exp(-1.2 * distance_ZX), 1)
    return line_X, depth


def _draw_a_lines(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    """Reverberation between probe and pleura: equidistant horizontal repeats, fading."""
    line_X, depth = _pleura(medium, rng)
    for repeat in range(2, int(1 / depth) + 1):
        distance_ZX = medium.z_ZX - repeat * line_X
        strength = 5.0 * 0.68 ** (repeat - 2)
        medium.bright_ZX += strength * np.exp(-((distance_ZX / 0.008) ** 2))
    return {"pleura_depth": depth}


def _draw_b_lines(medium: _Medium, rng: np.random.Generator) -> dict[str, float]:
    """Vertical comet tails from the pleura to the bottom, no fading (Lichtenstein 1997)."""
    line_X, depth = _pleura(medium, rng)
    count = int(rng.integers(3, 7))
    below_ZX = medium.z_ZX > line_X
    for across in rng.uniform(0.08, 0.92, count):
        width = rng.uniform(0.012, 0.028)
        fan_ZX = width * (1 + 0.8 * medium.z_ZX)
        tail_ZX = np.exp(-(((medium.x_ZX - across) / fan_ZX) ** 2))
        ripple_Z = 1 + 0.35 * gaussian_filter1d(rng.normal(size=DEPTH_SAMPLES), 2.0)
        medium.bright_ZX += 2.4 * below_ZX * tail_ZX * np.abs(ripple_Z)[:, None]
    medium.loss_ZX[below_ZX] -= 0.012
    return {"pleura_depth": depth, "count": float(count)}


_DRAW: dict[str, Draw] = {
    "a_lines": _draw_a_lines,
    "b_lines": _draw_b_lines,
    "cyst": _draw_cyst,
    "mass": _draw_mass,
    "stone": _draw_stone,
    "tissue": _draw_tissue,
}
SCENES = tuple(_DRAW)


def _scan_convert_linear(grey_ZX: Doubles, height_px: int, width_px: int) -> Doubles:
    z_HW, x_HW = np.meshgrid(
        np.linspace(0, DEPTH_SAMPLES - 1, height_px),
        np.linspace(0, SCAN_LINES - 1, width_px),
        indexing="ij",
    )
    grey_HW: Doubles = map_coordinates(grey_ZX, [z_HW, x_HW], order=1)
    return grey_HW


def _scan_convert_sector(grey_ZX: Doubles, height_px: int, width_px: int) -> Doubles:
    """Scan lines fan out from a virtual apex behind the skin; outside the fan is black."""
    far_cm = SECTOR_APEX_CM + DEPTH_CM
    half_width_cm = far_cm * np.sin(SECTOR_HALF_ANGLE_RAD)
    top_cm = SECTOR_APEX_CM * np.cos(SECTOR_HALF_ANGLE_RAD)
    y_HW, x_HW = np.meshgrid(
        np.linspace(top_cm, far_cm, height_px),
        np.linspace(-half_width_cm, half_width_cm, width_px),
        indexing="ij",
    )
    z_HW = (np.hypot(x_HW, y_HW) - SECTOR_APEX_CM) / DEPTH_CM * (DEPTH_SAMPLES - 1)
    angle_HW = np.arctan2(x_HW, y_HW) / SECTOR_HALF_ANGLE_RAD
    line_HW = (angle_HW + 1) / 2 * (SCAN_LINES - 1)
    grey_HW: Doubles = map_coordinates(grey_ZX, [z_HW, line_HW], order=1, mode="constant")
    return grey_HW


def samples(per_class: int, seed: int) -> list[tuple[str, SimulatedFrame]]:
    """(relative file name, frame) of each sample; half of them linear, half sector."""
    frames = []
    for scene in SCENES:
        for number in range(per_class):
            rng = np.random.default_rng([seed, SCENES.index(scene), number])
            geometry: ProbeShape = "linear" if number % 2 == 0 else "sector"
            frame = simulate(scene, rng, geometry=geometry, height_px=144, width_px=160)
            frames.append((f"{scene}/{scene}_{number:02d}.png", frame))
    return frames


def write_samples(folder: Path, *, per_class: int = 10, seed: int = 7) -> list[Path]:
    """Write ``samples`` as PNG files, one folder per scene; return their paths."""
    paths = []
    for name, frame in samples(per_class, seed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(frame.pixels_HW))
        paths.append(path)
    return paths
