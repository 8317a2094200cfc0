"""A damaged file of weights is told in one line, whatever its bytes mean to pickle and zip."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.distil.checkpoint import read_student
from training.networks.lite_trunk import load_lite_trunk
from training.networks.saved_files import read_saved, read_weights
from training.networks.student import load_imagenet_trunk

Read = Callable[[Path], Any]
SPEC = PreprocessSpec(64, (0.5,) * 3, (0.5,) * 3)
READERS: dict[str, Read] = {
    "checkpoint": read_student,
    "second network": lambda path: load_lite_trunk(path, SPEC),
    "trunk": lambda path: load_imagenet_trunk(path, 3),
    "weights": read_weights,
}


@pytest.mark.parametrize("content", [b"", b"hello world this is text", bytes(1000), b"PK\x03\x04"])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_of_other_bytes_is_refused_by_name(
    read: Read, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.bin"):
        read(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("read", [read_student, READERS["second network"]])
def test_a_file_that_was_cut_is_refused_by_name(read: Read, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"trunk": {"a": torch.ones(1000)}}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"weights\.pt"):
        read(path)


@pytest.mark.parametrize("saved", [torch.ones(3), [1, 2], {"trunk": Path("code")}])
def test_what_is_no_dictionary_of_plain_values_is_refused(saved: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"weights\.pt"):
        read_saved(path)


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    torch.save({"trunk": {"a": torch.arange(3)}, "config": json.dumps({"seed": 1})}, tmp_path / "x")
    saved = read_saved(tmp_path / "x")
    assert saved["trunk"]["a"].tolist() == [0, 1, 2]
    assert json.loads(saved["config"]) == {"seed": 1}
