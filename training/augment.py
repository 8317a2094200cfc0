"""Ultrasound augmentation: geometry, then the physics of beam and receiver. Seeded, NumPy.

Every function takes and returns intensities in [0, 1] as float32 (H, W), depth along H, the
transducer at the top. ``depth_HW`` is the distance to the beam apex in units of the frame side.
Shape suffixes: H height, W width, S output side.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from service.imaging.preprocess import resize

Plane = npt.NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How strong each change is; ``chance`` is the probability of each physical effect."""

    crop_area_min: float = 0.45
    aspect_max: float = 4 / 3
    flip_chance: float = 0.5
    chance: float = 0.3
    gamma_max: float = 1.6
    attenuation_max: float = 1.5
    shadow_strength_max: float = 0.8
    haze_max: float = 0.3
    speckle_max: float = 0.25
    blur_px_max: float = 1.5


def view(
    frame_HW: npt.NDArray[np.uint8], side_px: int, *, seed: tuple[int, ...], config: AugmentConfig
) -> npt.NDArray[np.uint8]:
    """Return one augmented view, uint8 (S, S); the same seed gives the same view for ever."""
    rng = np.random.default_rng(seed)
    cropped_SS = resize(_random_crop(frame_HW, rng, config), side_px)
    if rng.random() < config.flip_chance:
        cropped_SS = cropped_SS[:, ::-1]
    plane = _plane(cropped_SS / 255)
    depth_HW = _depth_from_apex(side_px, rng)
    for effect in (
        _change_gain,
        _attenuate,
        _shadow,
        _haze,
        _speckle,
        _blur,
    ):
        if rng.random() < config.chance:
            plane = effect(plane, depth_HW, rng, config)
    return np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)


def _plane(values_HW: npt.ArrayLike) -> Plane:
    return np.asarray(values_HW, dtype=np.float32)


def _random_crop(
    frame_HW: npt.NDArray[np.uint8], rng: Rng, config: AugmentConfig
) -> npt.NDArray[np.uint8]:
    height_px, width_px = frame_HW.shape
    area = rng.uniform(config.crop_area_min, 1)
    aspect = np.exp(rng.uniform(-1, 1) * np.log(config.aspect_max))
    crop_h = min(height_px, max(8, round(height_px * np.sqrt(area / aspect))))
    crop_w = min(width_px, max(8, round(width_px * np.sqrt(area * aspect))))
    top = int(rng.integers(0, height_px - crop_h + 1))
    left = int(rng.integers(0, width_px - crop_w + 1))
    return np.ascontiguousarray(frame_HW[top : top + crop_h, left : left + crop_w])


def _depth_from_apex(side_px: int, rng: Rng) -> Plane:
    """Distance to an apex above the frame: near for a sector, far for a linear array."""
    rows, columns = np.mgrid[0:side_px, 0:side_px].astype(np.float32) / side_px
    apex_row, apex_column = -rng.uniform(0, 1), 0.5
    distance = np.hypot(rows - apex_row, columns - apex_column) + apex_row
    return _plane(np.clip(distance, 0, None))


def _change_gain(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """Dynamic range (gamma) and a smooth time-gain compensation curve over depth."""
    gamma = np.exp(rng.uniform(-1, 1) * np.log(config.gamma_max))
    knots = rng.uniform(0.75, 1.25, size=6)
    gain = np.interp(depth_HW, np.linspace(0, 1.2, 6), knots)
    return _plane(plane**gamma * gain)


def _attenuate(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """Exponential loss over depth, exp(-r d)."""
    rate = rng.uniform(0, config.attenuation_max)
    return _plane(plane * np.exp(-rate * depth_HW))


def _shadow(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """Darkness below one depth and around one column, with a Gaussian edge."""
    side_px = plane.shape[0]
    columns = np.arange(side_px, dtype=np.float32)[None] / side_px
    strength = rng.uniform(0.25, config.shadow_strength_max)
    centre, width, start = rng.uniform(0, 1), rng.uniform(0.03, 0.12), rng.uniform(0, 0.7)
    profile = np.exp(-((columns - centre) ** 2) / (2 * width**2))
    below = 1 / (1 + np.exp(-(depth_HW - start) * 40))
    return _plane(plane * (1 - strength * profile * below))


def _haze(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """A noisy bright band at one depth, as near-field clutter makes it."""
    centre, width = rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.1)
    band = np.exp(-((depth_HW - centre) ** 2) / (2 * width**2))
    noise = rng.uniform(0, 1, size=plane.shape)
    return _plane(plane + config.haze_max * noise * band)


def _speckle(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """Multiplicative Rayleigh speckle, correlated over about a pixel."""
    scale = rng.uniform(0.05, config.speckle_max)
    rayleigh = rng.rayleigh(scale, size=plane.shape)
    smooth = ndimage.gaussian_filter(rayleigh, rng.uniform(0, 1.0))
    return _plane(plane * np.clip(1 - scale + smooth, 0, None))


def _blur(plane: Plane, depth_HW: Plane, rng: Rng, config: AugmentConfig) -> Plane:
    """A wider point spread function, laterally more than axially."""
    sigma_px = rng.uniform(0.3, config.blur_px_max)
    blurred: Plane = ndimage.gaussian_filter(plane, (sigma_px * 0.6, sigma_px))
    return blurred
