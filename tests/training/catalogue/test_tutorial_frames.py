"""The frames of the tutorial: some patients to learn from, others to ask about."""

from pathlib import Path

import pytest
from speckle_frames import png

from service.errors import InputError
from training.catalogue.adapters import find_frames
from training.catalogue.entries import packaged_catalogue
from training.catalogue.tutorial_frames import write_frames

CASES = 14


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Files in the layout of BUS-BRA, two frames of each case."""
    folder = tmp_path / "unpacked"
    (folder / "Images").mkdir(parents=True)
    rows = ["ID,Case,Pathology"]
    for case in range(CASES):
        for side in "ls":
            name = f"bus_{case:04d}-{side}"
            (folder / f"Images/{name}.png").write_bytes(png(seed=2 * case + (side == "s")))
            rows.append(f"{name},{case},{'benign' if case % 2 else 'malignant'}")
    (folder / "bus_data.csv").write_text("\n".join(rows))
    return folder


def test_one_frame_of_each_patient_is_to_learn_from_or_to_ask_about(
    unpacked: Path, tmp_path: Path
) -> None:
    files = find_frames(unpacked, packaged_catalogue()["bus-bra"].layout)
    counts = write_frames(files, tmp_path / "frames", per_class=3)
    assert counts == {"benign": 7, "malignant": 7}
    written = {
        use: [
            f.relative_to(tmp_path / "frames" / use)
            for f in (tmp_path / "frames" / use).rglob("*.png")
        ]
        for use in ("labelled", "new")
    }
    assert {len(file.parts) for files in written.values() for file in files} == {3}
    patients = [file.parts[1] for files in written.values() for file in files]
    assert len(patients) == len(set(patients)) == CASES
    assert [len(files) for files in written.values()] == [6, 8]
    assert (tmp_path / "frames/other/lung.png").is_file()


def test_a_set_with_too_few_patients_is_refused_with_both_numbers(
    unpacked: Path, tmp_path: Path
) -> None:
    files = find_frames(unpacked, packaged_catalogue()["bus-bra"].layout)
    with pytest.raises(InputError, match=r"expected 9 patients in each class, got .*'benign': 7"):
        write_frames(files, tmp_path / "frames", per_class=5)


def test_frames_that_are_there_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / "labelled").mkdir()
    with pytest.raises(InputError, match="holds frames already"):
        write_frames([], tmp_path, per_class=2)
