"""Whether a JPEG has less data than its pixels need although it has its end marker.

libjpeg then fills up with the middle of the range, and its warnings cannot be had. But it skips
bytes between a whole scan and the next marker, so bytes put there change the picture only where
data was missing.

Shape suffixes: H height, W width.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_SOI, _SOS, _EOI, _DRI = 0xD8, 0xDA, 0xD9, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_ARITHMETIC = range(0xC9, 0xD0)  # frames whose coder may leave out zeros at its end
_MARKER = re.compile(rb"\xff[^\x00]")  # a 0 follows each FF that is data (ITU-T T.81 B.1.1.5)
FILLING = bytes(np.random.default_rng(0).integers(1, 255, 24, dtype=np.uint8))
_MCU_PX = 16  # and a border of 2: an encoder may leave out the bits of a last block


def lost_data(
    data: bytes,
    pixels: npt.NDArray[Any],
    decode: Callable[[bytes], npt.NDArray[Any]],
    *,
    is_lossless: bool,
) -> bool:
    """Whether ``decode`` had to make up more than a last block.

    Mostly the last pixel of the picture tells that nothing is missing; else it is decoded again.

    Args:
        data: the codestream.
        pixels: (H, W) or (H, W, C) that ``decode`` made of it.
        is_lossless: a JPEG of process 14.
    """
    has_one_run = data.count(bytes((0xFF, _SOS))) == 1 and bytes((0xFF, _DRI)) not in data
    if has_one_run and not is_lossless and not _may_be_made_up(pixels[-1, -1]):
        return False
    filled = _filled(data)
    if filled is None:
        return False
    again = decode(filled)
    if np.array_equal(again, pixels):
        return False
    changed = again != pixels
    bottom, right = (max(0, (side - 1) // _MCU_PX * _MCU_PX - 2) for side in pixels.shape[:2])
    return bool(changed[:bottom].any() or changed[:, :right].any())


def _may_be_made_up(last: npt.NDArray[Any]) -> bool:
    """Whether the last pixel is the middle of the range, as all that libjpeg makes up.

    Anything may be where it then converts colours: in CMYK.
    """
    if last.size > 3:
        return True
    middle = 128 if last.dtype == np.uint8 else 2048
    return bool((last == middle).all())


def _filled(data: bytes) -> bytes | None:
    """With more bytes after each run of entropy-coded data; None where that would not be safe.

    A scan with restarts gets one more, for those that lost all behind a whole interval.
    """
    parts, at, start = [], data.index(bytes((0xFF, _SOI))) + 2, 0
    is_coded, has_restarts, restarts = False, False, 0
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            return None
        at = found.start() + 2
        marker = data[at - 1]
        while marker == 0xFF and at < len(data):  # fill bytes
            marker, at = data[at], at + 1
        if marker in (0x00, 0xFF):
            continue
        if is_coded:
            parts += [data[start : found.start()], FILLING]
            start = found.start()
        if marker in _RESTARTS:
            restarts = marker - _RESTARTS.start + 1
            continue
        if is_coded and has_restarts:
            parts += [bytes((0xFF, _RESTARTS[restarts % 8])), FILLING]
        if marker == _EOI:
            return b"".join((*parts, data[start:]))
        if marker in _ARITHMETIC:
            return None
        has_restarts = has_restarts or marker == _DRI
        is_coded, restarts = marker == _SOS, 0
        at += int.from_bytes(data[at : at + 2], "big")
