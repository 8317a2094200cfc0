"""The entrance to decoding: a file of any supported format -> its frames.

``sandbox.decoder_process`` calls it for files whose decoders may fail.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from service.imaging.formats.dicom import DicomReader
from service.imaging.formats.file_type import Family, family_of
from service.imaging.formats.frames import DecodedFrame, DecodedImage, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.sampling import FrameSelector, Sampling, evenly, most_different, sketch
from service.imaging.formats.square_pixels import squared_frame, squared_info
from service.imaging.formats.still import read_still
from service.imaging.stacks.image_stack import StackReader
from service.imaging.stacks.tiff import TiffReader
from service.imaging.video.video_reader import VideoReader


class Reader(Protocol):
    """What each format offers."""

    info: ImageInfo

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file."""


class _StillReader:
    """A reader of one frame."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self.info, self._frame = read_still(data, limits)

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        if selector.takes(0, None):
            yield self._frame


READERS: dict[Family, Callable[[bytes, DecodeLimits], Reader]] = {
    "still": _StillReader,
    "stack": StackReader,
    "tiff": TiffReader,
    "dicom": DicomReader,
    "video": VideoReader,
}


def read(data: bytes, sampling: Sampling, limits: DecodeLimits) -> DecodedImage:
    """Open a file and select its frames; iterating over the result decodes them.

    The pixels of the frames are square, and size, regions and spacing speak of them.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong, DecodeLimit: at once, or
            during iteration.
    """
    reader = READERS[family_of(data)](data, limits)
    stored, info = reader.info, squared_info(reader.info, limits)
    selected = reader.frames(_selector(reader, sampling))
    if (stored.width_px, stored.height_px) == (info.width_px, info.height_px):
        return DecodedImage(info, selected)
    return DecodedImage(info, (squared_frame(frame, info) for frame in selected))


def _selector(reader: Reader, sampling: Sampling) -> FrameSelector:
    """The rule ``different`` decodes the whole clip once to compare its frames."""
    total = reader.info.frames_in_file
    if sampling.rule == "fps":
        return FrameSelector(per_s=sampling.amount)
    if sampling.rule == "all" or total == 1 or sampling.amount >= total:
        return FrameSelector()
    count = int(sampling.amount)
    if sampling.rule == "uniform":
        return FrameSelector(evenly(total, count))
    sketches_TP = np.stack([sketch(frame.grey) for frame in reader.frames(FrameSelector())])
    return FrameSelector(most_different(sketches_TP, count))
