"""GIF whose first picture is grey and whose later ones have a palette of colours.

Pillow drops a palette that is a ramp of greys. If that of the first picture is one, it then keeps
the samples of all later pictures and ignores their palettes.
"""

import io
from collections.abc import Iterator

from PIL import ImageFile
from PIL.GifImagePlugin import GifImageFile

_HEADER_BYTES, _DESCRIPTOR_BYTES = 13, 10
_EXTENSION, _PICTURE = 0x21, 0x2C
_RAMP = bytes(level for level in range(256) for _ in range(3))


class _WithPalettes(GifImageFile):
    def _is_palette_needed(self, p: bytes) -> bool:
        return True


def with_palettes(image: ImageFile.ImageFile, data: bytes) -> ImageFile.ImageFile:
    """The same image, opened so that each picture has the colours of its palette.

    Args:
        image: of which Pillow has read the header.
        data: the file.
    """
    if image.format != "GIF" or image.mode != "L":
        return image
    if all(_RAMP.startswith(table) for table in _tables(data)):
        return image
    return _WithPalettes(io.BytesIO(data))


def _tables(data: bytes) -> Iterator[bytes]:
    """Every colour table, of the file and of its pictures (GIF89a, 19 and 21), up to its end."""
    at = _HEADER_BYTES
    try:
        table = _table(data, at, data[10])
        yield table
        at += len(table)
        while data[at] in (_EXTENSION, _PICTURE):
            if data[at] == _EXTENSION:
                at += 2
            else:
                table = _table(data, at + _DESCRIPTOR_BYTES, data[at + 9])
                yield table
                at += _DESCRIPTOR_BYTES + len(table) + 1  # the size of the codes
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:  # cut off
        return


def _table(data: bytes, at: int, flags: int) -> bytes:
    """Empty where the flags tell of none."""
    return data[at : at + (3 << (flags & 7) + 1)] if flags & 0x80 else b""
