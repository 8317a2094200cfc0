"""Files that are made to exhaust a service: each is refused by its own error, and others go on."""

import struct
import zlib
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging import costly_files as costly
from tests.imaging import dicom_files as made
from tests.imaging.screens import speckle
from tests.imaging.test_clips import saved
from tests.service.expected import BUNDLE
from tests.service.test_frame_search import png


@pytest.fixture
def door(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key, timeout_s=120) as client:
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


STILL = np.zeros((1, 64, 96), np.uint8)
# Made when its test runs: the largest take seconds and hundreds of megabytes.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a decompression bomb of 400 megapixels": (
        lambda: png_header(20_000, 20_000, zlib.compress(bytes(20_001) * 20_000, 9)),
        "image_too_large",
    ),
    "a header of 65,535 x 65,535": (lambda: png_header(65535, 65535, b""), "image_too_large"),
    "the same in DICOM": (
        lambda: made.dicom(STILL, Rows=65535, Columns=65535),
        "image_too_large",
    ),
    "a clip of 100,000 frames": (lambda: repeated_gif(100_000), "clip_too_long"),
    "a DICOM cine of 100,000 frames": (
        lambda: made.dicom(np.zeros((100_000, 8, 8), np.uint8)),
        "clip_too_long",
    ),
    "a progressive JPEG of 3,000 scans": (
        lambda: costly.jpeg(7000, 7000, scans=3000),
        "decode_limit",
    ),
    "10 GB deflated in DICOM": (lambda: made.deflated_zeros(1000), "decode_limit"),
}


ALL_COSTLY = costly.COSTLY | costly.COSTLY_TO_ANALYZE


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_by_its_own_error_and_the_next_is_answered(
    door: Client, what: str
) -> None:
    make, code = HOSTILE[what]
    with pytest.raises(ApiError) as caught:
        door.request("POST", "/v1/embeddings", content=make())
    assert caught.value.code == code
    assert caught.value.status in (413, 422)
    items = door.embed([png(speckle(96, 96)), made.dicom(speckle(96, 96)[None])])["items"]
    assert all("embedding" in item for item in items)


@pytest.mark.slow
@pytest.mark.parametrize("what", ALL_COSTLY)
def test_a_costly_file_is_answered_or_refused_and_the_next_is_answered(
    strict: Client, what: str
) -> None:
    item, small = strict.embed([ALL_COSTLY[what](), png(speckle(96, 96))])["items"]
    if "problem" in item:
        assert item["problem"]["status"] in (413, 415, 422), item
    assert "embedding" in small


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service that gives each file two seconds."""
    folder = tmp_path_factory.mktemp("strict")
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0, max_decode_s=2)
    with (
        local_service(settings) as local,
        Client(local.url, key=local.key, timeout_s=120) as client,
    ):
        yield client


def test_head_is_answered_as_get_without_the_body(tiny: LocalService) -> None:
    headers = {"Authorization": f"Bearer {tiny.key}"}
    with httpx.Client(base_url=tiny.url, headers=headers) as http:
        for path in ("/health/live", "/health/ready", "/v1/encoder", "/v1/collections", "/docs"):
            head, got = http.head(path), http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == got.headers["content-type"]
            lengths = (head.headers["content-length"], str(len(got.content)))
            if path == "/health/ready":  # its ages have a digit more or less from one to the next
                pairs = ((http.head(path), http.get(path)) for _ in range(20))
                found = ((h.headers["content-length"], str(len(g.content))) for h, g in pairs)
                lengths = next((pair for pair in found if pair[0] == pair[1]), lengths)
            assert lengths[0] == lengths[1]
        assert http.head("/v1/collections/none").status_code == 404
        assert http.head("/v1/embeddings").status_code == 405
        assert httpx.head(f"{tiny.url}/v1/encoder").status_code == 401
