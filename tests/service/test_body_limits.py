"""Raw loops of ordinary length are accepted, and only a few large bodies are held at a time."""

import http.client
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from service.api.body_limits import BodyLimits, LargeBody
from service.errors import Overloaded
from service.imaging.formats.limits import DecodeLimits
from service.server import LocalService, local_service
from service.settings import Settings
from tests.service.expected import BUNDLE

JSON_BYTES = 200_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """Limits as in the default settings, at a hundredth of their size."""
    data_dir: Path = tmp_path_factory.mktemp("limits")
    settings = Settings(
        data_dir=data_dir,
        bundle_dir=BUNDLE,
        drain_s=0,
        max_upload_bytes=3_200_000,
        max_json_bytes=JSON_BYTES,
        max_image_bytes=100_000,
        max_clip_bytes=3_000_000,
        max_large_uploads=1,
    )
    with local_service(settings) as running:
        yield running


def loop(frames: int) -> bytes:
    """An uncompressed stack of 160 x 120 pixels in colour, 57,600 bytes a frame."""
    rng = np.random.default_rng(3)
    stack = rng.integers(0, 256, (frames, 120, 160, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stack, photometric="rgb", metadata=None)
    return buffer.getvalue()


def test_the_default_limits_hold_a_raw_loop_of_two_hundred_frames() -> None:
    settings, limits = Settings(), DecodeLimits()
    raw = 200 * 800 * 600 * 3 + 100_000
    assert raw < settings.max_clip_bytes < settings.max_upload_bytes
    # The file, a copy of it in the reader, and the frames being decoded.
    assert 4 * raw < limits.max_decode_bytes
    assert settings.max_image_bytes <= settings.max_json_bytes < settings.max_clip_bytes


def test_a_raw_loop_may_be_larger_than_a_still_or_json(small: LocalService) -> None:
    with httpx.Client(
        base_url=small.url, headers={"Authorization": f"Bearer {small.key}"}, timeout=60
    ) as link:
        form = {"files": ("loop.tif", loop(40))}
        items = link.post("/v1/embeddings", files=form).json()["items"]
        assert (items[0]["image"]["kind"], items[0]["image"]["frames"]) == ("cine", 40)
        too_long = link.post("/v1/embeddings", files={"files": ("loop.tif", loop(54))})
        assert too_long.json()["code"] == "upload_too_large"
        noise = np.random.default_rng(1).integers(0, 256, (300, 400), dtype=np.uint8)
        still = io.BytesIO()
        Image.fromarray(noise).save(still, "PNG")
        refused = link.post("/v1/embeddings", files={"files": ("still.png", still.getvalue())})
        assert refused.json()["code"] == "upload_too_large"
        document = link.post(
            "/v1/embeddings",
            content=b'{"images": ["' + b"A" * JSON_BYTES + b'"]}',
            headers={"Content-Type": "application/json"},
        )
        assert (document.status_code, document.json()["code"]) == (413, "upload_too_large")


def test_a_second_large_body_waits_its_turn_and_small_ones_do_not(small: LocalService) -> None:
    """One client sends a large body slowly; others still get their small requests answered."""
    address = urlsplit(small.url)
    data = loop(40)
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {small.key}\r\n"
        f"Content-Type: image/tiff\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with (
        socket.create_connection((address.hostname, address.port), timeout=60) as slow,
        httpx.Client(
            base_url=small.url, headers={"Authorization": f"Bearer {small.key}"}, timeout=60
        ) as link,
    ):
        slow.sendall(head.encode() + data[:-1])
        codes = set[int]()
        while 503 not in codes:  # until the slow body has arrived
            answer = link.post("/v1/embeddings", files={"files": ("loop.tif", data)})
            codes.add(answer.status_code)
        assert answer.json()["code"] == "overloaded"
        few = link.post("/v1/embeddings", files={"files": ("loop.tif", loop(2))})
        assert few.status_code == 200
        slow.sendall(data[-1:])
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert response.status == 200
        assert link.post("/v1/embeddings", files={"files": ("loop.tif", data)}).status_code == 200


def test_the_place_of_a_large_body_is_given_back() -> None:
    limits = BodyLimits(1000, 100, 1)
    with LargeBody(limits) as first:
        first.received(100)
        first.received(101)
        first.received(900)
        with LargeBody(limits) as second, pytest.raises(Overloaded, match="at most 1 bodies"):
            second.received(101)
    assert limits.held == 0
    with LargeBody(limits) as third:
        third.received(500)


@pytest.mark.parametrize(
    ("content_type", "limit"),
    [
        (b"application/json", 100),
        (b"", 100),
        (b"text/plain", 100),
        (b"multipart/form-data; boundary=x", 1000),
        (b"Image/TIFF", 1000),
        (b"video/mp4", 1000),
        (b"application/dicom", 1000),
    ],
)
def test_only_files_may_be_large(content_type: bytes, limit: int) -> None:
    assert BodyLimits(1000, 100, 1).largest(content_type) == limit
