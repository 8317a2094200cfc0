"""CSV files as people's programs write them: their encoding, separator, header and cells.

Excel, LibreOffice and R write the same table in UTF-8 with or without a byte order mark, in
UTF-16 with tabs, with semicolons where the comma is the decimal sign, and with backslashes in
paths. All of that is read. An 8-bit code page is not: which one it is can only be guessed, and a
wrong guess changes labels without a word.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import InputError

MAX_TABLE_BYTES = 200_000_000
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (  # the longer first: that of UTF-32 begins with that of UTF-16
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# Besides white space: byte order marks that joined files leave, and characters without a width.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
_ALIASES = {"subject": "subject_id", "study": "study_id"}
_SAMPLE_BYTES = 400
_IDS = frozenset({"scan_id", "subject_id", "study_id", "patient"})
# As R, pandas, databases and spreadsheets write a missing value, and spreadsheets an error. One
# word in all such cells would be one patient, or a class of its own.
_NO_VALUE = re.compile(r"n/?a|<na>|nan|null|#(n/?a|nv|[^\W\d_]+(/0)?[!?]|#+)", re.IGNORECASE)
_SHORTENED = re.compile(r"-?[0-9]([.,][0-9]+)?E[+-][0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row.

    Attributes:
        cells: column -> text, trimmed and NFC, without empty cells.
        columns: all columns of the table that have a name.
    """

    line: int
    cells: Mapping[str, str]
    columns: frozenset[str]


def read_table(
    path: Path, *, is_known: Callable[[str], bool], required: Sequence[str], expected: str
) -> list[TableRow]:
    """Read the rows that have any cell.

    Args:
        is_known: whether a column may stand in the table; names are in lower case with underscores,
            except for what follows a colon (``label:Finding``).
        required: columns without which there is no table.
        expected: how a message names the columns.

    Raises:
        InputError: the file is too large or of another encoding, its quotes do not close, columns
            are missing, unknown or named twice, a row has more fields than columns, or a cell holds
            what a program wrote in place of a value.
    """
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise InputError(f"expected a CSV of at most {MAX_TABLE_BYTES} bytes")
    lines = _fields(_decoded(path.read_bytes()))
    try:
        _, header = next(lines, (0, []))
        columns = [_column(name) for name in header]
        rows = [(line, [_trimmed(cell) for cell in cells]) for line, cells in lines]
    except csv.Error as error:
        raise InputError(f"the CSV cannot be read: {error}") from error
    named = [column for column in columns if column]
    unknown = [column for column in named if not is_known(column)]
    if unknown or not set(required) <= set(named):
        found = ", ".join(unknown) if unknown else "none of that name"
        raise InputError(f"expected columns {expected}, got {found}")
    if len(set(named)) < len(named):
        raise InputError("expected each column once, got one twice")
    names = frozenset(named)
    return [
        TableRow(line, _named(line, columns, cells), names) for line, cells in rows if any(cells)
    ]


def _named(line: int, columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Excel leaves out empty cells at the end, and adds columns without a name."""
    if any(cells[len(columns) :]):
        raise InputError(f"line {line}: expected no more fields than columns")
    named = dict(zip(columns, cells, strict=False))
    if named.pop("", ""):
        raise InputError(f"line {line}: expected no value in a column without a name")
    filled = {column: cell for column, cell in named.items() if cell}
    for column, cell in filled.items():
        _refuse_stand_in(line, column, cell)
    return filled


def _refuse_stand_in(line: int, column: str, cell: str) -> None:
    """Raises InputError: as a label or an id, the cell would name what nobody meant."""
    if column in ("path", "file") or column.startswith("attribute:"):
        return
    if _NO_VALUE.fullmatch(cell):
        raise InputError(
            f"line {line}, column {column}: expected a value or an empty cell, got what programs "
            "write where none is (NA, NULL, NaN, #N/A)"
        )
    if column in _IDS and _SHORTENED.fullmatch(cell):
        raise InputError(
            f"line {line}, column {column}: expected an id, got a number that a spreadsheet "
            "shortened (1.23E+11), as it does with other ids too; format the column as text"
        )


def _decoded(data: bytes) -> str:
    """The text, without a byte order mark at its start. Raises InputError."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    encoding = marked or _unmarked_utf16(data) or "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if marked and marked != "utf-8-sig":
            raise InputError("the CSV is damaged: its mark says another encoding") from error
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"line {line}: expected a CSV in UTF-8 or UTF-16, got a code page such as cp1252; in "
            "Excel, save it as 'CSV UTF-8'"
        ) from error
    if "\ufffd" in text or "\0" in text:
        raise InputError("the CSV holds characters that a program could not read before")
    return text if "\n" in text else text.replace("\r", "\n")


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of its header is zero."""
    sample = data[:_SAMPLE_BYTES]
    half = len(sample) // 2
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if half and sample[first::2].count(0) > 0.8 * half:
            return encoding
    return None


def _fields(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of the header and of each row. Excel's first line ``sep=;`` is obeyed."""
    stream = io.StringIO(text, newline="")
    named = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    skipped = 1 if named else 0
    if named:
        stream.readline()
        separator = named[1]
    else:
        header = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
    for cells in reader:
        if cells:
            yield reader.line_num + skipped, cells


def _column(name: str) -> str:
    kind, colon, rest = _trimmed(name).partition(":")
    kind = re.sub(r"[\s\-_]+", "_", kind.strip().casefold())
    return _ALIASES.get(kind, kind) if not colon else f"{kind}:{rest.strip()}"


def _trimmed(cell: str) -> str:
    before, text = "", cell
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return unicodedata.normalize("NFC", text)


def located(text: str, folders: Sequence[Path]) -> Path | None:
    """The file that a cell names, relative to the first folder that has it; None without one.

    Backslashes separate folders as slashes do, and a name may be composed (NFC) in the table and
    decomposed (NFD) on the disk.
    """
    for folder in folders:
        for name in dict.fromkeys((text, text.replace("\\", "/"))):
            found = _existing(folder, Path(name))
            if found is not None:
                return found
    return None


def _existing(folder: Path, relative: Path) -> Path | None:
    """The path with each step as it is spelled on the disk; None if it is no file."""
    found = Path(relative.anchor) if relative.is_absolute() else folder
    for step in relative.parts[1 if relative.is_absolute() else 0 :]:
        try:
            found = found / step if (found / step).exists() else _respelled(found, step)
        except (OSError, ValueError):  # a name too long for the disk, a loop, or with a NUL
            return None
    return found if found.is_file() else None


def _respelled(folder: Path, name: str) -> Path:
    wanted = unicodedata.normalize("NFC", name)
    matches = [p for p in folder.iterdir() if unicodedata.normalize("NFC", p.name) == wanted]
    if len(matches) != 1:
        raise FileNotFoundError
    return matches[0]
