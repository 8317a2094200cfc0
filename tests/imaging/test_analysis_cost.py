"""What a picture of few bytes costs to analyse is bounded, whatever its shape and its colours."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from screens import speckle

from service.imaging.analysis import colours
from service.imaging.analysis.colours import find_colour_overlay
from service.imaging.analysis.pixels import chroma
from service.imaging.formats.still_cost import is_ordinary
from tests.imaging import costly_files as costly

ROOT = Path(__file__).parents[2]
# In a process of its own, because the peak of this one is that of all tests before.
MEASURED = """
import sys
sys.path[:0] = ["benchmarks"]
from harness import memory_mb
from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.cine_analysis import CineAnalysis
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from tests.imaging.costly_files import COSTLY_TO_ANALYZE
image = read(COSTLY_TO_ANALYZE[sys.argv[1]](), Sampling(), DecodeLimits())
(frame,) = image
analysis = CineAnalysis(image.info, open_text_finder(), "auto")
before = memory_mb("VmHWM")
analysis.decide([frame.pixels])
print(memory_mb("VmHWM") - before)
"""


@pytest.mark.parametrize("what", costly.COSTLY_TO_ANALYZE)
def test_thin_and_speckled_pictures_need_less_than_half_a_gigabyte(what: str) -> None:
    assert is_ordinary(costly.COSTLY_TO_ANALYZE[what]())
    command = [sys.executable, "-c", MEASURED, what]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 500


def test_a_frame_has_only_so_many_colour_scales() -> None:
    frame = cv2.imdecode(np.frombuffer(costly.bars(1000, 1000), np.uint8), cv2.IMREAD_COLOR_RGB)
    overlay = find_colour_overlay(frame, chroma(frame))
    assert overlay is not None
    assert len(overlay.scales) == colours.MAX_SCALES


def test_of_very_many_coloured_parts_the_largest_are_asked_for_flow() -> None:
    frame = np.stack([speckle(1400, 1400) // 2] * 3, axis=-1)
    tile = np.zeros((13, 13, 3), np.uint8)
    tile[:9, :4], tile[:9, 4:9] = (255, 0, 0), (255, 200, 0)
    parts = np.tile(tile, (70, 100, 1))  # 7,000 small ones of two hues
    frame[: parts.shape[0], : parts.shape[1]] = parts
    frame[1100:1200, 200:300], frame[1100:1200, 300:400] = (255, 0, 0), (255, 200, 0)
    overlay = find_colour_overlay(frame, chroma(frame))
    assert overlay is not None
    assert overlay.flow_hw[1100:1200, 200:400].all()
