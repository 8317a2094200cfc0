"""The same labels as people's programs write them are the same labels."""

import unicodedata
from pathlib import Path

import pytest

from service.cli.csv_table import located
from service.cli.ingesting.ingest_table import read_file_table
from service.cli.labelled_files import LabelledFile, labelled_files
from service.errors import InputError

PLAIN = "path,label,subject_id\r\nscans/ä.png,Läsion,p0\r\nscans/b.png,Nerv,p1\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    for name in ("ä.png", "b.png"):
        (tmp_path / "scans" / name).write_bytes(b"x")
    return tmp_path


def labels_in(folder: Path, data: bytes) -> list[LabelledFile]:
    file = folder / "labels.csv"
    file.write_bytes(data)
    return labelled_files(file)


WRITTEN = {
    "a mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "marks of joined files": PLAIN.replace("p1", "p1\ufeff").encode("utf-8-sig"),
    "semicolons": PLAIN.replace(",", ";").encode("utf-8-sig"),
    "tabs in UTF-16": PLAIN.replace(",", "\t").encode("utf-16"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "big-endian UTF-16": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "bars": PLAIN.replace(",", "|").encode(),
    "Excel's first line": ("sep=;\r\n" + PLAIN.replace(",", ";")).encode(),
    "capitals": PLAIN.replace("path,label,subject_id", "Path,LABEL,Subject ID").encode(),
    "spaces": PLAIN.replace(",", ", ").replace("\r\n", " \r\n").encode(),
    "a space that does not break": PLAIN.replace("Nerv", "\xa0Nerv\u200b").encode(),
    "quotes": PLAIN.replace("Nerv", '"Nerv"').replace("p1", ' "p1"').encode(),
    "backslashes": PLAIN.replace("/", "\\").encode(),
    "a dot": PLAIN.replace("scans", "./scans").encode(),
    "line feeds": PLAIN.replace("\r\n", "\n").encode(),
    "carriage returns": PLAIN.replace("\r\n", "\r").encode(),
    "empty lines": ("\r\n" + PLAIN + ",,\r\n\r\n").encode(),
    "columns without a name": PLAIN.replace("\r\n", ",,\r\n").encode(),
    "a short row": PLAIN.replace("subject_id", "subject_id,study_id").encode(),
    "decomposed letters": unicodedata.normalize("NFD", PLAIN).encode(),
    "a row twice": (PLAIN + "scans/b.png,Nerv,p1\r\n").encode(),
}


@pytest.mark.parametrize("data", WRITTEN.values(), ids=WRITTEN.keys())
def test_every_program_writes_the_same_labels(folder: Path, data: bytes) -> None:
    assert labels_in(folder, data) == [
        LabelledFile(folder / "scans" / "ä.png", "Läsion", "p0"),
        LabelledFile(folder / "scans" / "b.png", "Nerv", "p1"),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (PLAIN.encode("cp1252"), "line 2: expected a CSV in UTF-8 or UTF-16, got .* cp1252"),
        (b"\xef\xbb\xbf" + PLAIN.encode("cp1252"), "cp1252"),
        (PLAIN.encode("mac-roman"), "cp1252"),
        (PLAIN.replace("ä", "\ufffd").encode(), "could not read"),
        (PLAIN.encode("utf-16")[:-1], "damaged"),
        (b"", "expected columns"),
        (b"path,label,label\nb.png,x,y", "each column once"),
        (b"path,label\nscans/b.png,3,5", "line 2"),
        (b"path,label,\nscans/b.png,x,y", "line 2.*without a name"),
        (b"path,label\nscans/b.png,x\nscans\\b.png,y", "lines 2 and 3"),
        (b"path,label,subject_id\nscans/b.png,x,p1\nscans/b.png,x,p2", "lines 2 and 3"),
        (b"path,label\nscans/b.png,x\nscans/c.png,y", "1 of 2 .* line 3"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_by_line(
    folder: Path, data: bytes, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        labels_in(folder, data)


@pytest.mark.parametrize(
    "cell",
    ["NA", "n/a", "NaN", "NULL", "<NA>", "#N/A", "#NV", "#DIV/0!", "#REF!", "#BEZUG!", "####"],
)
@pytest.mark.parametrize("column", ["label", "subject_id", "study_id"])
def test_what_a_program_writes_for_a_missing_value_is_neither_a_class_nor_a_patient(
    folder: Path, column: str, cell: str
) -> None:
    cells = {"path": "scans/b.png", "label": "x"} | {column: cell}
    text = f"{','.join(cells)}\n{','.join(cells.values())}\n"
    with pytest.raises(InputError, match=f"line 2, column {column}: .* an empty cell"):
        labels_in(folder, text.encode())


@pytest.mark.parametrize("cell", ["1.23457E+11", '"1,23457E+11"', "1E+12", "1.2e-05"])
def test_an_id_that_a_spreadsheet_shortened_is_no_patient(folder: Path, cell: str) -> None:
    text = f"path,label,subject_id\nscans/b.png,x,{cell}\n"
    with pytest.raises(InputError, match=r"line 2, column subject_id: .* shortened"):
        labels_in(folder, text.encode())


@pytest.mark.parametrize("cell", ["nan1", "#12", "none", "4e12", "1E5", "0", "007"])
def test_words_and_codes_that_only_look_alike_are_ids_and_labels(folder: Path, cell: str) -> None:
    text = f"path,label,subject_id\nscans/b.png,{cell},{cell}\n"
    (found,) = labels_in(folder, text.encode())
    assert (found.label, found.subject_id) == (cell, cell)


def test_names_on_the_disk_may_be_decomposed_and_those_in_the_table_composed(
    tmp_path: Path,
) -> None:
    scans = tmp_path / unicodedata.normalize("NFD", "Schädel")
    scans.mkdir()
    file = scans / unicodedata.normalize("NFD", "ü 1.png")
    file.write_bytes(b"x")
    assert located("Schädel\\ü 1.png", [tmp_path / "none", tmp_path]) == file
    assert located(str(file), [tmp_path]) == file
    assert located("Schädel", [tmp_path]) is None
    assert located("Schädel/\0", [tmp_path]) is None
    assert located("x" * 5000, [tmp_path]) is None


def table_of(folder: Path, text: str, task: str | None = None):
    file = folder / "table.csv"
    file.write_text(text)
    return read_file_table(file, folder, task)


def test_a_table_holds_ids_several_labels_and_typed_attributes(folder: Path) -> None:
    text = (
        "path;scan;subject;study-id;Label;label:Organ;attribute:Age;attribute:size\n"
        "scans/b.png;s1;p1;st1;mass;Liver;40;3,5\n"
        "scans/ä.png;;p2;;;Kidney;4.5e1;007\n"
    )
    with pytest.raises(InputError, match=r"got scan$"):
        table_of(folder, text, "finding")
    found = table_of(folder, text.replace("scan;", "scan_id;"), "finding")
    assert found.metadata == {
        folder / "scans" / "b.png": {
            "scan_id": "s1",
            "subject_id": "p1",
            "study_id": "st1",
            "labels": {"finding": "mass", "Organ": "Liver"},
            "attributes": {"Age": 40, "size": "3,5"},
        },
        folder / "scans" / "ä.png": {
            "subject_id": "p2",
            "labels": {"Organ": "Kidney"},
            "attributes": {"Age": 45.0, "size": "007"},
        },
    }
    assert found.tasks == {"finding", "Organ"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("TRUE", True),
        ("-1", -1),
        ("1.50", 1.5),
        ("1e999", "1e999"),
        (str(2**63), str(2**63)),
        ("1,5", "1,5"),
        ("01", "01"),
        ("+1", "+1"),
        ("NaN", "NaN"),
        ("2026-01-01", "2026-01-01"),
    ],
)
def test_only_what_json_calls_a_number_is_one(folder: Path, cell: str, value: object) -> None:
    found = table_of(folder, f"path;attribute:x\nscans/b.png;{cell}\n")
    (metadata,) = found.metadata.values()
    assert metadata["attributes"] == {"x": value}
    assert type(metadata["attributes"]["x"]) is type(value)


def test_rows_without_a_file_and_files_outside_the_folder_are_told_apart(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "c.png"
    other.write_bytes(b"x")
    found = table_of(folder, f"path\nscans/b.png\nnone.png\n{other}\n")
    assert [(row.line, row.outside) for row in found.missing] == [(3, False), (4, True)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\nscans/b.png,x", "needs --label-task"),
        ("path,age\nscans/b.png,40", "got age"),
        ("path,attribute:\nscans/b.png,40", "got attribute:"),
        ("label:a\nx", "expected columns"),
        ("path,label:a\n,x", "line 2: expected a path"),
        ("path,scan_id\nscans/b.png,s\nscans/ä.png,s", "lines 2 and 3 .* scan_id"),
        ("path,label:a\nscans/b.png,x\nscans/b.png,", "lines 2 and 3"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(folder: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        table_of(folder, text)
