"""Every picture of a GIF has the colours of its own palette."""

import io

import numpy as np
import pytest
from PIL import Image

from service.cli.demo import SAMPLES
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3)
HOT = np.stack([RAMP[:, 0], RAMP[:, 0] // 2, RAMP[:, 0] // 4], axis=-1)
INVERTED = RAMP[::-1].copy()


def picture(table_L3: np.ndarray, top: int) -> Image.Image:
    image = Image.fromarray(np.roll(GREY, top, axis=0))
    if table_L3 is RAMP:
        return image
    image.putpalette(table_L3.tobytes())
    return image


def gif(tables: list[np.ndarray], **options: object) -> bytes:
    pictures = [picture(table, 7 * index) for index, table in enumerate(tables)]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], optimize=False, **options
    )
    return buffer.getvalue()


def shown(data: bytes, sampling: str = "all") -> list[np.ndarray]:
    image = read(data, parse_sampling(sampling), DecodeLimits())
    return [frame.rgb for frame in image]


@pytest.mark.parametrize(
    "tables",
    [
        [RAMP, HOT, RAMP],
        [RAMP, INVERTED, HOT],
        [HOT, RAMP, INVERTED],
        [RAMP, RAMP, RAMP],
    ],
    ids=["grey hot grey", "grey inverted hot", "hot grey inverted", "grey only"],
)
@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_pictures_behind_a_grey_one_keep_their_palettes(tables, disposal: int) -> None:
    frames = shown(gif(tables, disposal=disposal))
    for index, (frame, table) in enumerate(zip(frames, tables, strict=True)):
        np.testing.assert_array_equal(frame, table[np.roll(GREY, 7 * index, axis=0)])


def test_one_picture_is_the_same_whichever_are_asked_for() -> None:
    data = gif([RAMP, HOT, RAMP, INVERTED])
    every, some = shown(data), shown(data, "uniform:2")
    np.testing.assert_array_equal(some, [every[1], every[3]])


def test_a_palette_of_the_file_counts_behind_a_first_picture_with_greys_of_its_own() -> None:
    coloured, grey = (gif([table]) for table in (HOT, RAMP))
    body_at = 13 + 3 * 256  # behind the header and the palette of the file
    first = grey[body_at:].rstrip(b";")
    at = first.index(b",") + 9  # the flags of the picture
    first = first[:at] + bytes([first[at] | 0x87]) + RAMP.tobytes() + first[at + 1 :]
    frames = shown(coloured[:body_at] + first + coloured[body_at:])
    np.testing.assert_array_equal(frames, [RAMP[GREY], HOT[GREY]])
