"""The vocabulary of frame analysis, for rooms that may not import the imaging room."""

from service.imaging.analysis.frame_analysis import RISKS as RISKS
from service.imaging.analysis.frame_analysis import FrameAnalysis as FrameAnalysis
from service.imaging.analysis.frame_analysis import Risk as Risk
from service.imaging.analysis.quality import Reason as Reason
from service.imaging.formats.frames import CorrectedFact as CorrectedFact
