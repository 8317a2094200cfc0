"""Synthetic DICOM files in every transfer syntax that can be written."""

import io
import warnings
import zlib
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, RLELossless, UltrasoundMultiFrameImageStorage

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE = str(RLELossless)
JPEG, EXTENDED, LOSSLESS, SV1, LS, LS_NEAR, J2K_LOSSLESS, J2K = (
    f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)
)
JXL_LOSSLESS, JXL_RECOMPRESSED, JXL = (f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112))
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
MPEG2, H264, HEVC = (f"1.2.840.10008.1.2.4.{n}" for n in (100, 102, 107))
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG}
NAME = "SECRET^PATIENT"


def dataset(frames: np.ndarray, *, photometric: str, bits: int, **tags: Any) -> Dataset:
    """frames: (T, H, W) or (T, H, W, 3), uint8 or uint16."""
    item = Dataset()
    item.SOPClassUID = UltrasoundMultiFrameImageStorage
    item.SOPInstanceUID = "1.2.3"
    item.Modality = "US"
    item.PatientName, item.PatientID = NAME, NAME
    item.Rows, item.Columns = frames.shape[1:3]
    item.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    if frames.ndim == 4:
        item.PlanarConfiguration = 0
    item.BitsAllocated = 8 * frames.dtype.itemsize
    item.BitsStored, item.HighBit = bits, bits - 1
    item.PixelRepresentation = 0
    item.PhotometricInterpretation = photometric
    item.NumberOfFrames = len(frames)
    for name, value in tags.items():
        setattr(item, name, value)
    return item


def written(item: Dataset, syntax: str, *, preamble: bool = True) -> bytes:
    if syntax in (JXL_LOSSLESS, JXL_RECOMPRESSED, JXL):  # pydicom 3.0 does not know them
        data = written(item, HTJ2K, preamble=preamble)
        return data.replace(HTJ2K.encode(), syntax.encode(), 1)
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = UID(syntax)
    item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not preamble:
            del item.file_meta
            dcmwrite(
                buffer,
                item,
                enforce_file_format=False,
                implicit_vr=syntax == IMPLICIT,
                little_endian=syntax != BIG,
            )
        else:
            dcmwrite(buffer, item, enforce_file_format=True)
    return buffer.getvalue()


def dicom(
    frames: np.ndarray,
    syntax: str = EXPLICIT,
    *,
    photometric: str | None = None,
    bits: int = 8,
    preamble: bool = True,
    **tags: Any,
) -> bytes:
    """A whole file. Colour is given as RGB and stored as ``photometric`` only names it."""
    photometric = photometric or ("RGB" if frames.ndim == 4 else "MONOCHROME2")
    item = dataset(frames, photometric=photometric, bits=bits, **tags)
    if syntax in NATIVE:
        order = frames.astype(frames.dtype.newbyteorder(">" if syntax == BIG else "<"))
        item.PixelData = order.tobytes() + b"\0" * (order.nbytes % 2)
        item["PixelData"].VR = "OB" if frames.dtype == np.uint8 else "OW"
    else:
        item.PixelData = encapsulate([compressed(frame, syntax, bits) for frame in frames])
        item["PixelData"].VR = "OB"
    return written(item, syntax, preamble=preamble)


def encapsulated(item: Dataset, syntax: str, parts: list[bytes], *, table: bytes = b"") -> bytes:
    """A file whose items are exactly these, after an offset table of any content."""
    packed = b"".join(
        b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part for part in (table, *parts)
    )
    item.PixelData = packed
    item["PixelData"].VR = "OB"
    item["PixelData"].is_undefined_length = True
    return written(item, syntax)


def even(part: bytes) -> bytes:
    """Padded as items are."""
    return part + b"\0" * (len(part) % 2)


def split(packed: bytes, count: int) -> list[bytes]:
    """One frame in several fragments of even length."""
    step = -(-len(packed) // count) // 2 * 2 + 2
    return [even(packed[i : i + step]) for i in range(0, len(packed), step)]


def stream(data: bytes, syntax: str, **tags: Any) -> bytes:
    """A video stream wrapped as DICOM."""
    item = dataset(
        np.zeros((1, 64, 96, 3), np.uint8), photometric="YBR_PARTIAL_420", bits=8, **tags
    )
    item.NumberOfFrames = 12
    item.PixelData = encapsulate([data])
    item["PixelData"].VR = "OB"
    return written(item, syntax)


def deflated_zeros(blocks: int) -> bytes:
    """A deflated file with ``blocks`` x 10 MB of zeros behind its header."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(10_000_000)
    first = engine.compress(zeros) + engine.flush(zlib.Z_FULL_FLUSH)
    again = engine.compress(zeros) + engine.flush(zlib.Z_FULL_FLUSH)
    header = dicom(np.zeros((1, 64, 96), np.uint8), DEFLATED)
    meta = header[: 132 + 12 + int.from_bytes(header[140:144], "little")]
    return meta + first + again * (blocks - 1)


def compressed(frame: np.ndarray, syntax: str, bits: int = 8) -> bytes:
    if syntax == RLE:
        return _rle(frame)
    if syntax in (HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K):
        options = {} if syntax == HTJ2K else {"reversible": True}
        return bytes(imagecodecs.htj2k_encode(frame, **options))
    if syntax in (JXL_LOSSLESS, JXL):
        is_lossless = syntax == JXL_LOSSLESS
        return bytes(imagecodecs.jpegxl_encode(frame, lossless=is_lossless, bitspersample=bits))
    if syntax == JXL_RECOMPRESSED:
        return bytes(imagecodecs.jpegxl_encode_jpeg(compressed(frame, JPEG)))
    if syntax == JPEG:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=97, subsampling=0)
        return buffer.getvalue()
    if syntax == EXTENDED:
        return bytes(imagecodecs.jpeg8_encode(frame, level=98, bitspersample=bits))
    if syntax in (LOSSLESS, SV1):
        return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, bitspersample=bits))
    if syntax in (LS, LS_NEAR):
        return bytes(imagecodecs.jpegls_encode(frame, level=2 if syntax == LS_NEAR else 0))
    options: dict[str, Any] = {"codecformat": "j2k", "bitspersample": bits}
    if syntax == J2K:
        return bytes(imagecodecs.jpeg2k_encode(frame, level=50, **options))
    return bytes(imagecodecs.jpeg2k_encode(frame, reversible=True, **options))


def _rle(frame: np.ndarray) -> bytes:
    """Each byte plane as literal runs (PS3.5 annex G), most significant first."""
    planes = [frame] if frame.ndim == 2 else [frame[..., c] for c in range(3)]
    bytes_of = [
        plane.astype(">u2").tobytes()[k :: plane.dtype.itemsize]
        if plane.dtype.itemsize == 2
        else plane.tobytes()
        for plane in planes
        for k in range(plane.dtype.itemsize)
    ]
    segments = [_literal(data) for data in bytes_of]
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    head = np.zeros(16, "<u4")
    head[0] = len(segments)
    head[1 : 1 + len(offsets)] = offsets
    return head.tobytes() + b"".join(segments)


def _literal(data: bytes) -> bytes:
    parts = [data[i : i + 128] for i in range(0, len(data), 128)]
    packed = b"".join(bytes([len(part) - 1]) + part for part in parts)
    return packed + b"\0" * (len(packed) % 2)
