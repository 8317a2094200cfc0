"""A small picture of one workspace while another sends many large ones.

``alone_ms`` is one small PNG on an idle service, ``beside_ms`` the same while a second workspace
sends 24 PNGs of 49 megapixels at once. ``beside_max_s`` is to stay below 2 s.
"""

import io
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from harness import argument_parser, median_ms, memory_mb, print_report, seconds
from PIL import Image
from service_process import service_process

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.demo import SAMPLES
from service.cli.folder_walk import image_files
from sonoprobe_client import PlainClient as Client

LARGE_SIDE_PX, LARGE_COUNT = 7000, 24
PAUSE_S = 0.1


def large_png() -> bytes:
    """49 megapixels of speckle that is the same in every tile, so that the file is small."""
    tile = np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.tile(tile, (LARGE_SIDE_PX // 100,) * 2)).save(buffer, "PNG")
    return buffer.getvalue()


def embed_s(client: Client, image: bytes) -> float:
    """Seconds to embed one image."""
    return seconds(lambda: client.embed([image], encoding_format="base64"))


def measure(port: int, count: int) -> dict[str, float]:
    """All figures."""
    small = image_files(SAMPLES)[0].read_bytes()
    large = large_png()
    with tempfile.TemporaryDirectory() as scratch:
        catalog = open_catalog(Path(scratch))
        other_key = create_key(catalog, "other", "other")[1]
        catalog.close()
        with (
            service_process(Path(scratch), port) as service,
            Client(service.url, key=service.key, timeout_s=600) as client,
            Client(service.url, key=other_key, timeout_s=600) as other,
        ):
            alone_s = [embed_s(client, small) for _ in range(20)]
            began = time.perf_counter()
            flood = threading.Thread(target=other.embed, args=([large] * count,))
            flood.start()
            beside_s = []
            while flood.is_alive():
                beside_s.append(embed_s(client, small))
                time.sleep(PAUSE_S)
            flood_s, peak_mb = time.perf_counter() - began, memory_mb("VmHWM", service.pid)
    alone_ms, beside_ms = median_ms(alone_s, 1), median_ms(beside_s, 1)
    return {
        "beside_over_alone_ratio": round(beside_ms / alone_ms, 2),
        "alone_ms": alone_ms,
        "beside_ms": beside_ms,
        "beside_max_s": round(max(beside_s), 2),
        "small_pictures": len(beside_s),
        "flood_s": round(flood_s, 1),
        "peak_service_mb": round(peak_mb),
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--count", type=int, default=LARGE_COUNT, help="large pictures")
    parser.add_argument("--port", type=int, default=18481)
    arguments = parser.parse_args()
    print_report(measure(arguments.port, arguments.count), arguments)


if __name__ == "__main__":
    main()
