"""Whose image a header names is read on request, and from every encoding of DICOM."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from service.imaging.formats.dicom_identity import is_media_directory, read_identity
from tests.house.source_tree import FILES, imports_of, inside, module_of
from tests.imaging.dicom_files import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    RLE,
    dicom,
    written,
)

FRAME = np.zeros((1, 32, 48), np.uint8)
IDS = {"PatientID": "123", "IssuerOfPatientID": "North", "StudyInstanceUID": "1.2.3.4"}


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE, JPEG])
def test_the_ids_are_read_whatever_the_transfer_syntax(syntax: str) -> None:
    found = read_identity(dicom(FRAME, syntax, **IDS), with_patient=True)
    assert (found.patient_id, found.issuer, found.study_uid) == ("123", "North", "1.2.3.4")
    assert found.has_pixels


def test_no_module_of_the_service_reads_the_ids() -> None:
    """Only the command line does, on the machine that has the files."""
    module = "service.imaging.formats.dicom_identity"
    readers = {
        module_of(file) for file in FILES if any(inside(n, module) for n in imports_of(file))
    }
    assert {reader.rpartition(".")[0] for reader in readers} == {"service.cli"}


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_the_ids_are_read_without_a_preamble(syntax: str) -> None:
    found = read_identity(dicom(FRAME, syntax, preamble=False, **IDS), with_patient=True)
    assert (found.patient_id, found.study_uid) == ("123", "1.2.3.4")


def test_the_ids_are_not_read_where_nobody_asks_and_never_shown() -> None:
    data = dicom(FRAME, **IDS)
    without = read_identity(data, with_patient=False)
    assert (without.patient_id, without.issuer, without.study_uid) == ("", "", "")
    shown = repr(read_identity(data, with_patient=True))
    assert not [value for value in IDS.values() if value in shown]


@pytest.mark.parametrize("value", ["123 ", " 123", "123\0", "123\0\0 ", "\t123"])
def test_padding_is_no_part_of_an_id(value: str) -> None:
    assert read_identity(dicom(FRAME, PatientID=value), with_patient=True).patient_id == "123"


def test_an_id_is_the_same_whatever_character_set_its_file_claims() -> None:
    ids = set()
    for claim in (["ISO_IR 100"], ["ISO_IR 192"], ["ISO_IR"], None):
        data = dicom(FRAME, PatientID="A_B~1", SpecificCharacterSet=["ISO_IR 100"])
        data = data.replace(b"ISO_IR 100", (claim or [""])[0].ljust(10).encode())
        ids.add(read_identity(data, with_patient=True).patient_id)
    assert ids == {"A_B~1"}


def document(sop_class: str, **tags: object) -> bytes:
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = sop_class, "1.2.3"
    for name, value in tags.items():
        setattr(item, name, value)
    return written(item, EXPLICIT)


def test_a_document_without_pixels_is_named_by_its_class() -> None:
    pdf = document("1.2.840.10008.5.1.4.1.1.104.1", EncapsulatedDocument=b"%PDF")
    report = document("1.2.840.10008.5.1.4.1.1.88.33")
    for data, kind in ((pdf, "Encapsulated PDF Storage"), (report, "Comprehensive SR Storage")):
        found = read_identity(data, with_patient=False)
        assert (found.kind, found.has_pixels) == (kind, False)


def test_an_image_whose_end_is_cut_off_is_left_for_the_service_to_refuse() -> None:
    data = dicom(FRAME, **IDS)
    cut = read_identity(data[: data.index(b"1.2.3.4") + 40], with_patient=True)
    assert cut.has_pixels
    assert read_identity(b"\0" * 200, with_patient=True).has_pixels


def test_a_deflated_file_of_any_length_is_read_up_to_a_limit() -> None:
    data = dicom(np.zeros((17, 2048, 2048), np.uint8), DEFLATED, **IDS)
    assert len(data) < 1_000_000
    assert read_identity(data, with_patient=True).patient_id == "123"


def test_a_media_directory_is_known_by_its_class_and_not_by_its_name() -> None:
    assert is_media_directory(document("1.2.840.10008.1.3.10"))
    assert not is_media_directory(document("1.2.840.10008.1.3.101"))
    assert not is_media_directory(dicom(FRAME))
