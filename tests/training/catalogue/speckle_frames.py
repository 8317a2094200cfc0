"""Frames of random speckle, so that no test needs a published picture."""

import io
import zipfile

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def speckle(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
    """A frame of Rayleigh speckle under a smooth echo map; other seed, other picture."""
    rng = np.random.default_rng(seed)
    echo = gaussian_filter(rng.random((height, width)), 6)
    echo = (echo - echo.min()) / (echo.max() - echo.min())
    grain = gaussian_filter(rng.rayleigh(1.0, (height, width)), 0.8)
    return np.clip(40 + 170 * echo * grain / 1.25, 0, 255).astype(np.uint8)


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(speckle(seed)).save(stream, "PNG")
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
