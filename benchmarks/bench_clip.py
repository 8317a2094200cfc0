"""A clip of distinct frames through HTTP, every frame embedded, beside bare ONNX Runtime.

One run takes turns between three ways: the clip in one request; the same tensors through the bare
network in full batches, decoded and preprocessed before its clock starts; and the same frames one
by one as PNG files.

``decoding_bound_ratio`` is what the service could reach if it did nothing but decode the clip, on
the same cores, and run the network: the processor time of the network over that of both.
"""

import http.client
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from harness import argument_parser, print_report, seconds
from PIL import Image
from service_process import ServiceProcess, service_process

from service.cli.demo import SAMPLES
from service.cli.folder_walk import image_files
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import OnnxEncoder, load_encoder
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling

ROUNDS, BATCH, RATE = 5, 8, 25


def drifting_frames(count: int, width_px: int, height_px: int) -> list[np.ndarray]:
    """Distinct grey frames: sample scans that fade into each other while they drift."""
    scenes = [Image.open(path).convert("L") for path in image_files(SAMPLES)]
    stills = [np.asarray(s.resize((width_px, height_px), 3), np.float32) for s in scenes[::7]]
    frames = []
    for index in range(count):
        place = index / count * (len(stills) - 1)
        first, share = int(place), place - int(place)
        mixed = stills[first] * (1 - share) + stills[first + 1] * share
        frames.append(np.roll(mixed, index // 2, axis=1).astype(np.uint8))
    return frames


def mp4_of(frames: list[np.ndarray], folder: Path) -> bytes:
    """MPEG-4 by OpenCV, at the quality of its default."""
    height_px, width_px = frames[0].shape
    file = folder / "clip.mp4"
    code = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(file), code, RATE, (width_px, height_px))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return file.read_bytes()


def png_of(frame: np.ndarray) -> bytes:
    """One frame as a file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def bare_s(encoder: OnnxEncoder, inputs: np.ndarray) -> float:
    """Seconds of the network alone."""
    began = time.perf_counter()
    for at in range(0, len(inputs), BATCH):
        encoder.encode(inputs[at : at + BATCH])
    return time.perf_counter() - began


class PlainClient:
    """A client that costs little, because it shares the cores with the service."""

    def __init__(self, service: ServiceProcess) -> None:
        host = service.url.removeprefix("http://")
        self._link = http.client.HTTPConnection(host, timeout=600)
        self._key = service.key

    def send(self, data: bytes, kind: str) -> dict:
        """Embed one file with all its frames."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": kind}
        path = "/v1/embeddings?encoding_format=base64&frames=all&pool=none"
        self._link.request("POST", path, data, headers)
        answer = self._link.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body)
        return json.loads(body)["items"][0]

    def clip_s(self, data: bytes, frames: int) -> float:
        """Seconds of one clip."""
        self._link.close()  # the service closed it while the bare network ran
        began = time.perf_counter()
        item = self.send(data, "video/mp4")
        clip_s = time.perf_counter() - began
        if len(item["frames"]) != frames:
            raise RuntimeError(f"expected {frames} frames, got {len(item['frames'])}")
        return clip_s

    def pngs_s(self, files: list[bytes]) -> float:
        """Seconds of one file after the other."""
        return seconds(lambda: [self.send(file, "image/png") for file in files])


def decoding_bound(encoder: OnnxEncoder, inputs: np.ndarray, clip: bytes) -> float:
    """Processor time of the network over that of the network and the decoder."""
    began_s = time.process_time()
    bare_s(encoder, inputs)
    between_s = time.process_time()
    for _ in read(clip, Sampling(), DecodeLimits()):
        pass
    return (between_s - began_s) / (time.process_time() - began_s)


def measure(
    service: ServiceProcess, frames: list[np.ndarray], clip: bytes, count: int
) -> dict[str, float]:
    """Medians over the rounds of each round's ratio."""
    encoder = load_encoder(SHIPPED_BUNDLE)
    decoded = [f.grey for f in read(clip, Sampling(), DecodeLimits())]
    inputs = np.concatenate([preprocess(grey[None], encoder.spec) for grey in decoded])
    files = [png_of(frame) for frame in frames]
    client = PlainClient(service)
    client.clip_s(clip, len(frames))  # the decoder's process starts with its first file
    bare_s(encoder, inputs[:BATCH])
    rounds = [
        (bare_s(encoder, inputs), client.clip_s(clip, len(frames)), client.pngs_s(files))
        for _ in range(count)
    ]
    bounds = [decoding_bound(encoder, inputs, clip) for _ in range(count)]
    return {
        "clip_over_bare_ratio": statistics.median(bare / clip for bare, clip, _ in rounds),
        "decoding_bound_ratio": statistics.median(bounds),
        "clip_over_png_ratio": statistics.median(png / clip for _, clip, png in rounds),
        "bare_fps": len(frames) / statistics.median(bare for bare, _, _ in rounds),
        "clip_fps": len(frames) / statistics.median(clip for _, clip, _ in rounds),
        "png_fps": len(frames) / statistics.median(png for _, _, png in rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="640x480", help="width x height of a frame")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--port", type=int, default=18474)
    arguments = parser.parse_args()
    width_px, height_px = (int(side) for side in arguments.size.split("x"))
    frames = drifting_frames(arguments.frames, width_px, height_px)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clip = mp4_of(frames, folder)
        with service_process(folder, arguments.port) as service:
            figures = measure(service, frames, clip, arguments.rounds)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    report = rounded | {"frames": arguments.frames, "size": arguments.size}
    print_report(report, arguments)


if __name__ == "__main__":
    main()
