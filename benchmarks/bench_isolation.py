"""What it costs to decode in another process: the same files here and there, in turns.

Medians of wall time, milliseconds per file, for stills of a handheld's and of a cart's size.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from service.cli.demo import SAMPLES
from service.cli.ingest import image_files
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from service.imaging.formats.sandbox import DecoderPool

SIZES = ((160, 144), (640, 480), (1280, 960))


def file_of(size: tuple[int, int], kind: str) -> bytes:
    """A sample scan at this size."""
    image = Image.open(image_files(SAMPLES)[0]).convert("L").resize(size)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def took_ms(decode: Callable[[], object]) -> float:
    """Wall time of one decoding."""
    began = time.perf_counter()
    decode()
    return 1000 * (time.perf_counter() - began)


def measure(pool: DecoderPool, data: bytes, rounds: int) -> dict[str, float]:
    """Here and there in turns, so that a busy machine is busy for both."""
    limits = DecodeLimits()
    here: list[float] = []
    there: list[float] = []
    for _ in range(rounds):
        here.append(took_ms(lambda: [np.sum(f.pixels[:1]) for f in read(data, Sampling(), limits)]))
        there.append(took_ms(lambda: [np.sum(f.pixels[:1]) for f in pool.open(data, Sampling())]))
    shown = statistics.median(here), statistics.median(there)
    return {"here_ms": round(shown[0], 2), "there_ms": round(shown[1], 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    found = {}
    with DecoderPool(1, DecodeLimits()) as pool:
        list(pool.open(file_of(SIZES[0], "PNG"), Sampling()))  # starts the process
        for kind in ("PNG", "JPEG"):
            for size in SIZES:
                name = f"{kind} {size[0]}x{size[1]}"
                found[name] = measure(pool, file_of(size, kind), given.rounds)
                print(f"{name:16}{found[name]['here_ms']:8.2f}{found[name]['there_ms']:8.2f}")
    if given.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
