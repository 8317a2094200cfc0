"""Processor time of what the service does to a frame beside the network, and the floor of both."""

import hashlib
import time

import imagecodecs
import numpy as np

from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import load_encoder
from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.cine_analysis import CineAnalysis
from service.imaging.analysis.frame_analysis import use_one_thread
from service.imaging.analysis.preprocess import preprocess
from service.imaging.analysis.quality import is_blank
from service.imaging.analysis.thumbnails import encode_png, thumbnail
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling

REPEATS = 5
STEPS = ("decode", "analysis", "digest", "preprocess", "encoder")
OF_UPLOADS = ("thumbnail", "kept")  # in collections, and where a collection keeps images
THUMBNAIL_SIDE_PX = 256


def fastest_decode(data: bytes) -> np.ndarray:
    """The pixels of a PNG or JPEG by the fastest decoder that is installed."""
    decode = imagecodecs.png_decode if data[:4] == b"\x89PNG" else imagecodecs.jpeg8_decode
    return np.asarray(decode(data))


def floor_fps(files: list[bytes], tensor_13SS: np.ndarray, seconds: float) -> float:
    """Files per second of decoding and the bare network, one after the other."""
    encoder = load_encoder(SHIPPED_BUNDLE)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        fastest_decode(files[done % len(files)])
        encoder.encode(tensor_13SS)
        done += 1
    return done / (time.perf_counter() - began)


def cpu_table(files: dict[str, list[bytes]]) -> dict[str, dict[str, float]]:
    """Milliseconds of each step by size and format, and ``around``: all others over the encoder."""
    use_one_thread()
    encoder, finder = load_encoder(SHIPPED_BUNDLE), open_text_finder()

    def steps_s(data: bytes) -> list[float]:
        clock = [time.process_time()]
        hashlib.sha256(data)
        image = read(data, Sampling(), DecodeLimits())
        (frame,) = image
        clock.append(time.process_time())
        analysis = CineAnalysis(image.info, finder, "auto")
        analysis.decide([frame.pixels])
        used = analysis.use(frame.pixels)
        clock.append(time.process_time())
        for used_hw in used:
            is_blank(used_hw)
            hashlib.sha256(np.ascontiguousarray(used_hw))
        clock.append(time.process_time())
        tensors = [preprocess(used_hw[None], encoder.spec) for used_hw in used]
        clock.append(time.process_time())
        encoder.encode(tensors[0])
        clock.append(time.process_time())
        thumbnail(analysis.show(frame.pixels), side_px=THUMBNAIL_SIDE_PX)
        clock.append(time.process_time())
        encode_png(used[0])
        clock.append(time.process_time())
        return list(np.diff(clock))

    table, names = {}, (*STEPS, *OF_UPLOADS)
    for name, items in files.items():
        rows = [np.min([steps_s(data) for _ in range(REPEATS)], axis=0) for data in items]
        ms = {
            step: 1000 * float(np.mean([row[at] for row in rows])) for at, step in enumerate(names)
        }
        around = sum(ms[step] for step in STEPS[:-1]) / ms["encoder"]
        table[name] = {step: round(value, 2) for step, value in ms.items()}
        table[name]["around"] = round(around, 3)
    return table
