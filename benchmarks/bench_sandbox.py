"""What decoding in a process of its own costs: the same files here and in the decoder pool.

Median wall time in milliseconds per file, for stills as large as those of a handheld and of a cart.
``here_ms`` is this process, ``there_ms`` the decoder process.
"""

import io

import numpy as np
from harness import argument_parser, median_ms, print_report, seconds
from PIL import Image

from service.cli.demo import SAMPLES
from service.cli.ingest import image_files
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.sandbox.decoder_pool import DecoderPool

SIZES = ((160, 144), (640, 480), (1280, 960))


def file_of(size: tuple[int, int], kind: str) -> bytes:
    """A sample scan at this size."""
    image = Image.open(image_files(SAMPLES)[0]).convert("L").resize(size)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def measure(pool: DecoderPool, data: bytes, rounds: int) -> dict[str, float]:
    """The two take turns, so that a busy machine slows both."""
    limits = DecodeLimits()
    here_s: list[float] = []
    there_s: list[float] = []
    for _ in range(rounds):
        here_s.append(
            seconds(lambda: [np.sum(f.pixels[:1]) for f in read(data, Sampling(), limits)])
        )
        there_s.append(seconds(lambda: [np.sum(f.pixels[:1]) for f in pool.open(data, Sampling())]))
    return {"here_ms": median_ms(here_s, 2), "there_ms": median_ms(there_s, 2)}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    report = {}
    with DecoderPool(1, DecodeLimits()) as pool:
        list(pool.open(file_of(SIZES[0], "PNG"), Sampling()))  # starts the process
        for kind in ("PNG", "JPEG"):
            for size in SIZES:
                data = file_of(size, kind)
                report[f"{kind} {size[0]}x{size[1]}"] = measure(pool, data, arguments.rounds)
    print_report(report, arguments)


if __name__ == "__main__":
    main()
