"""Whose image a DICOM file holds: for the program that sends files, not for the service.

The sender turns these values into keyed pseudonyms and forgets them. No other tag of a patient
is parsed, and these are only where the caller asks for them.
"""

import io
import re
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset, config
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from service.imaging.formats.file_type import MAGIC, PREAMBLE

_SOP_CLASS, _PATIENT_ID, _ISSUER, _STUDY = 0x00080016, 0x00100020, 0x00100021, 0x0020000D
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # float, double float, whole numbers
_MAX_INFLATED = 64_000_000
_MAX_VALUE = 1024
_MEDIA_DIRECTORY = re.compile(rb"1\.2\.840\.10008\.1\.3\.10(?![.\d])")  # PS3.4 B.5
_LOCK = threading.Lock()  # the settings of pydicom and the filters of warnings are global


@dataclass(frozen=True, slots=True)
class DicomIdentity:
    """What a header says of its object. Its ``repr`` shows nothing of a patient.

    Attributes:
        kind: name of the SOP class (PS3.4 B.5), empty where it is missing or private.
        has_pixels: true as well where the header does not parse, or belongs to an image whose
            pixels were cut off, for the service to tell what is wrong.
        patient_id, issuer: PatientID and IssuerOfPatientID without padding, empty where missing.
        study_uid: StudyInstanceUID, likewise.
    """

    kind: str = ""
    has_pixels: bool = True
    patient_id: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)


def is_media_directory(head: bytes) -> bool:
    """Whether a file begins as a DICOMDIR does, whatever its name."""
    return head[PREAMBLE : PREAMBLE + 4] == MAGIC and bool(_MEDIA_DIRECTORY.search(head[:2048]))


def read_identity(data: bytes, *, with_patient: bool) -> DicomIdentity:
    """Read a DICOM file up to its pixels; a damaged one gives what stands before the damage.

    Args:
        with_patient: read the ids of patient and study too.
    """
    tags = [_SOP_CLASS, *((_PATIENT_ID, _ISSUER, _STUDY) if with_patient else ())]
    reached: list[int] = []

    def is_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        if tag in _PIXELS:
            reached.append(tag)
        return bool(tag >= min(_PIXELS))

    try:
        with _quiet():
            plain, is_whole = _inflated(data)
            dataset = read_partial(io.BytesIO(plain), is_pixels, force=True, specific_tags=tags)
    except Exception:  # pydicom raises many types on damaged files
        return DicomIdentity()
    kind = _kind(_value(dataset, _SOP_CLASS))
    return DicomIdentity(
        kind=kind,
        has_pixels=bool(reached) or not is_whole or "Image" in kind or not kind,
        patient_id=_value(dataset, _PATIENT_ID),
        issuer=_value(dataset, _ISSUER),
        study_uid=_value(dataset, _STUDY),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """One thread at a time reads without warnings, which may quote values."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode = config.settings.reading_validation_mode
        config.settings.reading_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.reading_validation_mode = mode


def _kind(sop_class: str) -> str:
    name = UID(sop_class).name if sop_class else ""
    return "" if name == sop_class else str(name)


def _value(dataset: Dataset, tag: int) -> str:
    """The text of a tag as it stands in the file, NFC, without padding.

    It is not decoded by SpecificCharacterSet: an id must stay the same where that tag is wrong.
    """
    element = dataset.get_item(tag) if tag in dataset else None
    value = element.value if isinstance(element, RawDataElement) else None
    if not isinstance(value, bytes):
        return "" if element is None or value is None else str(value)
    try:
        text = value[:_MAX_VALUE].decode()
    except UnicodeDecodeError:
        text = value[:_MAX_VALUE].decode("latin-1")
    return plain_id(text)


def plain_id(text: str) -> str:
    """An id without padding, NFC: as a person types it."""
    return unicodedata.normalize("NFC", text.strip("\0 \t\r\n"))


def _inflated(data: bytes) -> tuple[bytes, bool]:
    """A deflated file (PS3.5 A.5) as a plain one, cut where it is long, and whether it is whole."""
    start = PREAMBLE + 4 if data[PREAMBLE : PREAMBLE + 4] == MAGIC else 0
    if data[start : start + 2] != b"\x02\x00":
        return data, True
    stream = io.BytesIO(data)
    stream.seek(start)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return data, True
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = engine.decompress(data[stream.tell() :], _MAX_INFLATED)
    syntax = b"1.2.840.10008.1.2.1\0"
    element = b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(element).to_bytes(4, "little")
    return bytes(PREAMBLE) + MAGIC + length + element + plain, not engine.unconsumed_tail
