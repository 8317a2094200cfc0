"""Any file that an ultrasound machine gives -> its frames. THE entrance of decoding.

Hostile files are decoded in another process: see ``isolation``.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from service.imaging.formats.dicom import DicomReader
from service.imaging.formats.file_type import container_of, family_of
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.image_stack import StackReader
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import Chooser, Sampling, evenly, most_different, sketch
from service.imaging.formats.still import read_still
from service.imaging.formats.video import VideoReader


class Reader(Protocol):
    """What each format offers."""

    info: ImageInfo

    def frames(self, chooser: Chooser) -> Iterator[DecodedFrame]:
        """Decode the chosen frames, in the order of the file."""


class _StillReader:
    """A still as a reader of one frame."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self.info, self._frame = read_still(data, limits)

    def frames(self, chooser: Chooser) -> Iterator[DecodedFrame]:
        """The one frame."""
        if chooser.takes(0, None):
            yield self._frame


def open_reader(data: bytes, limits: DecodeLimits) -> Reader:
    """Open a file of any format that is read.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong, DecodeLimit: see
            ``service.errors``.
    """
    family = family_of(data)
    if family == "still":
        return _StillReader(data, limits)
    if family == "stack":
        return StackReader(data, limits)
    if family == "dicom":
        return DicomReader(data, limits)
    return VideoReader(data, limits, file_format=container_of(data))


def read(data: bytes, sampling: Sampling, limits: DecodeLimits) -> DecodedImage:
    """Open a file and choose its frames; they are decoded while they are walked.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong, DecodeLimit: at once, or
            while the frames are walked.
    """
    reader = open_reader(data, limits)
    return DecodedImage(reader.info, reader.frames(choose(reader, sampling)))


def choose(reader: Reader, sampling: Sampling) -> Chooser:
    """Which frames to take. ``different`` decodes the whole clip once to find them."""
    total = reader.info.frames_in_file
    if sampling.rule == "fps":
        return Chooser(per_s=sampling.amount)
    if sampling.rule == "all" or total == 1 or sampling.amount >= total:
        return Chooser()
    count = int(sampling.amount)
    if sampling.rule == "uniform":
        return Chooser(evenly(total, count))
    sketches_TP = np.stack([sketch(frame.grey) for frame in reader.frames(Chooser())])
    return Chooser(most_different(sketches_TP, count))
