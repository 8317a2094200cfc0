"""A file between decoder and encoder: an error reaches the caller and frees all resources."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.embedding.batcher import Encoded
from service.embedding.file_embedder import FileDefaults, FileEmbedder
from service.embedding.onnx_session import open_text_finder
from service.embedding.pipeline import DEFAULT_OPTIONS, EmbedOptions
from service.errors import InvalidSettings, Overloaded
from service.imaging.analysis.preprocess import PreprocessSpec
from service.imaging.analysis.thumbnails import encode_png
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling
from service.imaging.sandbox.decoder_pool import DecoderPool
from service.settings import read_settings
from tests.imaging import dicom_files as made
from tests.imaging.screens import say, speckle

DEFAULTS = FileDefaults(Sampling(), "auto", 192, DecodeLimits())
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

    async def submit_mapped(self, frame_3SS: np.ndarray) -> Encoded:
        return Encoded(await self.submit(frame_3SS), np.ones((2, 3, 3), np.float32))


def embed(decoders: DecoderPool, encoder: CountingEncoder, data: bytes, options=DEFAULT_OPTIONS):
    files = FileEmbedder(decoders, encoder, SPEC, open_text_finder(), DEFAULTS)
    try:
        return asyncio.run(files.embed(data, options))
    finally:
        files.close()


def test_an_encoder_that_refuses_one_frame_ends_the_clip_and_frees_the_decoder(decoders) -> None:
    with pytest.raises(Overloaded):
        embed(decoders, CountingEncoder(refuses=5), LONG)
    assert len(embed(decoders, CountingEncoder(), MP4).used) == 12


def test_frames_come_in_order_and_few_are_under_way(decoders) -> None:
    encoder = CountingEncoder()
    clip = embed(decoders, encoder, LONG)
    assert [frame.index for frame in clip.used] == list(range(120))
    assert encoder.seen == 120
    assert encoder.most_waiting <= 24


def test_a_frozen_clip_is_encoded_once(decoders) -> None:
    encoder = CountingEncoder()
    clip = embed(decoders, encoder, FROZEN)
    assert (len(clip.used), encoder.seen) == (120, 1)


def test_a_caller_who_hangs_up_frees_the_decoder(decoders) -> None:
    async def leave() -> None:
        stuck: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()

        class NeverEncoder(CountingEncoder):
            async def submit(self, frame_3SS: np.ndarray) -> np.ndarray:
                return await asyncio.shield(stuck)

        files = FileEmbedder(decoders, NeverEncoder(), SPEC, open_text_finder(), DEFAULTS)
        work = asyncio.ensure_future(files.embed(LONG, EmbedOptions()))
        await asyncio.sleep(0.2)
        work.cancel()
        await asyncio.wait([work])
        await asyncio.to_thread(files.close)

    asyncio.run(leave())
    assert len(embed(decoders, CountingEncoder(), MP4).used) == 12


def test_a_file_of_one_frame_gives_the_same_extras_in_every_format(decoders) -> None:
    frame_HW = np.random.default_rng(2).integers(0, 255, (48, 64), dtype=np.uint8)
    options = EmbedOptions(region_mode="none", with_thumbnail=True, with_map=True, with_png=True)
    still = embed(decoders, CountingEncoder(), encode_png(frame_HW), options)
    dicom = embed(decoders, CountingEncoder(), made.dicom(frame_HW[None]), options)
    assert still.mapped is not None
    assert dicom.mapped is not None
    np.testing.assert_array_equal(still.mapped.map_Dhw, dicom.mapped.map_Dhw)
    assert still.mapped.box == dicom.mapped.box
    assert still.content_sha256 == dicom.content_sha256
    assert (still.used_png, still.thumbnail_jpeg) == (dicom.used_png, dicom.thumbnail_jpeg)
    assert (still.used, dicom.used, dicom.frames_used) == ((), (), 1)


def test_a_name_in_the_middle_of_a_clip_raises_its_risk(decoders) -> None:
    frames = np.stack([speckle(240, 320, seed) // 2 for seed in range(24)])
    plain = embed(decoders, CountingEncoder(), made.dicom(frames))
    for frame in frames[11:14]:
        say(frame, "DOE, JANE 4711", 30, 120, grey=255, size=0.8)
    named = embed(decoders, CountingEncoder(), made.dicom(frames))
    assert (plain.analysis.risk, len(plain.used)) == ("none", 24)
    assert "text_masked" in named.analysis.risk_reasons
    assert [frame.index for frame in named.used] == list(range(24))


def test_a_setting_that_chooses_no_frames_is_refused_at_the_start(monkeypatch) -> None:
    monkeypatch.setenv("SONOPROBE_CLIP_FRAMES", "some")
    with pytest.raises(InvalidSettings, match="CLIP_FRAMES"):
        read_settings()
