"""What one workspace sends does not hold up another: the order of service, with fakes that wait."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from service.embedding.batcher import MicroBatcher, Passes
from service.embedding.file_embedder import FileDefaults, FileEmbedder
from service.embedding.onnx_session import open_text_finder
from service.embedding.pipeline import EmbedOptions, Pipeline
from service.errors import DecodeLimit, Overloaded
from service.fairness.workspace_turn import current_workspace, working_for
from service.imaging.analysis.preprocess import PreprocessSpec
from service.imaging.analysis.thumbnails import encode_png
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Sampling
from service.opening.encoder_opening import pipeline_limits
from service.settings import Settings
from tests.embedding.test_readiness import FakeEncoder
from tests.imaging import dicom_files as made

SMALL = encode_png(np.full((64, 64), 90, np.uint8))
LARGE = made.dicom(np.zeros((1, 64, 96), np.uint8))  # any file that is no ordinary still
SPEC = PreprocessSpec(32, (0.5,) * 3, (0.25,) * 3)


async def embedding_for(workspace: str, work) -> object:
    with working_for(workspace):
        return await work


def test_a_batch_takes_a_frame_of_each_workspace_in_turn() -> None:
    release, order = threading.Event(), []

    def encode(frames_B3SS: np.ndarray) -> np.ndarray:
        order.extend(frames_B3SS[:, 0, 0, 0].tolist())
        release.wait(30)
        return frames_B3SS.mean((2, 3))

    async def act() -> None:
        async with MicroBatcher(Passes(encode), max_batch=2, max_wait_s=0, max_queue=64) as running:
            frames = [np.full((3, 2, 2), value, np.float32) for value in range(8)]
            work = [
                asyncio.create_task(embedding_for("a", running.submit(frame)))
                for frame in frames[:6]
            ]
            while len(order) < 1:
                await asyncio.sleep(0.01)
            work.append(asyncio.create_task(embedding_for("b", running.submit(frames[7]))))
            while running.waiting < 5:
                await asyncio.sleep(0.01)
            release.set()
            await asyncio.gather(*work)

    asyncio.run(act())
    assert order[:2] == [0, 1]
    assert set(order[2:4]) == {2, 7}
    assert order[4:] == [3, 4, 5]


class HeldDecoders:
    """Decoders that give one frame when they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.release = threading.Event()

    def open(self, data: bytes, sampling: Sampling) -> DecodedImage:
        self.begun.append(data[-1:].decode())
        assert self.release.wait(30)
        pixels = np.full((64, 96), 90, np.uint8)
        frames = (frame for frame in [DecodedFrame(pixels)])
        return DecodedImage(ImageInfo("dicom", "frame", 96, 64), frames)


class NamingEncoder:
    """Notes for which workspace each frame is encoded."""

    def __init__(self) -> None:
        self.workspaces: list[str] = []

    async def submit(self, frame_3SS: np.ndarray) -> np.ndarray:
        self.workspaces.append(current_workspace())
        return np.array([1, 0], np.float32)


@contextmanager
def embedder(decoders, encoder, decoding=DecodeLimits()) -> Iterator[FileEmbedder]:  # noqa: B008
    defaults = FileDefaults(Sampling(), "auto", 64, decoding)
    files = FileEmbedder(decoders, encoder, SPEC, open_text_finder(), defaults, clip_threads=2)
    try:
        yield files
    finally:
        decoders.release.set()
        files.close()


def test_another_workspace_is_decoded_at_once_while_one_sends_many_large_files() -> None:
    decoders, encoder = HeldDecoders(), NamingEncoder()

    async def act() -> None:
        options = EmbedOptions()
        with embedder(decoders, encoder) as files:
            flood = [
                asyncio.create_task(embedding_for("a", files.embed(LARGE + b"a", options)))
                for _ in range(24)
            ]
            while len(decoders.begun) < 2:
                await asyncio.sleep(0.01)
            still = await embedding_for("b", files.embed(SMALL, options))
            assert still.format == "png"
            assert not any(task.done() for task in flood)
            clip = asyncio.create_task(embedding_for("b", files.embed(LARGE + b"b", options)))
            while len(decoders.begun) < 3:
                await asyncio.sleep(0.01)
            assert decoders.begun == ["a", "a", "b"]
            assert files.states["clips"].running == 3
            decoders.release.set()
            await asyncio.gather(*flood, clip)

    asyncio.run(act())
    assert sorted(encoder.workspaces) == ["a"] * 24 + ["b"] * 2


def test_a_workspace_that_fills_the_queue_leaves_room_for_another() -> None:
    release = threading.Event()
    encoder = FakeEncoder(lambda: release.wait(30))

    async def act() -> None:
        limits = replace(pipeline_limits(Settings()), max_queue=8)
        async with Pipeline(encoder, limits) as running:
            flood = asyncio.create_task(embedding_for("a", running.embed_all([SMALL] * 8)))
            while running.in_flight < 8:
                await asyncio.sleep(0.01)
            with pytest.raises(Overloaded):
                await embedding_for("a", running.embed_all([SMALL]))
            other = asyncio.create_task(embedding_for("b", running.embed_all([SMALL] * 2)))
            while running.in_flight < 10:
                await asyncio.sleep(0.01)
            release.set()
            assert len(await flood) == 8
            assert len(await other) == 2
            assert running.in_flight == 0

    asyncio.run(act())


def test_frames_that_take_long_to_analyse_are_limited_as_their_decoding_is() -> None:
    decoders, encoder = HeldDecoders(), NamingEncoder()
    decoders.release.set()

    async def act() -> None:
        with (
            embedder(decoders, encoder, DecodeLimits(max_decode_s=1e-9)) as files,
            pytest.raises(DecodeLimit, match="analysing the frames"),
        ):
            await files.embed(LARGE + b"a", EmbedOptions())

    asyncio.run(act())


def test_leaving_does_not_wait_for_an_encoder_that_hangs() -> None:
    hang = threading.Event()

    def encode(frames_B3SS: np.ndarray) -> np.ndarray:
        hang.wait(60)
        return frames_B3SS.mean((2, 3))

    async def act() -> list[BaseException | np.ndarray]:
        batcher = MicroBatcher(
            Passes(encode), max_batch=1, max_wait_s=0, max_queue=8, close_timeout_s=0.05
        )
        async with batcher:
            frame = np.zeros((3, 2, 2), np.float32)
            work = [asyncio.create_task(batcher.submit(frame)) for _ in range(2)]
            while not batcher.state.running:
                await asyncio.sleep(0.01)
        return await asyncio.gather(*work, return_exceptions=True)

    found = asyncio.run(act())
    hang.set()
    assert [type(error).__name__ for error in found] == ["Stopping"] * 2
