"""A folder of intermediate results knows what it was made of, also after a kill."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputError
from training.catalogue.contents import (
    claim_folder,
    content_of,
    content_of_frames,
    write_whole,
)
from training.catalogue.manifest import ManifestRow

FACTS = {"side_px": 64, "content": "a"}


def test_a_folder_is_claimed_once_and_by_the_same_facts_again(tmp_path: Path) -> None:
    note = tmp_path / "run" / "note.json"
    claim_folder(note, "refit", FACTS)
    claim_folder(note, "refit", dict(reversed(FACTS.items())))
    for other in ({**FACTS, "content": "b"}, {"side_px": 64}, {**FACTS, "dense": True}):
        with pytest.raises(InputError, match=r"another refit, with other (content|dense)"):
            claim_folder(note, "refit", other)
    assert [path.name for path in note.parent.iterdir()] == ["note.json"]


def test_frames_in_another_order_or_shape_are_other_frames() -> None:
    one, two = np.zeros((4, 6), np.uint8), np.ones((4, 6), np.uint8)
    assert content_of_frames([one, two]) == content_of_frames([one.copy(), two])
    others = [[two, one], [one], [one.reshape(6, 4), two], [one, two, two]]
    assert len({content_of_frames(frames) for frames in [[one, two], *others]}) == 5


def test_files_of_the_same_names_with_other_bytes_are_other_frames(
    row: Callable[..., ManifestRow],
) -> None:
    rows = [row(1, "a"), row(2, "b")]
    before = content_of(rows)
    rows[1].path.write_bytes(rows[0].path.read_bytes())
    assert content_of(rows) != before
    rows[1].path.unlink()
    with pytest.raises(InputError, match=rows[1].path.name):
        content_of(rows)


def test_a_text_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_whole(path, "before")
    (tmp_path / "text.partial").write_text("what a killed run left")
    write_whole(path, "after")
    assert path.read_text() == "after"
    assert not (tmp_path / "text.partial").exists()
