"""Our finder of burned-in text beside the text detection of RapidOCR (PP-OCR): the same frames.

Both mask upright boxes. A line counts as found when 90 % of its ink is masked ("half": 50 %).
A false alarm is a frame without writing in which anything is masked; "alarm pixels" is the masked
share of its tissue. RapidOCR takes whole scans for letters. So each of its sizes has two more
readings: "low" drops boxes that are taller than any line, and "as ours" also raises the score until
RapidOCR has no more false alarms than our finder. Its networks run in our sessions; its own code
prepares the frames and reads the answers, with its own settings.

RapidOCR is optional: ``pip install rapidocr==3.10.0 rapidocr-onnxruntime==1.4.4`` in an environment
of its own, because the second brings opencv-python, which overwrites the headless build. The real
frames come from the folder that SONOPROBE_SHARED names (else ``../shared``); without it the
simulated samples are used.
"""

import importlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from harness import argument_parser, write_report
from text_frames import Mask, Picture, Pixels, pictures

from service.embedding.onnx_session import open_session, open_text_finder
from service.imaging.analysis import text as finder_module

Box = tuple[int, int, int, int]
Boxes = list[tuple[Box, float]]

PEERS = {  # package -> its network, in its folder "models"
    "rapidocr": "PP-OCRv6_det_small.onnx",
    "rapidocr_onnxruntime": "ch_PP-OCRv4_det_infer.onnx",
}
SIZES = {"as shipped": (736, "min"), "640 px": (640, "max"), "320 px": (320, "max")}
PEER_SCORE, MIN_PEER_SCORE = 0.5, 0.3  # what it asks of a box; how low it is tried
WHOLE, HALF = 0.9, 0.5
TISSUE_GREY = 8
MAX_HEIGHT = 0.1  # of a line of text, in longer sides of the frame
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Detector:
    """One way to find writing; boxes of a score under ``score`` do not count."""

    name: str
    score: float
    network: Path
    find: Callable[[Pixels], Boxes]


def our_detector() -> Detector:
    """The finder of the service."""
    finder = open_text_finder()
    return Detector(
        OURS,
        0.0,
        finder_module.NETWORK,
        lambda frame: [(b.box, b.confidence) for b in finder.find(frame)],
    )


class PeerNetwork:
    """A network of RapidOCR in a session of ours, read by its own code."""

    def __init__(self, package: str, file: Path) -> None:
        self._steps = importlib.import_module(f"{package}.ch_ppocr_det.utils")
        self._session = open_session(file, threads=1)
        self._input = self._session.get_inputs()[0].name
        self._read = self._steps.DBPostProcess(
            thresh=0.3, box_thresh=MIN_PEER_SCORE, unclip_ratio=1.6, use_dilation=True
        )

    def find(self, side_px: int, limit: str, frame: Pixels) -> Boxes:
        """Boxes; ``min`` enlarges the shorter side to ``side_px``, ``max`` shrinks the longer."""
        colour = frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
        tensor = self._steps.DetPreProcess(side_px, limit)(colour)
        (answer,) = self._session.run(None, {self._input: tensor})
        quads, scores = self._read(answer, frame.shape[:2])
        return [(upright(quad), float(s)) for quad, s in zip(quads, scores, strict=True)]


def peer_detectors(package: str, network: str) -> Iterable[Detector]:
    """The detection of RapidOCR at each size, one thread."""
    file = Path(str(importlib.import_module(package).__file__)).parent / "models" / network
    peer = PeerNetwork(package, file)
    name = network.removeprefix("ch_").split("_det")[0]
    for size, (side_px, limit) in SIZES.items():
        yield Detector(f"{name} {size}", PEER_SCORE, file, partial(peer.find, side_px, limit))


def upright(quad: np.ndarray) -> Box:
    """The upright box around four corners."""
    (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
    return int(x0), int(y0), int(x1) + 1, int(y1) + 1


def all_detectors() -> list[Detector]:
    """Ours, and each peer that is installed."""
    detectors = [our_detector()]
    for package, network in PEERS.items():
        try:
            detectors += peer_detectors(package, network)
        except ImportError as error:
            print(f"{package} is left out: {error}; pip install {package.replace('_', '-')}")
    return detectors


def mask_of(boxes: Boxes, shape: tuple[int, ...], score: float) -> Mask:
    """Pixels of the boxes that count."""
    masked = np.zeros(shape[:2], bool)
    for (x0, y0, x1, y1), confidence in boxes:
        if confidence >= score:
            masked[max(0, y0) : y1, max(0, x0) : x1] = True
    return masked


def quality(frames: list[Picture], boxes: list[Boxes], score: float) -> dict[str, float]:
    """Shares of lines found, and false alarms, of each kind and group."""
    counts: dict[str, list[float]] = defaultdict(list)
    for picture, frame_boxes in zip(frames, boxes, strict=True):
        masked = mask_of(frame_boxes, picture.frame.shape, score)
        for ink in picture.inks:
            share = float(masked[ink].mean())
            counts[picture.kind].append(share >= WHOLE)
            if picture.kind == "drawn":
                counts[f"drawn {picture.group}"].append(share >= WHOLE)
            counts[f"{picture.kind} half"].append(share >= HALF)
        if not picture.inks:
            grey = picture.frame if picture.frame.ndim == 2 else picture.frame.max(axis=2)
            keys = ["alarms", "alarm pixels"] if picture.kind == "clean" else []
            share = float(masked[grey > TISSUE_GREY].mean())
            for key in (*keys, f"alarms {picture.group}", f"alarm pixels {picture.group}"):
                counts[key].append(share if "pixels" in key else share > 0)
    return {key: round(float(np.mean(values)), 4) for key, values in counts.items()}


def score_of_alarms(frames: list[Picture], boxes: list[Boxes], alarms: float) -> float:
    """The lowest score at which no larger share of clean frames than ``alarms`` is masked."""
    scores = sorted(
        (
            max((s for _, s in frame_boxes), default=0.0)
            for picture, frame_boxes in zip(frames, boxes, strict=True)
            if picture.kind == "clean"
        ),
        reverse=True,
    )
    allowed = round(alarms * len(scores))
    return max(MIN_PEER_SCORE, scores[allowed] + 1e-6) if allowed < len(scores) else MIN_PEER_SCORE


def timings(
    detectors: list[Detector], frames: list[Pixels], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds per frame and round: of one thread's processor, and by the clock with two."""
    spent: dict[str, dict[str, list[float]]] = {d.name: defaultdict(list) for d in detectors}
    for detector in detectors:
        detector.find(frames[0])
    for _ in range(rounds):
        for detector in detectors:
            began = time.thread_time()
            for frame in frames:
                detector.find(frame)
            spent[detector.name]["ms"].append(1000 * (time.thread_time() - began) / len(frames))
            with ThreadPoolExecutor(2) as pool:
                start = time.perf_counter()
                list(pool.map(detector.find, frames))
                wall = time.perf_counter() - start
            spent[detector.name]["ms_two_threads"].append(1000 * wall / len(frames))
    return spent


def measure(count: int, rounds: int, timed: int, seed: int) -> dict[str, dict[str, float]]:
    """Everything about every detector."""
    cv2.setNumThreads(1)
    frames, detectors = pictures(count, seed), all_detectors()
    kinds = [(p.kind, len(p.inks)) for p in frames]
    print({kind: sum(max(1, n) for k, n in kinds if k == kind) for kind in dict(kinds)})
    small = [p.frame for p in frames if p.kind == "drawn"][:timed]
    screens = [p.frame for p in frames if p.kind == "screen"]
    spent = timings(detectors, small, rounds)
    spent_screens = timings(detectors, screens, 3) if screens else {}
    table: dict[str, dict[str, float]] = {}
    for detector in detectors:
        boxes = [detector.find(picture.frame) for picture in frames]
        row = quality(frames, boxes, detector.score) | speed(spent, detector.name)
        if screens:
            row["ms screens"] = speed(spent_screens, detector.name)["ms"]
        row["network MB"] = round(detector.network.stat().st_size / 1e6, 3)
        if detector.name != OURS:
            boxes = [
                low(frame_boxes, p.frame.shape)
                for frame_boxes, p in zip(boxes, frames, strict=True)
            ]
            score = score_of_alarms(frames, boxes, table[OURS]["alarms"])
            row |= prefixed("low", quality(frames, boxes, detector.score))
            row |= prefixed("as ours", {"score": score} | quality(frames, boxes, score))
        table[detector.name] = row
    return table


def low(boxes: Boxes, shape: tuple[int, ...]) -> Boxes:
    """The boxes that are no taller than a line of text."""
    limit = MAX_HEIGHT * max(shape)
    return [(box, score) for box, score in boxes if box[3] - box[1] <= limit]


def prefixed(way: str, row: dict[str, float]) -> dict[str, float]:
    """The figures of one way to read the boxes; the groups are left out but for the contrasts."""
    kept = {k: v for k, v in row.items() if " " not in k or k.startswith(("drawn", "alarm pixels"))}
    return {f"{way}: {key}": round(value, 4) for key, value in kept.items()}


def speed(spent: dict[str, dict[str, list[float]]], name: str) -> dict[str, float]:
    """Medians of the rounds, and of the ratio to ours in the same round."""
    row: dict[str, float] = {}
    for key, values in spent[name].items():
        ratios = [a / b for a, b in zip(values, spent[OURS][key], strict=True)]
        row[key] = round(statistics.median(values), 2)
        row[f"{key} / ours"] = round(statistics.median(ratios), 1)
    return row


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--count", type=int, default=400, help="drawn lines")
    parser.add_argument("--rounds", type=int, default=5, help="of the clock")
    parser.add_argument("--timed", type=int, default=12, help="frames of a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--side-px", type=int, default=finder_module.WORK_SIDE_PX, help="of what our finder sees"
    )
    arguments = parser.parse_args()
    finder_module.WORK_SIDE_PX = arguments.side_px
    table = measure(arguments.count, arguments.rounds, arguments.timed, arguments.seed)
    keys = list(dict.fromkeys(key for row in table.values() for key in row))
    print(f"{'':34}" + "".join(f"{name:>23}" for name in table))
    for key in keys:
        print(f"{key:34}" + "".join(f"{row.get(key, ''):>23}" for row in table.values()))
    write_report(table, arguments)


if __name__ == "__main__":
    main()
