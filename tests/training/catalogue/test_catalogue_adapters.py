"""Each published layout, and private folders and tables, become the right manifest rows."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from speckle_frames import png

from service.errors import InputError
from service.imaging.formats.decode import decode
from training.catalogue.adapters import FoundFile, find_frames
from training.catalogue.builder import ManifestBuild, SetFacts, join_near_duplicates, make_rows
from training.catalogue.entries import packaged_catalogue
from training.catalogue.manifest import read_manifest, write_manifest

Tree = Callable[[dict[str, bytes | int | str]], Path]


def rows_of(root: Path, name: str, **layout: Any) -> ManifestBuild:
    """Rows of a folder by the catalogue's layout of the set, or by the one given."""
    chosen = layout or packaged_catalogue()[name].layout
    return make_rows(find_frames(root, chosen), root, SetFacts(name, "CC BY 4.0"))


def columns(build: ManifestBuild) -> list[tuple[str, str, str, str]]:
    return [(row.source, row.label, row.group, row.split) for row in build.rows]


def test_busi_leaves_out_the_masks(tree: Tree) -> None:
    root = tree(
        {
            "Dataset_BUSI_with_GT/benign/benign (1).png": 1,
            "Dataset_BUSI_with_GT/benign/benign (1)_mask.png": 2,
            "Dataset_BUSI_with_GT/benign/benign (1)_mask_1.png": 3,
            "Dataset_BUSI_with_GT/normal/normal (1).png": 4,
            "data/malignant/images/malignant (1).png": 5,
            "data/malignant/masks/malignant (1).png": 6,
        }
    )
    assert [(Path(row.source).name, row.label) for row in rows_of(root, "busi").rows] == [
        ("benign (1).png", "benign"),
        ("normal (1).png", "normal"),
        ("malignant (1).png", "malignant"),
    ]


def test_busi_duplicates_share_a_group_and_conflicting_labels_are_marked(tree: Tree) -> None:
    root = tree(
        {
            "benign/benign (1).png": 1,
            "malignant/malignant (1).png": 1,
            "benign/benign (2).png": 2,
            "benign/benign (3).png": 2,
            "normal/normal (1).png": 3,
        }
    )
    build = rows_of(root, "busi")
    rows, _ = join_near_duplicates(build.rows, build.hashes_NK)
    marked = {row.path.name: row.label_conflict for row in rows}
    groups = {row.path.name: row.group for row in rows}
    assert [name for name, mark in marked.items() if mark] == [
        "benign (1).png",
        "malignant (1).png",
    ]
    assert groups["benign (1).png"] == groups["malignant (1).png"]
    assert groups["benign (2).png"] == groups["benign (3).png"]
    assert len(set(groups.values())) == 3


def test_bus_bra_is_grouped_by_patient_not_by_image(tree: Tree) -> None:
    table = (
        "ID,Case,Histology,Pathology,BIRADS\n"
        "bus_0001-l,1,Fibroadenoma,benign,3\n"
        "bus_0001-r,1,Fibroadenoma,benign,3\n"
        "bus_0002-s,2,Carcinoma,malignant,5\n"
        "bus_0003-s,3,Cyst,benign,2\n"
    )
    root = tree(
        {
            "BUSBRA/bus_data.csv": table,
            "BUSBRA/Images/bus_0001-l.png": 1,
            "BUSBRA/Images/bus_0001-r.png": 2,
            "BUSBRA/Images/bus_0002-s.png": 3,
            "BUSBRA/Masks/mask_0001-l.png": 4,
        }
    )
    build = rows_of(root, "bus-bra")
    assert columns(build) == [
        ("BUSBRA/Images/bus_0001-l.png", "benign", "bus-bra/1", ""),
        ("BUSBRA/Images/bus_0001-r.png", "benign", "bus-bra/1", ""),
        ("BUSBRA/Images/bus_0002-s.png", "malignant", "bus-bra/2", ""),
    ]
    assert [s.reason for s in build.skipped] == ["named by the table, but not in the folder"]


def test_hc18_numbers_start_anew_in_the_test_set(tree: Tree) -> None:
    names = ("training_set/000_HC", "training_set/000_2HC", "test_set/000_HC")
    files: dict[str, bytes | int | str] = {f"{n}.png": i for i, n in enumerate(names)}
    root = tree(files | {"training_set/000_HC_Annotation.png": 9, "training_set/sizes.csv": "a,b"})
    assert columns(rows_of(root, "hc18")) == [
        ("test_set/000_HC.png", "", "hc18/test_set/000", "test_set"),
        ("training_set/000_2HC.png", "", "hc18/training_set/000", "training_set"),
        ("training_set/000_HC.png", "", "hc18/training_set/000", "training_set"),
    ]


def test_pocus_frames_are_grouped_by_their_video(tree: Tree) -> None:
    root = tree(
        {
            "image_dataset/covid/Cov_a.v2_x.mp4_frame0.jpg": 1,
            "image_dataset/covid/Cov_a.v2_x.mp4_frame12.jpg": 2,
            "image_dataset/regular/Reg_still.png": 3,
            "pocus_images/convex/Pneu-one.jpg": 4,
            "pocus_videos/convex/Cov-two.mp4": b"\0\0\0\x18ftypmp42" + bytes(64),
        }
    )
    build = rows_of(root, "pocus")
    assert [(row.label, row.group) for row in build.rows] == [
        ("covid", "pocus/Cov_a.v2_x"),
        ("covid", "pocus/Cov_a.v2_x"),
        ("regular", "pocus/Reg_still"),
        ("pneumonia", "pocus/Pneu-one"),
    ]
    (video,) = build.skipped
    assert "video" in video.reason


def test_fetal_planes_keep_their_published_split(tree: Tree) -> None:
    table = (
        "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train \n"
        "Patient00001_Plane1_1_of_2;1;Fetal brain;Other;Op. 1;Voluson;1\n"
        "Patient00002_Plane1_1_of_1;2;Other;Not A Brain;Op. 1;Aloka;0\n"
    )
    root = tree(
        {
            "FETAL_PLANES_DB_data.csv": table,
            "Images/Patient00001_Plane1_1_of_2.png": 1,
            "Images/Patient00002_Plane1_1_of_1.png": 2,
        }
    )
    assert [row[1:] for row in columns(rows_of(root, "fetal-planes-db"))] == [
        ("Fetal brain", "fetal-planes-db/1", "1"),
        ("Other", "fetal-planes-db/2", "0"),
    ]


def test_aul_takes_images_and_no_outlines(tree: Tree) -> None:
    root = tree({"Benign/image/1.jpg": 1, "Benign/mask/1.jpg": 2, "Normal/image/1.jpg": 3})
    assert [row[:2] for row in columns(rows_of(root, "aul"))] == [
        ("Benign/image/1.jpg", "Benign"),
        ("Normal/image/1.jpg", "Normal"),
    ]


def test_the_nearest_class_folder_is_the_class(tree: Tree) -> None:
    root = tree({"normal/benign/a.png": 1})
    layout = {"adapter": "class_folders", "classes": ["benign", "normal"]}
    assert [found.label for found in find_frames(root, layout)] == ["benign"]


def test_private_folders_are_classes_and_patients_by_pattern(tree: Tree) -> None:
    root = tree({"cyst/p1_a.png": 1, "cyst/p1_b.png": 2, "stone/p2_a.png": 3, "stone/x.png": 4})
    build = rows_of(root, "own", adapter="class_folders", group=r"/(p\d+)_")
    assert [row[1:3] for row in columns(build)] == [
        ("cyst", "own/p1"),
        ("cyst", "own/p1"),
        ("stone", "own/p2"),
    ]
    assert [s.reason for s in build.skipped] == ["its path does not match the group pattern"]


def test_folders_can_name_the_patient(tree: Tree) -> None:
    root = tree({"p1/day1/a.png": 1, "p1/day2/b.png": 2, "p2/a.png": 3, "loose.png": 4})
    build = rows_of(root, "own", adapter="image_folder", group_depth=1)
    assert [row[2] for row in columns(build)] == ["own/p1", "own/p1", "own/p2"]
    assert [s.reason for s in build.skipped] == ["lies less than 1 folders in"]


def test_dicom_files_are_found_by_content_and_grouped_by_folder(tree: Tree) -> None:
    dicom = bytes(128) + b"DICM" + bytes(64)
    root = tree({"p1/IM0001": dicom, "p2/a.dcm": dicom, "p2/notes.txt": "no picture"})
    found = list(find_frames(root, {"adapter": "dicom_folder"}))
    assert [(f.path.name, f.group) for f in found] == [("IM0001", "p1"), ("a.dcm", "p2")]


def test_dicom_that_the_service_does_not_decode_is_listed_with_its_reason(tree: Tree) -> None:
    dicom = bytes(128) + b"DICM" + bytes(64)
    root = tree({"p1/broken.dcm": dicom, "p1/still.dcm": 1})
    with pytest.raises(InputError) as refusal:
        decode(dicom, max_pixels=10_000)
    build = rows_of(root, "own", adapter="dicom_folder")
    assert [row.path.name for row in build.rows] == ["still.dcm"]
    assert [(s.path.name, s.reason) for s in build.skipped] == [("broken.dcm", str(refusal.value))]


def test_rows_carry_digest_organ_and_licence_through_a_manifest(tree: Tree, tmp_path: Path) -> None:
    root = tree({"a.png": 1})
    found = find_frames(root, {"adapter": "image_folder"})
    facts = SetFacts("own", "own data", use="bench", organ="liver")
    build = make_rows(found, root, facts)
    write_manifest(build.rows, tmp_path / "manifest.csv")
    (row,) = read_manifest(tmp_path / "manifest.csv")
    assert row.path.resolve() == (root / "a.png").resolve()
    assert (row.organ, row.licence, row.use) == ("liver", "own data", "bench")
    assert row.sha256 == hashlib.sha256(png(1)).hexdigest()


def test_hidden_files_and_links_are_no_frames(tree: Tree) -> None:
    root = tree({"a.png": 1, "__MACOSX/._a.png": 2, ".cache/b.png": 3})
    (root / "link.png").symlink_to(root / "a.png")
    assert [f.path.name for f in find_frames(root, {"adapter": "image_folder"})] == ["a.png"]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"adapter": "guess"}, "expected an adapter of"),
        ({"adapter": "image_folder", "colour": 1}, "expected parameters"),
        ({"adapter": "csv_table", "table": "t.csv"}, "expected parameters"),
        ({"adapter": "image_folder", "group": "("}, "no regular expression"),
        ({"adapter": "image_folder", "group": "a", "group_depth": 1}, "got both"),
        ({"adapter": "csv_table", "table": "*.csv", "path": "{File}"}, r"columns \['File'\]"),
        ({"adapter": "csv_table", "table": "none.csv", "path": "{ID}"}, "expected one table"),
        ({"adapter": "csv_table", "table": "t.csv", "path": "../../{ID}"}, "leaves the folder"),
        ({"adapter": "csv_table", "table": "t.csv", "path": "{ID"}, "expected"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(
    tree: Tree, layout: dict[str, Any], message: str
) -> None:
    root = tree({"t.csv": "ID,Case\n1,2\n", "a.png": 1})
    with pytest.raises(InputError, match=message):
        list(find_frames(root, layout))


def test_a_folder_without_a_frame_is_an_error_that_says_why(tree: Tree) -> None:
    root = tree({"a.png": b"no picture"})
    with pytest.raises(InputError, match=r"1 files were skipped, the first because: expected PNG"):
        rows_of(root, "own", adapter="image_folder")


@pytest.mark.parametrize(
    "facts", [SetFacts("own", ""), SetFacts("a/b", "MIT"), SetFacts("own", "MIT", use="test")]
)
def test_rows_need_a_licence_a_plain_name_and_a_known_use(tmp_path: Path, facts: SetFacts) -> None:
    with pytest.raises(InputError, match=r"expected|needed"):
        make_rows([FoundFile(tmp_path / "a.png")], tmp_path, facts)
