"""A folder is sent by what its files hold, and whatever is not sent is named."""

import csv
import io
import json
import logging
import os
import socket
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from service.access.pseudonyms import Pseudonyms, read_pseudonyms, write_key
from service.cli.file_reading import FileReader
from service.cli.folder_walk import image_files, judge, walk
from service.cli.ingesting.ingest import ingest
from service.cli.ingesting.ingest_report import Report
from service.cli.main import app
from service.errors import InputError
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client as TypedClient
from sonoprobe_client import PlainClient as Client
from tests.imaging.dicom_files import EXPLICIT, dicom, written
from tests.service.expected import BUNDLE

runner = CliRunner()
RNG = np.random.default_rng(11)


def picture(kind: str = "PNG") -> bytes:
    """Another one with each call."""
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (24, 24), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def scan(**tags: object) -> bytes:
    return dicom(RNG.integers(0, 256, (1, 24, 24)).astype(np.uint8), **tags)


def document(sop_class: str) -> bytes:
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID, item.PatientID = sop_class, "1.2.3", "4711"
    return written(item, EXPLICIT)


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def tiny(tiny_data: Path) -> Iterator[LocalService]:
    settings = Settings(data_dir=tiny_data, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running:
        yield running


@pytest.fixture
def client(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as found:
        yield found
        found.delete_collection("c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cd").mkdir()
    return tmp_path / "cd"


@pytest.fixture
def send(tiny: LocalService, folder: Path, tmp_path: Path):
    """Run the command; return its output and the report's latest line of each path."""

    def act(*words: object, code: int = 0) -> tuple[str, dict[str, dict[str, str]]]:
        report = tmp_path / "report.csv"
        command = ["ingest", folder, "--collection", "c", "--report", report, *words]
        address = {"SONOPROBE_URL": tiny.url, "SONOPROBE_KEY": tiny.key}
        result = runner.invoke(app, [str(word) for word in command], env=address)
        assert result.exit_code == code, result.output
        with report.open(newline="") as stream:
            return result.output, {row["path"]: row for row in csv.DictReader(stream)}

    return act


def outcomes(rows: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {path: (row["outcome"], row["code"]) for path, row in rows.items()}


def test_a_study_cd_is_sent_by_content_and_the_rest_is_named(
    client: Client, send, folder: Path
) -> None:
    series = folder / "DICOM" / "PA000001" / "ST000001"
    series.mkdir(parents=True)
    (series / "IM000001").write_bytes(scan())
    (series / "IM000002").write_bytes(scan(preamble=False))
    (series / "SR000001").write_bytes(document("1.2.840.10008.5.1.4.1.1.88.33"))
    (series / "PDF00001").write_bytes(document("1.2.840.10008.5.1.4.1.1.104.1"))
    (folder / "DICOMDIR").write_bytes(document("1.2.840.10008.1.3.10"))
    (folder / "copy").write_bytes(document("1.2.840.10008.1.3.10"))
    (folder / "wrong.dcm").write_bytes(picture("JPEG"))
    (folder / "wrong.txt").write_bytes(picture())
    (folder / "README.TXT").write_text("Insert the disc.")
    (folder / "viewer.exe").write_bytes(b"MZ\x90\0\3\0\0\0")
    (folder / "nothing").touch()
    (folder / "autorun.inf").write_text("[autorun]")
    output, rows = send(code=3)
    inside = "DICOM/PA000001/ST000001/"
    assert outcomes(rows) == {
        f"{inside}IM000001": ("stored", "no_key"),
        f"{inside}IM000002": ("stored", "no_key"),
        f"{inside}SR000001": ("passed_over", "no_pixels"),
        f"{inside}PDF00001": ("passed_over", "no_pixels"),
        "DICOMDIR": ("passed_over", "media_directory"),
        "copy": ("passed_over", "media_directory"),
        "wrong.dcm": ("stored", ""),
        "wrong.txt": ("stored", ""),
        "README.TXT": ("passed_over", "not_an_image"),
        "viewer.exe": ("passed_over", "not_an_image"),
        "nothing": ("passed_over", "empty"),
        "autorun.inf": ("passed_over", "system_file"),
    }
    assert rows[f"{inside}SR000001"]["detail"] == "DICOM without pixels: Comprehensive SR Storage"
    assert rows["README.TXT"]["detail"] == "text"
    assert "4 stored, 0 known already, 0 refused, 8 passed over" in output
    assert "2 files are DICOM without a subject: --table or --pseudonym-key" in output
    again, _ = send("--ignore-others")
    assert "0 stored, 0 known already, 0 refused, 8 passed over" in again
    assert "4 settled before" in again


def test_what_comes_with_every_medium_does_not_change_the_exit_code(
    client: Client, send, folder: Path
) -> None:
    (folder / "a.png").write_bytes(picture())
    (folder / "DICOMDIR").write_bytes(document("1.2.840.10008.1.3.10"))
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.png").write_bytes(b"\0\5\x16\7")
    (folder / ".git").mkdir()
    _, rows = send()
    assert outcomes(rows) == {
        "a.png": ("stored", ""),
        "DICOMDIR": ("passed_over", "media_directory"),
        "Thumbs.db": ("passed_over", "system_file"),
        "._a.png": ("passed_over", "hidden"),
        "__MACOSX": ("passed_over", "system_file"),
        ".git": ("passed_over", "hidden"),
    }
    assert rows["__MACOSX"]["detail"] == "a folder of 1 files"


def test_what_is_named_as_an_image_and_is_none_has_failed(
    client: Client, send, folder: Path
) -> None:
    (folder / "good").write_bytes(picture())
    (folder / "empty.png").touch()
    (folder / "zeros.dcm").write_bytes(bytes(5000))
    (folder / "page.jpg").write_text("<html>Not found</html>")
    (folder / "cut.png").write_bytes(picture()[:60])
    (folder / "gone.png").symlink_to(folder / "nowhere")
    output, rows = send(code=1)
    assert outcomes(rows) == {
        "good": ("stored", ""),
        "empty.png": ("refused", "empty"),
        "zeros.dcm": ("refused", "not_an_image"),
        "page.jpg": ("refused", "not_an_image"),
        "cut.png": ("refused", "corrupt_image"),
        "gone.png": ("unreadable", "broken_link"),
    }
    assert "refused empty.png: empty" in output


def test_loops_of_links_pipes_and_odd_names_end_and_are_named(
    client: Client, send, folder: Path
) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "a").write_bytes(picture())
    (folder / "inner" / "up").symlink_to(folder)
    (folder / "inner" / "self").symlink_to("self")
    (folder / "other").symlink_to(folder / "inner" / "a")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "s"))
    (folder / os.fsdecode(b"\xff\n[red]=1+1")).write_bytes(picture())
    _, rows = send(code=1)
    assert outcomes(rows) == {
        "inner/a": ("stored", ""),
        "inner/up": ("passed_over", "link_loop"),
        "inner/self": ("unreadable", "broken_link"),
        "other": ("known", "duplicate"),
        "pipe": ("passed_over", "special_file"),
        "s": ("passed_over", "special_file"),
        "\\udcff\\u000a[red]=1+1": ("stored", ""),
    }
    assert rows["other"]["detail"] == "the same bytes as inner/a"


def test_a_folder_of_other_files_or_a_table_of_missing_ones_is_told_and_fails(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    (folder / "note.txt").write_text("note")
    output, rows = send("--ignore-others", code=1)
    assert "expected a folder that holds images" in output
    assert outcomes(rows) == {"note.txt": ("passed_over", "not_an_image")}
    table = tmp_path / "table.csv"
    table.write_text("path\na.png\n")
    _, rows = send("--table", table, code=1)
    assert outcomes(rows)["a.png"] == ("missing", "no_file")


def test_long_lists_are_cut_on_the_terminal_and_whole_in_the_report(
    client: Client, send, folder: Path
) -> None:
    (folder / "a.png").write_bytes(picture())
    for number in range(30):
        (folder / f"{number}.txt").write_text("note")
    output, rows = send(code=3)
    assert output.count("passed over ") == 20 + 1
    assert "and 10 more passed over; the report names all" in " ".join(output.split())
    assert len(rows) == 31


def test_images_of_a_folder_are_found_by_content_for_every_command(folder: Path) -> None:
    (folder / "IM1").write_bytes(scan())
    (folder / "a.mov").write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    (folder / "b.mpg").write_bytes(b"\0\0\1\xba" + bytes(40))
    (folder / "DICOMDIR").write_bytes(document("1.2.840.10008.1.3.10"))
    (folder / "notes.txt").write_text("note")
    (folder / "bad.png").write_bytes(b"no image")
    names = [file.name for file in image_files(folder)]
    assert names == ["IM1", "a.mov", "b.mpg", "bad.png"]
    assert [found.path.name for found in walk(folder)] == sorted([*names, "DICOMDIR", "notes.txt"])


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        ("ä".encode(), "text"),
        ("x,y\r\n".encode("utf-16"), "text"),
        (b"ab\xc3", "bytes of no known format"),
        (b"a" * 65_535 + b"\xc3", "text"),
        (b"\x7fELF\2\1\1\0", "bytes of no known format"),
    ],
)
def test_text_is_told_from_other_bytes(head: bytes, detail: str) -> None:
    reason = judge(Path("x"), head)
    assert reason is not None
    assert reason.detail == detail


def test_a_table_says_whose_a_file_is_and_what_it_does_not_name_is_not_sent(
    client: Client, send, folder: Path
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(picture())
    (folder / ".d.png").write_bytes(picture())
    (folder / "note.pdf").write_bytes(b"%PDF-1.7 \x80")
    (folder / "note.txt").write_text("note")
    table = folder / "table.csv"
    table.write_text(
        "path;subject_id;study_id;label;attribute:age\n"
        "a.png;p1;s1;mass;40\nb.png;p2;;cyst;3,5\nnone.png;p3;;;\n.d.png;p4;;;\nnote.pdf;p5;;;\n"
    )
    _, rows = send("--table", table, "--label-task", "finding", code=1)
    assert outcomes(rows) == {
        "a.png": ("stored", ""),
        "b.png": ("stored", ""),
        "c.png": ("passed_over", "no_row"),
        ".d.png": ("stored", ""),
        "note.pdf": ("refused", "not_an_image"),
        "note.txt": ("passed_over", "not_an_image"),
        "table.csv": ("passed_over", "table"),
        "none.png": ("missing", "no_file"),
    }
    assert rows["none.png"]["detail"] == "line 4 of the table"
    stored = {scan["subject_id"]: scan for scan in client.scans("c")}
    assert set(stored) == {"p1", "p2", "p4"}
    assert (stored["p1"]["study_id"], stored["p1"]["labels"]) == ("s1", {"finding": "mass"})
    assert [stored[p]["attributes"] for p in ("p1", "p2")] == [{"age": 40}, {"age": "3,5"}]


def test_a_row_that_changed_is_sent_again_and_what_was_kept_is_told(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.png").write_bytes(picture())
    table = tmp_path / "table.csv"
    table.write_text("path,subject_id,label:t\na.png,p1,x\n")
    send("--table", table)
    output, _ = send("--table", table)
    assert "1 settled before" in output
    table.write_text("path,subject_id,label:t\na.png,p1,y\n")
    output, rows = send("--table", table, code=3)
    assert outcomes(rows) == {"a.png": ("known", "kept_as_stored")}
    assert rows["a.png"]["detail"] == "the stored scan keeps its own labels.t"
    assert "1 files are stored with other ids, labels or attributes" in " ".join(output.split())


def test_sub_folders_label_what_a_table_does_not(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    (folder / "cyst").mkdir()
    (folder / "cyst" / "a.png").write_bytes(picture())
    table = tmp_path / "table.csv"
    table.write_text("path,subject_id\ncyst/a.png,p1\n")
    send("--table", table, "--label-task", "finding")
    (found,) = client.scans("c")
    assert (found["subject_id"], found["labels"]) == ("p1", {"finding": "cyst"})


@pytest.mark.parametrize("column", ["label", "label:finding"])
def test_sub_folders_label_nothing_where_the_table_has_a_column_for_it(
    client: Client, send, folder: Path, tmp_path: Path, column: str
) -> None:
    (folder / "2024").mkdir()
    (folder / "2024" / "a.png").write_bytes(picture())
    table = tmp_path / "table.csv"
    table.write_text(f"path,{column}\n2024/a.png,\n")
    send("--table", table, "--label-task", "finding")
    (found,) = client.scans("c")
    assert found["labels"] == {}


def test_a_label_is_as_it_was_sent_although_the_service_stores_another_form_of_it(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    sub_folder = folder / unicodedata.normalize("NFD", "Bläschen\xa0links")
    sub_folder.mkdir()
    (sub_folder / "a.png").write_bytes(picture())
    send("--label-task", "finding")
    (tmp_path / "report.csv").unlink()
    output, rows = send("--label-task", "finding")
    assert "0 stored, 1 known already" in output
    assert [row["code"] for row in rows.values()] == [""]
    (found,) = client.scans("c")
    assert found["labels"] == {"finding": "Bläschen links"}


def test_a_report_of_one_collection_settles_nothing_of_another(
    client: Client, send, folder: Path, tiny: LocalService
) -> None:
    (folder / "a.png").write_bytes(picture())
    send()
    output, _ = send("--collection", "other")
    assert "1 stored" in output
    assert "other is a new collection" in output
    assert "1 settled before" in send()[0]
    client.delete_collection("other")
    output, _ = send("--collection", "other")
    assert "1 stored" in output
    client.delete_collection("other")


def test_files_of_one_patient_have_one_subject_and_nothing_of_the_patient_leaves_the_reader(
    tiny: LocalService,
    tiny_data: Path,
    client: Client,
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    ids = {"PatientID": "4711-SECRET ", "StudyInstanceUID": "1.2.826.99.4711"}
    (folder / "IM1").write_bytes(scan(**ids))
    (folder / "IM2").write_bytes(scan(**{**ids, "PatientID": "4711-SECRET"}))
    (folder / "IM3").write_bytes(scan(**{**ids, "PatientID": "4712-SECRET"}))
    (folder / "IM4").write_bytes(scan(PatientID="0000", PatientName="Doe^SECRET"))
    key, report = tmp_path / "key", tmp_path / "report.jsonl"
    write_key(key)
    sent: list[bytes] = []

    class Listening(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            head = f"{request.url} {request.headers}".encode()
            sent.append(head + b"".join(part for part in request.stream))  # type: ignore[union-attr]
            return super().handle_request(request)

    client.create_collection("c")
    files = image_files(folder)
    headers = [file.read_bytes() for file in files]
    with TypedClient(tiny.url, key=tiny.key, transport=Listening(), retries=0) as session:
        reader = FileReader(read_pseudonyms(key), any_content=False)
        done = ingest(session, "c", files, folder=folder, reader=reader, report=Report(report))
    assert (done.sent, dict(done.remarks)) == (4, {"no_patient_id": 1})
    scans = {scan["scan_id"]: scan for scan in client.scans("c")}
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    subjects = [scans[row["scan_id"]]["subject_id"] for row in rows]
    studies = {scans[row["scan_id"]]["study_id"] for row in rows[:3]}
    assert subjects[0] == subjects[1] != subjects[2]
    assert (subjects[3], len(studies)) == (None, 1)
    # The files themselves are sent whole, and the service reads no such tag; all else is clean.
    requests = b"".join(sent)
    for header in headers:
        requests = requests.replace(header, b"")
    kept = b"".join(file.read_bytes() for file in tiny_data.rglob("*") if file.is_file())
    secrets = (b"4711-", b"4712-", b"SECRET", b"1.2.826.99", key.read_bytes().strip()[-30:])
    for text in (requests, kept, report.read_bytes(), caplog.text.encode(), repr(done).encode()):
        assert text
        assert not [secret for secret in secrets if secret in text]


def test_the_table_takes_precedence_over_the_header_and_contradictions_are_told(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    for name, patient in (("a", "1x1"), ("b", "2x2"), ("c", "3x3"), ("d", "3x3")):
        (folder / name).write_bytes(scan(PatientID=patient, StudyInstanceUID="1.2.3"))
    key, table = tmp_path / "key", tmp_path / "table.csv"
    write_key(key)
    table.write_text("path,subject_id\na,ann\nb,ann\nc,\nd,dan\n")
    output, rows = send("--table", table, "--pseudonym-key", key, code=3)
    assert [rows[name]["code"] for name in "abcd"] == ["", "subject_conflict", "", ""]
    assert "1 files have a subject in the table that contradicts" in " ".join(output.split())
    under: Pseudonyms = read_pseudonyms(key)
    scans = {scan["scan_id"]: scan for scan in client.scans("c")}
    subjects = [scans[rows[name]["scan_id"]]["subject_id"] for name in "abcd"]
    assert subjects == ["ann", "ann", under.subject("3x3"), "dan"]
    assert {scan["study_id"] for scan in scans.values()} == {under.study("1.2.3")}


def test_an_id_with_and_without_its_issuer_is_told(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    (folder / "a").write_bytes(scan(PatientID="77"))
    (folder / "b").write_bytes(scan(PatientID="77", IssuerOfPatientID="North"))
    key = tmp_path / "key"
    write_key(key)
    _, rows = send("--pseudonym-key", key, code=3)
    assert [rows[name]["code"] for name in "ab"] == ["", "several_issuers"]


def test_a_report_of_the_first_release_is_continued(
    client: Client, send, folder: Path, tmp_path: Path
) -> None:
    file = folder / "a.png"
    file.write_bytes(picture())
    _, rows = send()
    columns = ["path", "outcome", "code", "detail", "sha256", "scan_id", "bytes", "modified_ns"]
    line = [{**rows["a.png"], "path": str(file)}[name] for name in columns]
    (tmp_path / "report.csv").write_text(",".join(columns) + "\n" + ",".join(line) + "\n")
    (folder / "b.png").write_bytes(picture())
    output, rows = send()
    assert "1 stored, 0 known already, 0 refused, 1 settled before" in output
    assert list(rows["b.png"]) == columns
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="report of an earlier ingest"):
        Report(other).__enter__()
