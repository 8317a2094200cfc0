"""Files that are made to exhaust a service: each is refused by its own error, and others go on."""

import struct
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from service.client import ApiError, Client
from service.server import LocalService, local_service
from service.settings import Settings
from tests.imaging import dicom_files as made
from tests.imaging.screens import speckle
from tests.imaging.test_clips import saved
from tests.service.expected import BUNDLE
from tests.service.test_cines import png


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service as it ships."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("h"), bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running:
        yield running


@pytest.fixture
def door(ward: LocalService) -> Iterator[Client]:
    with Client(ward.url, key=ward.key, timeout_s=120) as client:
        yield client


def png_header(width: int, height: int, packed: bytes) -> bytes:
    """A grey PNG of that size whatever is in it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    ends = chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + ends


def repeated_gif(frames: int) -> bytes:
    one = saved("GIF", [np.zeros((8, 8), np.uint8)])
    start = one.index(b"\x2c")
    picture = b"\x21\xf9\x04\x00\x01\x00\x00\x00" + one[start:-1]
    return one[:start] + picture * frames + b"\x3b"


def deflated(blocks: int) -> bytes:
    """A deflated DICOM file with ``blocks`` x 10 MB of zeros behind its header."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(10_000_000)
    first = engine.compress(zeros) + engine.flush(zlib.Z_FULL_FLUSH)
    again = engine.compress(zeros) + engine.flush(zlib.Z_FULL_FLUSH)
    header = made.dicom(np.zeros((1, 64, 96), np.uint8), made.DEFLATED)
    meta = header[: 132 + 12 + int.from_bytes(header[140:144], "little")]
    return meta + first + again * (blocks - 1)


STILL = np.zeros((1, 64, 96), np.uint8)
BOMB = png_header(20_000, 20_000, zlib.compress(bytes(20_001) * 20_000, 9))
HOSTILE = {
    "a decompression bomb of 400 megapixels": (BOMB, "image_too_large"),
    "a header of 65,535 x 65,535": (png_header(65535, 65535, b""), "image_too_large"),
    "the same in DICOM": (made.dicom(STILL, Rows=65535, Columns=65535), "image_too_large"),
    "a clip of 100,000 frames": (repeated_gif(100_000), "clip_too_long"),
    "the same in DICOM tags": (made.dicom(STILL, NumberOfFrames=100_000), "clip_too_long"),
    "10 GB deflated in DICOM": (deflated(1000), "decode_limit"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_by_its_own_error_and_the_next_is_answered(
    door: Client, what: str
) -> None:
    data, code = HOSTILE[what]
    with pytest.raises(ApiError) as caught:
        door.request("POST", "/v1/embeddings", content=data)
    assert caught.value.code == code
    assert caught.value.status in (413, 422)
    items = door.embed([png(speckle(96, 96)), made.dicom(speckle(96, 96)[None])])["items"]
    assert all("embedding" in item for item in items)


def test_head_is_answered_as_get_without_the_body(ward: LocalService) -> None:
    headers = {"Authorization": f"Bearer {ward.key}"}
    with httpx.Client(base_url=ward.url, headers=headers) as http:
        for path in ("/health/live", "/health/ready", "/v1/encoder", "/v1/collections", "/docs"):
            head, got = http.head(path), http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
            assert head.headers["content-length"] == str(len(got.content))
        assert http.head("/v1/collections/none").status_code == 404
        assert http.head("/v1/embeddings").status_code == 405
        assert httpx.head(f"{ward.url}/v1/encoder").status_code == 401
