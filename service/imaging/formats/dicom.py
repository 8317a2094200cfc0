"""DICOM files: the few tags that are needed, and the frames in order.

Only the tags in ``TAGS`` are parsed: nothing of a patient enters memory.
"""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MPEGTransferSyntaxes,
    UncompressedTransferSyntaxes,
)

from service.arrays import Pixels
from service.errors import CorruptImage, DecodeLimit, ServiceError, UnsupportedFormat
from service.imaging.formats.dicom_pixels import RLE, FrameDecoder, PixelFormat
from service.imaging.formats.dicom_tags import (
    TAGS,
    burned_in,
    device,
    geometry,
    number,
    rescaled_window,
)
from service.imaging.formats.dicom_timing import timing
from service.imaging.formats.file_type import MAGIC, PREAMBLE
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_length, check_size
from service.imaging.formats.sampling import FrameSelector
from service.imaging.formats.video import VideoReader

_NATIVE = frozenset(map(str, UncompressedTransferSyntaxes))
_COMPRESSED = frozenset(
    {RLE, *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91))}
)
_MPEG = frozenset(map(str, MPEGTransferSyntaxes))


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
            self._dataset = _read(data, limits)
            self._syntax = str(self._dataset.file_meta.TransferSyntaxUID)
            self._refuse_unreadable()
            info = self._open_video() if self._syntax in _MPEG else self._open_frames()
            shape = geometry(self._dataset, info.width_px, info.height_px)
            self.info = replace(
                info,
                regions=shape.regions,
                spacing_mm=shape.spacing_mm,
                pixel_aspect=shape.pixel_aspect or info.pixel_aspect,
                burned_in=burned_in(self._dataset),
                device=device(self._dataset),
                corrections=(*info.corrections, *shape.corrections),
            )

    def _refuse_unreadable(self) -> None:
        if "PixelData" not in self._dataset:
            raise UnsupportedFormat("expected a DICOM file with pixel data, got one without")
        if self._syntax not in _NATIVE | _COMPRESSED | _MPEG:
            name = UID(self._syntax).name if UID(self._syntax).is_valid else "an invalid one"
            raise UnsupportedFormat(f"the DICOM transfer syntax is not supported: {name[:64]}")

    def _open_video(self) -> ImageInfo:
        stream = b"".join(generate_frames(self._dataset.PixelData, number_of_frames=1))
        self._video = VideoReader(stream, self._limits, file_format="dicom")
        return self._video.info

    def _open_frames(self) -> ImageInfo:
        self._pixels = _pixel_format(self._dataset, self._syntax)
        check_size(self._pixels.columns, self._pixels.rows, self._limits)
        frames = max(1, int(number(self._dataset, "NumberOfFrames") or 1))
        self._timing = timing(self._dataset, frames)
        rate = self._timing.rate_hz
        check_length(frames, rate, self._limits)
        if self._syntax in _NATIVE:
            actual = len(self._dataset.PixelData)
            self._frame_bytes = self._pixels.frame_bytes(actual, frames)
            expected = self._frame_bytes * frames
            if actual < expected:
                raise CorruptImage(f"expected {expected} bytes of pixels, got {actual}")
        return ImageInfo(
            format="dicom",
            kind="cine" if frames > 1 else "frame",
            width_px=self._pixels.columns,
            height_px=self._pixels.rows,
            frames_in_file=frames,
            frame_rate_hz=rate,
            encoding=UID(self._syntax).name,
            corrections=self._timing.corrections,
        )

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file. Raises as the class does."""
        if self._syntax in _MPEG:
            yield from self._video.frames(selector)
            return
        with _translated():
            decoder = FrameDecoder(self._pixels, self._limits)
            decode = decoder.native if self._syntax in _NATIVE else decoder.encapsulated
            count = 0
            for index, packed in enumerate(self._packed()):
                count += 1
                time_s = self._timing.time_of(index)
                if selector.takes(index, time_s):
                    yield DecodedFrame(decode(packed), index, time_s)
                if index == selector.last:
                    return
            if count < self.info.frames_in_file:
                raise CorruptImage(f"expected {self.info.frames_in_file} frames, got {count}")

    def _packed(self) -> Iterator[bytes]:
        """Yield the bytes of each frame."""
        pixels, frames = self._dataset.PixelData, self.info.frames_in_file
        if self._syntax in _NATIVE:
            size = self._frame_bytes
            for index in range(frames):
                yield pixels[index * size : (index + 1) * size]
            return
        offsets = None
        if "ExtendedOffsetTable" in self._dataset:
            table = self._dataset
            offsets = (table.ExtendedOffsetTable, table.ExtendedOffsetTableLengths)
        packed_frames = generate_frames(pixels, number_of_frames=frames, extended_offsets=offsets)
        yield from islice(packed_frames, frames)


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


def _read(data: bytes, limits: DecodeLimits) -> pydicom.FileDataset:
    """Parse the tags of ``TAGS``; a deflated file is inflated within the limits first."""
    stream = io.BytesIO(data)
    start = PREAMBLE + 4 if data[PREAMBLE : PREAMBLE + 4] == MAGIC else 0
    stream.seek(start)
    if data[start : start + 2] == b"\x02\x00":
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            data = _plain_header() + _inflate(data[stream.tell() :], limits)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(TAGS))
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax if little else ExplicitVRBigEndian
    return dataset


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


def _pixel_format(dataset: pydicom.Dataset, syntax: str) -> PixelFormat:
    samples = int(dataset.get("SamplesPerPixel") or 1)
    allocated = int(dataset.BitsAllocated)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2")).strip().upper()
    if samples not in (1, 3) or allocated not in (8, 16):
        raise UnsupportedFormat(
            f"expected 1 or 3 samples of 8 or 16 bits, got {samples} of {allocated}"
        )
    stored = int(dataset.get("BitsStored") or allocated)
    if not 0 < stored <= allocated:
        raise CorruptImage(f"expected 1 to {allocated} bits stored, got {stored}")
    is_little_endian = syntax != str(ExplicitVRBigEndian)
    return PixelFormat(
        syntax=syntax,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        samples=samples,
        allocated=allocated,
        stored=stored,
        is_signed=bool(dataset.get("PixelRepresentation")),
        photometric=photometric,
        is_planar=bool(dataset.get("PlanarConfiguration")),
        is_little_endian=is_little_endian,
        swaps_bytes=not is_little_endian and allocated == 8 and dataset["PixelData"].VR == "OW",
        window=rescaled_window(dataset),
        palette_L3=_palette(dataset, stored) if photometric == "PALETTE COLOR" else None,
    )


def _palette(dataset: pydicom.Dataset, stored: int) -> Pixels:
    """The colour of every possible index, uint8 (L, 3)."""
    indexes = np.arange(2**stored, dtype=np.uint8 if stored <= 8 else np.uint16)
    table: Any = apply_color_lut(indexes[None], dataset)[0]
    # Many writers store 8-bit values in a 16-bit table.
    is_narrow = table.dtype == np.uint8 or int(table.max()) < 256
    return np.asarray(table if is_narrow else table >> 8, np.uint8)
