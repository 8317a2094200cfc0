"""Mutated files through every decoder, as the service decodes them.

Each input must decode, or be refused by an InputError, within its limits, and the parent process
must not grow. What is decoded without Pillow must have the pixels that Pillow gives. Equal seeds
give equal inputs.

    python benchmarks/fuzz_files.py --count 1000000
    python benchmarks/fuzz_files.py --count 1000000 --plain
"""

import collections
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from harness import ROOT, argument_parser, memory_mb, print_report
from PIL import Image

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.formats.file_type import family_of
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.plain_still import plain_pixels
from service.imaging.formats.sampling import Sampling, parse_sampling
from service.imaging.formats.still import frame_of, open_image, read_still, tone_of
from service.imaging.sandbox.decoder_pool import DecoderPool

sys.path.insert(0, str(ROOT))  # the tests know how to write DICOM files
from tests.imaging import dicom_files

LIMITS = DecodeLimits(
    max_pixels=1_000_000,
    max_clip_frames=200,
    max_clip_s=60,
    max_decode_bytes=300_000_000,
    max_decode_s=10,
)
SAMPLINGS = ("all", "uniform:2", "fps:5", "different:2")
CLIPS = ROOT / "tests" / "fixtures" / "clips"
WARM_UP = 2000  # inputs after which the parent's memory should stand still


def corpus() -> dict[str, bytes]:
    """Small whole files of every format, by name."""
    rng = np.random.default_rng(5)
    grey_THW = rng.integers(0, 256, (2, 24, 32), dtype=np.uint8)
    rgb_THW3 = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    wide_THW = rng.integers(0, 4096, (1, 24, 32), dtype=np.uint16)
    files = {file.name: file.read_bytes() for file in sorted(CLIPS.iterdir())}
    for name in ("IMPLICIT", "EXPLICIT", "DEFLATED", "BIG", "RLE", "LOSSLESS", "SV1", "LS"):
        syntax = getattr(dicom_files, name)
        files[f"{name} grey"] = dicom_files.dicom(grey_THW, syntax, FrameTime=40)
        files[f"{name} rgb"] = dicom_files.dicom(rgb_THW3, syntax)
        files[f"{name} 12"] = dicom_files.dicom(wide_THW, syntax, bits=12)
    for name in ("JPEG", "J2K", "J2K_LOSSLESS", "LS_NEAR", "HTJ2K", "JXL", "JXL_RECOMPRESSED"):
        files[f"{name} rgb"] = dicom_files.dicom(rgb_THW3, getattr(dicom_files, name))
    for name in ("HTJ2K_LOSSLESS", "JXL_LOSSLESS"):
        files[f"{name} 12"] = dicom_files.dicom(wide_THW, getattr(dicom_files, name), bits=12)
    files["window 12"] = dicom_files.dicom(wide_THW, bits=12, WindowCenter=900, WindowWidth=700)
    files["EXTENDED 12"] = dicom_files.dicom(wide_THW, dicom_files.EXTENDED, bits=12)
    files["MPEG2"] = dicom_files.stream(files["mpeg2.ts"], dicom_files.MPEG2)
    files["H264"] = dicom_files.stream(files["h264.mp4"], dicom_files.H264)
    return files | _pictures(grey_THW, rgb_THW3)


def _pictures(grey_THW: np.ndarray, rgb_THW3: np.ndarray) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000"):
        for name, frames in (("grey", grey_THW), ("rgb", rgb_THW3)):
            buffer = io.BytesIO()
            first, *rest = (Image.fromarray(frame) for frame in frames)
            first.save(buffer, kind)
            files[f"{kind} {name}"] = buffer.getvalue()
            if kind in ("GIF", "TIFF", "WEBP", "PNG", "AVIF"):
                buffer = io.BytesIO()
                first.save(buffer, kind, save_all=True, append_images=rest, duration=40)
                files[f"{kind} clip {name}"] = buffer.getvalue()
    return files


def plain_corpus() -> dict[str, bytes]:
    """Small PNG and JPEG files that are decoded without Pillow, by name."""
    rng = np.random.default_rng(6)
    smooth_HW3 = np.asarray(
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((67, 45), 3)
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    options: dict[str, dict[str, object]] = {
        "PNG": {"dpi": (96, 48)},
        "JPEG": {"quality": 85},
        "JPEG 4:2:0": {"quality": 60, "subsampling": "4:2:0"},
        "JPEG of red, green and blue": {"quality": 85, "keep_rgb": True},
        "JPEG with restarts": {"quality": 85, "restart_marker_blocks": 3},
        "JPEG turned": {"quality": 85, "exif": turned},
    }
    files = {}
    for kind, chosen in options.items():
        for name, pixels in (("grey", smooth_HW3[..., 0]), ("rgb", smooth_HW3)):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, kind.split()[0], **chosen)
            files[f"{kind} {name}"] = buffer.getvalue()
    return files


def mutate(files: list[bytes], seed: int, number: int) -> tuple[bytes, Sampling]:
    """Input ``number`` of a seed: one file with one to four changes."""
    rng = np.random.default_rng((seed, number))
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 5)):
        _change(data, files, rng)
    return bytes(data), parse_sampling(SAMPLINGS[rng.integers(len(SAMPLINGS))])


def _change(data: bytearray, files: list[bytes], rng: np.random.Generator) -> None:
    kind = rng.integers(7)
    # Half of all places lie in the first part, where headers are.
    reach = len(data) if rng.integers(2) else min(len(data), 400)
    at = int(rng.integers(max(1, reach)))
    length = int(2 ** rng.uniform(0, 8))
    if kind == 0:
        for place in rng.integers(0, max(1, len(data)), 8):
            data[place : place + 1] = bytes([rng.integers(256)])
    elif kind == 1:
        data[at : at + 1] = bytes([rng.integers(256)])
    elif kind == 2:
        edge = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff", b"\0\x80")
        chosen = edge[rng.integers(len(edge))]
        data[at : at + len(chosen)] = chosen
    elif kind == 3:
        del data[len(data) // 2 + at // 2 :]  # what is cut earlier is mostly not recognised
    elif kind == 4:
        del data[at : at + length]
    elif kind == 5:
        data[at:at] = data[at : at + length]
    else:
        other = files[rng.integers(len(files))]
        start = int(rng.integers(len(other)))
        data[at : at + length] = other[start : start + length]


@dataclass
class Outcome:
    """What became of the inputs; ``failures`` holds (number, error) of what must not happen."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    longest_s: float = 0.0
    restarts: int = 0
    plain: int = 0  # decoded without Pillow, and compared with it


def check_plain(data: bytes, pixels: Pixels) -> bool:
    """Compare a decoded still with what Pillow makes of it, where Pillow did not decode it.

    Returns:
        Whether another decoder was used.

    Raises:
        AssertionError: Pillow refuses the file, or gives other pixels.
    """
    image = open_image(data)
    if plain_pixels(image, data) is None:
        return False
    image = open_image(data)
    try:
        expected = frame_of(image, tone_of(image, data), data)
    except InputError as error:
        raise AssertionError("Pillow refuses what was decoded without it") from error
    if expected.shape != pixels.shape or (expected != pixels).any():
        raise AssertionError("Pillow gives other pixels")
    return True


def fuzz(
    pool: DecoderPool, seed: int, numbers: range, *, is_plain: bool = False
) -> Iterator[Outcome]:
    """Decode each input as the service does; yield the running outcome after each."""
    files, outcome = list((plain_corpus() if is_plain else corpus()).values()), Outcome()
    pids: list[int] = []
    for number in numbers:
        data, sampling = mutate(files, seed, number)
        began = time.perf_counter()
        try:
            if family_of(data) == "still":
                _, frame = read_still(data, LIMITS)
                outcome.plain += check_plain(data, frame.pixels)
            else:
                for _ in pool.open(data, sampling):
                    pass
            outcome.counts["decoded"] += 1
        except InputError as error:
            outcome.counts[error.code] += 1
        except Exception as error:  # what the run looks for
            outcome.failures.append((number, repr(error)))
        outcome.longest_s = max(outcome.longest_s, time.perf_counter() - began)
        if pool.pids != pids:
            outcome.restarts, pids = outcome.restarts + bool(pids), pool.pids
        yield outcome


def main() -> int:
    """Run, print progress, and fail when an input was neither decoded nor refused."""
    parser = argument_parser(__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="only plain PNG and JPEG files")
    arguments = parser.parse_args()
    began, at_start = time.perf_counter(), 0.0
    outcome = Outcome()
    with DecoderPool(1, LIMITS) as pool:
        run = fuzz(pool, arguments.seed, range(arguments.count), is_plain=arguments.plain)
        for done, outcome in enumerate(run, 1):
            if done == min(WARM_UP, arguments.count):
                at_start = memory_mb()
            if done % 10_000 == 0:
                rate = done / (time.perf_counter() - began)
                print(
                    f"{done} {rate:.0f}/s {memory_mb():.0f} MB {dict(outcome.counts)}", flush=True
                )
    report = {
        "inputs": arguments.count,
        "seed": arguments.seed,
        "per_s": round(arguments.count / (time.perf_counter() - began), 1),
        "compared_with_pillow": outcome.plain,
        "longest_s": round(outcome.longest_s, 2),
        "processes_replaced": outcome.restarts,
        "parent_grew_mb": round(memory_mb() - at_start, 1),
        "outcomes": dict(outcome.counts),
        "failures": outcome.failures[:20],
    }
    print_report(report, arguments)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
