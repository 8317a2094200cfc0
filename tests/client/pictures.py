"""Frames for the tests of the client."""

import io

import numpy as np
from PIL import Image


def frame(seed: int, side: int = 48) -> np.ndarray:
    """A grey frame with a disc, of its own for each seed."""
    y, x = np.mgrid[:side, :side]
    disc = (x - 10 - seed % 20) ** 2 + (y - 24) ** 2 < 60 + 5 * seed
    noise = np.random.default_rng(seed).integers(0, 60, (side, side))
    return np.where(disc, 220, noise).astype(np.uint8)


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame(seed)).save(file, "PNG")
    return file.getvalue()
