"""DICOM files: the few tags that are needed, and the frames in order.

Only the tags in ``TAGS`` are parsed: nothing of a patient enters memory.
"""

import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from service.errors import CorruptImage, DecodeLimit, ServiceError, UnsupportedFormat
from service.imaging.formats.dicom_tags import (
    TAGS,
    burned_in,
    device,
    geometry,
    number,
)
from service.imaging.formats.dicom_timing import timing
from service.imaging.formats.file_type import MAGIC, PREAMBLE
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.functional_groups import lift
from service.imaging.formats.limits import DecodeLimits, check_length, check_size
from service.imaging.formats.lost_blocks import lost_blocks
from service.imaging.formats.sampling import FrameSelector
from service.imaging.pixel_data.frame_pixels import FramePixels
from service.imaging.pixel_data.frame_spans import (
    PixelElement,
    encapsulated_frames,
    native_frames,
    stream_of,
)
from service.imaging.pixel_data.grey_scale import grey_tags
from service.imaging.pixel_data.pixel_format import (
    COMPRESSED,
    MPEG,
    NATIVE,
    pixel_format,
    syntax_name,
)
from service.imaging.video.video_reader import VideoReader

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_DATA = b"\xe0\x7f\x10\x00"  # compressed pixel data is little endian
_SAME_RATE = 0.02  # 29.97 and 30 frames per second are one rate


class DicomReader:
    """One opened file; ``frames`` may be called more than once.

    Raises:
        UnsupportedFormat: the file has no pixels, or its transfer syntax or pixel type is not
            supported.
        CorruptImage: the file is damaged.
        ImageTooLarge, ClipTooLong, DecodeLimit: the file exceeds the limits.
    """

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._limits = limits
        with _translated():
            self._dataset, self._element = _read(data, limits)
            self._syntax = str(self._dataset.file_meta.TransferSyntaxUID)
            self._refuse_unreadable()
            unequal = lift(self._dataset)
            info = self._open_video() if self._syntax in MPEG else self._open_frames()
            shape = geometry(self._dataset, info.width_px, info.height_px)
            corrections = (*unequal, *info.corrections, *shape.corrections)
            self.info = replace(
                info,
                regions=shape.regions,
                spacing_mm=shape.spacing_mm,
                pixel_aspect=shape.pixel_aspect or info.pixel_aspect,
                burned_in=burned_in(self._dataset),
                device=device(self._dataset),
                corrections=tuple({c.fact: c for c in corrections}.values()),
            )

    def _refuse_unreadable(self) -> None:
        if not self._element.value:
            raise UnsupportedFormat("expected a DICOM file with pixel data, got one without")
        if self._syntax not in NATIVE | COMPRESSED | MPEG:
            name = UID(self._syntax).name if UID(self._syntax).is_valid else "an invalid one"
            raise UnsupportedFormat(f"the DICOM transfer syntax is not supported: {name[:64]}")

    def _open_video(self) -> ImageInfo:
        """The stream counts for its frames, the tags for their times."""
        is_timed = timing(self._dataset, 2).rate_hz is not None
        limits = replace(self._limits, max_clip_s=math.inf) if is_timed else self._limits
        self._video = VideoReader(
            stream_of(self._element),
            limits,
            file_format="dicom",
            has_lost_blocks=bool(self._element.lost_blocks),
        )
        info = self._video.info
        self._timing = timing(self._dataset, info.frames_in_file)
        rate = self._timing.rate_hz
        check_length(info.frames_in_file, rate, self._limits)
        stated = (*info.corrections, *self._timing.corrections)
        corrections = {correction.fact: correction for correction in stated}
        counted = self._count_correction(info.frames_in_file)
        if counted is not None:
            corrections["frame_count"] = counted
        of_stream = info.frame_rate_hz
        if rate is None or info.kind == "frame":
            return replace(info, corrections=tuple(corrections.values()))
        if of_stream is None or abs(of_stream / rate - 1) > _SAME_RATE:
            corrections["frame_rate"] = Correction("frame_rate", of_stream, rate)
        return replace(info, frame_rate_hz=rate, corrections=tuple(corrections.values()))

    def _open_frames(self) -> ImageInfo:
        form = pixel_format(self._dataset, self._syntax)
        check_size(form.columns, form.rows, self._limits)
        element = self._element
        if form.swaps_bytes:
            element = replace(element, value=_swapped(element.value))
        if self._syntax in NATIVE:
            spans = native_frames(element, form, self._declared_frames(), self._limits)
        else:
            spans = encapsulated_frames(element, form, self._limits)
        self._timing = timing(self._dataset, len(spans))
        check_length(len(spans), self._timing.rate_hz, self._limits)
        self._pixels = FramePixels(form, grey_tags(self._dataset, form), spans, self._limits)
        counted = self._count_correction(len(spans))
        return ImageInfo(
            format="dicom",
            kind="cine" if len(spans) > 1 else "frame",
            width_px=form.columns,
            height_px=form.rows,
            frames_in_file=len(spans),
            frame_rate_hz=self._timing.rate_hz,
            encoding=syntax_name(self._syntax),
            corrections=(
                *(() if counted is None else (counted,)),
                *self._timing.corrections,
                *self._pixels.corrections,
            ),
        )

    def _declared_frames(self) -> int | None:
        declared = number(self._dataset, "NumberOfFrames")
        return None if declared is None else int(declared)

    def _count_correction(self, counted: int) -> Correction | None:
        """A file without NumberOfFrames holds one frame (PS3.3 C.7.6.6)."""
        declared = self._declared_frames()
        if counted == (1 if declared is None else declared):
            return None
        return Correction("frame_count", declared, counted)

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file. Raises as the class does."""
        if self._syntax in MPEG:
            for frame in self._video.frames(_TagTimes(selector, self._time_of)):
                time_s = self._time_of(frame.index, frame.time_s)
                yield replace(frame, time_s=time_s)
            return
        with _translated():
            for index in range(len(self._pixels)):
                time_s = self._time_of(index, None)
                if selector.takes(index, time_s):
                    yield DecodedFrame(self._pixels.pixels(index), index, time_s)
                if index == selector.last:
                    return

    def _time_of(self, index: int, stamp_s: float | None) -> float | None:
        """By the tags; the time stamp of a video stream counts when there are none."""
        return stamp_s if self._timing.rate_hz is None else self._timing.time_of(index)


class _TagTimes(FrameSelector):
    """Selects frames of a video by the times that the tags give."""

    def __init__(
        self,
        selector: FrameSelector,
        time_of: Callable[[int, float | None], float | None],
    ) -> None:
        self._selector = selector
        self._time_of = time_of
        self.last = selector.last

    def takes(self, index: int, time_s: float | None) -> bool:
        """As the selector that it wraps."""
        return self._selector.takes(index, self._time_of(index, time_s))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every exception of pydicom into CorruptImage and suppress its warnings."""
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ServiceError, MemoryError, GeneratorExit):
        raise
    except Exception as error:
        raise CorruptImage("the DICOM file does not decode completely") from error
    finally:
        config.settings.reading_validation_mode = mode


def _read(data: bytes, limits: DecodeLimits) -> tuple[pydicom.FileDataset, PixelElement]:
    """Parse the tags of ``TAGS``; a deflated file is inflated within the limits first."""
    stream = io.BytesIO(data)
    start = PREAMBLE + 4 if data[PREAMBLE : PREAMBLE + 4] == MAGIC else 0
    stream.seek(start)
    if data[start : start + 2] == b"\x02\x00":
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            data = _plain_header() + _inflate(data[stream.tell() :], limits)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(TAGS))
    element = _pixel_element(dataset)
    if not element.value:
        dataset, element = _read_cut(data)
    if element.length is None:
        runs = [(first - element.start, stop - element.start) for first, stop in lost_blocks(data)]
        element = replace(element, lost_blocks=tuple(runs))
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax if little else ExplicitVRBigEndian
    return dataset, element


def _pixel_element(dataset: pydicom.Dataset) -> PixelElement:
    """Empty without one."""
    raw: Any = dataset.get_item("PixelData") if "PixelData" in dataset else None
    if raw is None or not isinstance(raw.value, bytes):
        return PixelElement(b"", 0)
    if not isinstance(raw, RawDataElement):
        return PixelElement(raw.value, len(raw.value))
    length = None if raw.length == _UNDEFINED_LENGTH else raw.length
    return PixelElement(raw.value, length, raw.value_tell)


def _read_cut(data: bytes) -> tuple[pydicom.FileDataset, PixelElement]:
    """A file that ends within compressed pixel data, which pydicom gives up as a whole."""
    stream = io.BytesIO(data)
    dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(TAGS))
    head = data[stream.tell() : stream.tell() + 12]
    is_implicit, _ = dataset.original_encoding
    length_at = 4 if is_implicit else 8
    if head[:4] != _PIXEL_DATA or head[length_at:][:4] != b"\xff\xff\xff\xff":
        return dataset, PixelElement(b"", 0)
    start = stream.tell() + length_at + 4
    dataset.add_new("PixelData", "OB", b"")
    return dataset, PixelElement(data[start:], None, start)


def _plain_header() -> bytes:
    """Preamble and meta information of an explicit little-endian file (PS3.10, 7.1)."""
    syntax = b"1.2.840.10008.1.2.1\0"
    element = b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(element).to_bytes(4, "little")
    return bytes(PREAMBLE) + MAGIC + length + element


def _inflate(packed: bytes, limits: DecodeLimits) -> bytes:
    """Raw deflate (PS3.5 annex A.5). Raises DecodeLimit: the content is longer than allowed."""
    max_bytes = limits.max_decode_bytes // 4  # parsing copies the content
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = engine.decompress(packed, max_bytes)
    if engine.unconsumed_tail and engine.decompress(engine.unconsumed_tail, 1):
        raise DecodeLimit(f"the deflated DICOM file holds more than {max_bytes} bytes")
    return plain


def _swapped(value: bytes) -> bytes:
    """8-bit pixels that lie in big-endian words, in their order (PS3.5 annex A.3)."""
    return np.frombuffer(value[: len(value) // 2 * 2], "<u2").byteswap().tobytes()
