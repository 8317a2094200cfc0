"""A clip between decoder and encoder: an error reaches its caller and frees what it held."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.embedding.clips import ClipEmbedder
from service.embedding.onnx_session import open_text_finder
from service.errors import InvalidSettings, Overloaded
from service.imaging.analysis.preprocess import PreprocessSpec
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.sandbox import DecoderPool
from service.settings import read_settings
from tests.imaging import dicom_files as made

SPEC = PreprocessSpec(32, (0.5,) * 3, (0.25,) * 3)
MP4 = (Path(__file__).parents[1] / "fixtures" / "clips" / "h264.mp4").read_bytes()
LONG = made.dicom(np.random.default_rng(1).integers(0, 255, (120, 32, 32), dtype=np.uint8))
FROZEN = made.dicom(np.full((120, 32, 32), 7, np.uint8))


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(1, DecodeLimits()) as pool:
        yield pool


class CountingEncoder:
    """Sums a frame into two numbers; refuses the frame number ``refuses``."""

    def __init__(self, refuses: int = -1) -> None:
        self.seen = 0
        self.waiting = 0
        self.most_waiting = 0
        self.refuses = refuses

    async def submit(self, frame_3SS: np.ndarray) -> np.ndarray:
        number, self.seen = self.seen, self.seen + 1
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        if number == self.refuses:
            raise Overloaded("the queue is full")
        angle = float(frame_3SS.sum())
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


def embed(decoders: DecoderPool, encoder: CountingEncoder, data: bytes):
    clips = ClipEmbedder(decoders, 1, encoder.submit, SPEC, open_text_finder())
    try:
        return asyncio.run(
            clips.embed(data, Sampling(), region_mode="auto", thumbnail_side_px=None)
        )
    finally:
        clips.close()


def test_an_encoder_that_refuses_one_frame_ends_the_clip_and_frees_the_decoder(decoders) -> None:
    with pytest.raises(Overloaded):
        embed(decoders, CountingEncoder(refuses=5), LONG)
    assert len(embed(decoders, CountingEncoder(), MP4).frames) == 12


def test_frames_come_in_order_and_few_are_under_way(decoders) -> None:
    encoder = CountingEncoder()
    clip = embed(decoders, encoder, LONG)
    assert [frame.index for frame in clip.frames] == list(range(120))
    assert encoder.seen == 120
    assert encoder.most_waiting <= 24


def test_a_frozen_clip_is_encoded_once(decoders) -> None:
    encoder = CountingEncoder()
    clip = embed(decoders, encoder, FROZEN)
    assert (len(clip.frames), encoder.seen) == (120, 1)


def test_a_caller_who_hangs_up_frees_the_decoder(decoders) -> None:
    async def leave() -> None:
        stuck: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()

        async def never(frame_3SS: np.ndarray) -> np.ndarray:
            return await asyncio.shield(stuck)

        clips = ClipEmbedder(decoders, 1, never, SPEC, open_text_finder())
        work = asyncio.ensure_future(
            clips.embed(LONG, Sampling(), region_mode="auto", thumbnail_side_px=None)
        )
        await asyncio.sleep(0.2)
        work.cancel()
        await asyncio.wait([work])
        await asyncio.to_thread(clips.close)

    asyncio.run(leave())
    assert len(embed(decoders, CountingEncoder(), MP4).frames) == 12


def test_a_setting_that_chooses_no_frames_is_refused_at_the_start(monkeypatch) -> None:
    monkeypatch.setenv("SONOPROBE_CLIP_FRAMES", "some")
    with pytest.raises(InvalidSettings, match="CLIP_FRAMES"):
        read_settings()
