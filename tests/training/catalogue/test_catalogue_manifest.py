"""A manifest is read as people and spreadsheets write it, or its wrong line is named."""

from pathlib import Path

import pytest

from service.errors import InputError
from training.catalogue.manifest import read_manifest

HEAD = "path,use,dataset,label,group,split,licence,label_conflict"
GOOD = "a.png,corpus,mine,cyst,p1,,CC0,0"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        f"{HEAD}\n{GOOD}\n",
        f"\ufeff{HEAD}\r\n{GOOD}\r\n",
        f"{HEAD},age\n{GOOD},61\n",
        f"{HEAD}\n{GOOD},beyond,the,columns",
    ],
    ids=["plain", "of a spreadsheet", "unknown column", "longer row"],
)
def test_a_mark_before_the_first_column_and_further_columns_do_not_matter(
    content: str, tmp_path: Path
) -> None:
    (row,) = read_manifest(written(tmp_path, content))
    assert (row.path, row.label, row.group) == (tmp_path / "a.png", "cyst", "mine/p1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEAD}\n{GOOD}\nb.png,corpus\n", "line 3 of the manifest lacks"),
        (f'{HEAD}\n"{GOOD}\n', "of the manifest lacks"),
        (f"{HEAD}\n,corpus,mine,,,,CC0,0\n", r"line 2 of the manifest lacks \['path'\]"),
        (f"{HEAD}\n{GOOD[:-1]}True\n", "line 2 of the manifest: expected a label_conflict"),
        (f"{HEAD}\n{GOOD}\n".replace("cyst", "z\xe4h").encode("latin1"), "cannot be read: 'utf-8'"),
        (HEAD.replace(",", ";"), "lacks the columns"),
        ("", "lacks the columns"),
    ],
    ids=["cut row", "open quote", "no path", "other truth", "not UTF-8", "semicolons", "empty"],
)
def test_what_is_no_manifest_is_refused_with_the_place(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, content))
