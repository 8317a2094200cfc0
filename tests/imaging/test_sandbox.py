"""Decoder processes give the same frames, and no file can harm the service."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import (
    ClipTooLong,
    CorruptImage,
    DecodeLimit,
    DecoderFailure,
    ImageTooLarge,
    Stopping,
    UnsupportedFormat,
)
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.sandbox.decoder_pool import DecoderPool
from tests.fixtures.make_clips import drawn
from tests.imaging import costly_files as costly
from tests.imaging import dicom_files as made

MP4 = (Path(__file__).parents[1] / "fixtures" / "clips" / "h264.mp4").read_bytes()
LIMITS = DecodeLimits(max_decode_bytes=300_000_000, max_clip_frames=1000, max_decode_s=30)
SMALL = made.dicom(np.stack([drawn(index) for index in range(3)]), made.J2K_LOSSLESS)
ALL = Sampling()


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(1, LIMITS) as pool:
        yield pool


def test_another_process_gives_the_same_frames_and_facts(decoders: DecoderPool) -> None:
    for data in (MP4, SMALL):
        image, here = decoders.open(data, ALL), read(data, ALL, LIMITS)
        assert image.info == here.info
        for there, frame in zip(image, here, strict=True):
            assert (there.index, there.time_s) == (frame.index, frame.time_s)
            np.testing.assert_array_equal(there.pixels, frame.pixels)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a", CorruptImage),
        (b"hello", UnsupportedFormat),
        (MP4[:500], CorruptImage),
        (made.dicom(np.zeros((1, 64, 96), np.uint8), Rows=65535, Columns=65535), ImageTooLarge),
        (made.dicom(np.zeros((40, 64, 96), np.uint8), FrameTime=9000), ClipTooLong),
    ],
)
def test_an_error_comes_across_by_its_name_and_the_process_stays(decoders, data, kind) -> None:
    list(decoders.open(SMALL, ALL))
    before = decoders.pids
    with pytest.raises(kind):
        list(decoders.open(data, ALL))
    assert decoders.pids == before


def test_a_clip_that_is_left_half_way_gives_its_process_back(decoders: DecoderPool) -> None:
    frames = iter(decoders.open(MP4, ALL).frames)
    next(frames)
    frames.close()
    assert len(list(decoders.open(SMALL, ALL))) == 3


def test_a_deflated_ten_gigabyte_file_is_refused_within_the_memory(decoders: DecoderPool) -> None:
    bomb = made.deflated_zeros(1000)
    assert len(bomb) < 20_000_000
    with pytest.raises(DecodeLimit):
        decoders.open(bomb, ALL)
    assert len(list(decoders.open(SMALL, ALL))) == 3


def test_memory_beyond_the_limit_is_an_error_of_that_file_alone() -> None:
    big = made.dicom(np.zeros((1, 6000, 6000, 3), np.uint8), made.JPEG)
    tight = DecodeLimits(max_decode_bytes=40_000_000)
    with DecoderPool(1, tight) as pool:
        for _ in range(2):
            with pytest.raises((DecodeLimit, CorruptImage)):
                list(pool.open(big, ALL))
        assert len(list(pool.open(SMALL, ALL))) == 3


def test_a_process_that_is_slow_is_killed_and_replaced() -> None:
    slow = made.dicom(np.zeros((300, 400, 400), np.uint8), made.J2K_LOSSLESS)
    with DecoderPool(1, DecodeLimits(max_decode_s=0.001)) as pool:
        with pytest.raises(DecodeLimit, match=r"0\.001 s"):
            list(pool.open(slow, ALL))
        (replaced,) = pool.pids
        with pytest.raises(DecodeLimit):
            list(pool.open(slow, ALL))
        assert pool.pids != [replaced]


@pytest.mark.parametrize("what", ["a PNG of thousands of profiles", "a BMP of runs of one"])
def test_a_still_that_takes_long_is_killed_as_a_clip_is(what: str) -> None:
    with DecoderPool(1, DecodeLimits(max_decode_s=1)) as pool:
        with pytest.raises(DecodeLimit):
            list(pool.open(costly.COSTLY[what](), ALL))
        assert len(list(pool.open(SMALL, ALL))) == 3


@pytest.mark.parametrize("what", ["a PNG of 49 megapixels", "a JPEG of 49 megapixels"])
def test_a_still_that_takes_much_memory_is_an_error_of_its_own(what: str) -> None:
    with DecoderPool(1, DecodeLimits(max_decode_bytes=40_000_000)) as pool:
        with pytest.raises((DecodeLimit, CorruptImage)):
            list(pool.open(costly.COSTLY[what](), ALL))
        assert len(list(pool.open(SMALL, ALL))) == 3


@pytest.mark.parametrize(
    ("sent", "kind"), [(signal.SIGSEGV, CorruptImage), (signal.SIGKILL, DecodeLimit)]
)
def test_a_process_that_dies_is_named_and_replaced(sent: signal.Signals, kind) -> None:
    with DecoderPool(1, LIMITS) as pool:
        frames = iter(pool.open(made.dicom(np.zeros((250, 200, 200, 3), np.uint8)), ALL).frames)
        next(frames)
        os.kill(pool.pids[0], sent)
        with pytest.raises(kind):
            list(frames)
        assert len(list(pool.open(SMALL, ALL))) == 3


def test_a_process_that_died_while_idle_is_replaced_unseen(decoders: DecoderPool) -> None:
    list(decoders.open(SMALL, ALL))
    (before,) = decoders.pids
    os.kill(before, signal.SIGKILL)
    while Path(f"/proc/{before}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert len(list(decoders.open(SMALL, ALL))) == 3
    assert decoders.pids != [before]


def test_a_program_that_does_not_start_is_a_failure_of_ours() -> None:
    with DecoderPool(1, LIMITS, program=(sys.executable, "-c", "raise SystemExit")) as pool:
        for _ in range(2):
            with pytest.raises(DecoderFailure):
                pool.open(SMALL, ALL)


def test_many_threads_share_few_processes() -> None:
    counts: list[int] = []
    with DecoderPool(2, LIMITS) as pool:
        work = [
            threading.Thread(target=lambda: counts.append(len(list(pool.open(MP4, ALL)))))
            for _ in range(6)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert len(pool.pids) <= 2
    assert counts == [12] * 6


def test_a_closed_pool_leaves_no_process_and_takes_no_file() -> None:
    with DecoderPool(1, LIMITS) as pool:
        list(pool.open(SMALL, ALL))
        (pid,) = pool.pids
    with pytest.raises(Stopping):
        pool.open(SMALL, ALL)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_inherits_no_secret_and_cannot_write_files(decoders, tmp_path, monkeypatch):
    monkeypatch.setenv("SONOPROBE_SECRET", "x")
    with DecoderPool(1, LIMITS) as pool:
        list(pool.open(SMALL, ALL))
        (pid,) = pool.pids
        environment = Path(f"/proc/{pid}/environ")
        readable = os.access(environment, os.R_OK)  # of root only, because it is undumpable
        assert not readable or b"SECRET" not in environment.read_bytes()
        limits = {
            name: resource.prlimit(pid, getattr(resource, name))[0]
            for name in ("RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_AS")
        }
    assert limits["RLIMIT_FSIZE"] == limits["RLIMIT_CORE"] == 0
    assert limits["RLIMIT_NOFILE"] == 32
    assert 3e8 < limits["RLIMIT_AS"] < 3e9
