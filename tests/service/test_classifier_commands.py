"""Classifiers by the command line: from labelled files to a published version."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.classifier_commands import app
from service.cli.demo import SAMPLES
from service.cli.labelled_files import labelled_files
from service.errors import InputError
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

runner = CliRunner()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    data_dir = tmp_path_factory.mktemp("c")
    settings = Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, max_items=20)
    with local_service(settings) as running:
        yield running


@pytest.fixture
def run(quick: LocalService):
    def act(*words: object, code: int = 0) -> str:
        address = {"SONOPROBE_URL": quick.url, "SONOPROBE_KEY": quick.key}
        result = runner.invoke(app, [str(word) for word in words], env=address)
        assert result.exit_code == code, result.output
        return result.output

    return act


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A CSV of 12 frames of two scenes, two frames per subject."""
    lines = ["path,label,subject_id"]
    for scene in ("cyst", "stone"):
        files = sorted((SAMPLES / scene).glob("*.png"))[:6]
        lines += [f"{file},{scene},{scene}-{i // 2}" for i, file in enumerate(files)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_csv_becomes_a_classifier_that_predicts_travels_and_is_published(
    run, labels: Path, tmp_path: Path
) -> None:
    assert "version 1 of 1" in run("fit", "from-csv", labels)
    assert "from-csv" in run("list")
    files = sorted((SAMPLES / "cyst").glob("*.png"))[6:8]
    maps = tmp_path / "maps"
    lines = run("predict", "from-csv", *files, "--cine", "--heatmaps", maps).splitlines()
    items = [json.loads(line) for line in lines]
    assert [item.get("file") for item in items] == [*map(str, files), None]
    assert len(items[-1]["cine"]["frames"]) == 2
    assert sorted(path.read_bytes()[1:4] for path in maps.iterdir()) == [b"PNG"] * 2
    document, network = tmp_path / "a.json", tmp_path / "a.onnx"
    run("export", "from-csv", "--out", document)
    run("export", "from-csv", "--out", network)
    assert onnxruntime.InferenceSession(network.read_bytes()).get_inputs()[0].name == "embedding"
    assert "cyst, stone" in run("import", "taken-in", document)
    assert "version 1 of 1" in run("publish", "taken-in", 1)
    assert "unknown_item" in run("publish", "taken-in", 2, code=1)


def test_more_images_than_a_request_holds_go_through_a_collection(run, quick) -> None:
    """SAMPLES has 60 images in six folders; this service takes 20 per request."""
    assert "--collection" in run("fit", "all", SAMPLES, code=1)


def test_a_fit_tells_what_became_of_the_unlabelled_scans(run, labels: Path, quick) -> None:
    with Client(quick.url, key=quick.key) as client:
        client.create_collection("archive")
        files = sorted((SAMPLES / "mass").glob("*.png"))[:3]
        said = [{"scan_id": file.stem} for file in files]
        client.add_scans("archive", [file.read_bytes() for file in files], said)
    lines = run("fit", "helped", labels, "--unlabelled", "archive")
    assert "3 unlabelled scans not used: " in lines
    assert "unlabelled" not in run("fit", "alone", labels)


def test_a_classifier_with_views_is_fitted_at_the_command_line(run, quick, labels: Path) -> None:
    run("fit", "viewed", labels, "--views")
    document = labels.with_name("viewed.json")
    run("export", "viewed", "--out", document)
    assert json.loads(document.read_text())["asked_with"] == "views"
    run("fit", "taught", labels, "--views-of-examples")
    assert json.loads(run("show", "taught", "--json"))["accuracy"] == "standard"
    run("fit", "plain", labels, "--no-views")
    run("fit", "default", labels)
    with Client(quick.url, key=quick.key) as client:
        names = ("taught", "plain", "default")
        views = [client.version(name, 1)["settings"]["views"] for name in names]
    assert views == ["examples", False, False]
    run("fit", "both", labels, "--views", "--no-views", code=2)


def test_a_folder_in_a_collection_is_fitted_and_judged_as_known(run, tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    for scene in ("cyst", "mass"):
        (folder / scene).mkdir(parents=True)
        for file in sorted((SAMPLES / scene).glob("*.png"))[:6]:
            (folder / scene / file.name).write_bytes(file.read_bytes())
    said = run("fit", "folders", folder, "--collection", "kept")
    assert "cyst, mass" in said
    refused = run("evaluate", "folders", folder, "--collection", "kept", code=1)
    assert "allow_known" in refused
    found = json.loads(run("evaluate", "folders", folder, "--allow-known").splitlines()[-1])
    assert (found["examples"], found["known_examples"]) == (12, 12)


def test_labels_of_a_fit_are_those_of_the_scans_and_a_refit_learns_later_ones(
    run, quick, labels: Path, tmp_path: Path
) -> None:
    said = run("fit", "view", labels, "--collection", "views")
    assert "labels: 12 written, 0 changed, 0 there before" in said
    with Client(quick.url, key=quick.key) as client:
        scans = list(client.scans("views"))
        assert sorted(scan["labels"]["view"] for scan in scans) == ["cyst"] * 6 + ["stone"] * 6
        assert {scan["subject_id"] for scan in scans} >= {"cyst-0", "stone-2"}
        found = client.classifier("view")
        assert (found["source"]["collection"], found["source"]["task"]) == ("views", "view")
        assert "nothing changed" in run("refit", "view")
        assert client.review("view", "next")["items"] == []
        client.patch_scan("views", scans[0]["scan_id"], {"labels": {"view": "stone"}})
        assert client.classifier("view")["source_changes"]["changed"] == 1
    assert "version 2: 0 added, 1 relabelled, 0 dropped" in run("refit", "view", "--publish")
    assert "0 written, 1 changed, 11 there before" in run(
        "fit", "again", labels, "--collection", "views", "--task", "view"
    )


def test_a_classifier_that_remembers_no_source_is_given_one(run, quick, labels: Path) -> None:
    """As those of release 0.1.0 do, from which an upgrade leads here."""
    run("fit", "with-task", labels, "--collection", "told", "--task", "scene")
    with Client(quick.url, key=quick.key) as client:
        scans = [(scan["scan_id"], scan["labels"]["scene"]) for scan in client.scans("told")]
        examples = [{"scan_id": scan_id, "label": label} for scan_id, label in scans]
        client.fit({"name": "named", "collection": "told", "examples": examples})
        client.patch_scan("told", scans[0][0], {"labels": {"scene": "stone"}})
    assert "no_label_source" in run("refit", "named", code=1)
    assert "and task" in run("refit", "named", "--collection", "told", code=1)
    told = run("refit", "named", "--collection", "told", "--task", "scene")
    assert "version 2: " in told
    assert "nothing changed" in run("refit", "named")


def test_one_picture_with_two_labels_is_refused_by_name(run, labels: Path, tmp_path: Path) -> None:
    file = next((SAMPLES / "cyst").glob("*.png"))
    copied = io.BytesIO()
    Image.open(file).save(copied, "PNG", compress_level=1)
    (tmp_path / "copy.png").write_bytes(copied.getvalue())
    two = tmp_path / "two.csv"
    two.write_text(f"path,label\n{file},cyst\ncopy.png,stone\n")
    assert "two different labels" in run("fit", "two", two, "--collection", "twice", code=1)


def test_a_file_that_fails_is_named_and_the_command_fails(run, labels: Path, tmp_path) -> None:
    run("fit", "half", labels)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = next((SAMPLES / "cyst").glob("*.png"))
    output = run("predict", "half", good, bad, code=1)
    items = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert ["problem" in item for item in items] == [False, True]


def test_what_is_no_export_is_not_imported(run, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text in ("[]", "{", "{}"):
        file.write_text(text)
        assert "error" in run("import", "bad", file, code=1)
    assert "expected a file" in run("export", "any", "--out", tmp_path / "x.zip", code=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,label\na.png,x", "columns"),
        ("path,label,age\na.png,x,3", "columns"),
        ("path,label\na.png,x", "do not exist"),
        ("path,label\na.png,", "line 2"),
        ("path,label\na.png,x,y", "line 2"),
        ("path,label\n", "none"),
        ('path,label\n"a.png', "cannot be read"),
    ],
)
def test_a_csv_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        labelled_files(path)


def test_paths_of_a_csv_are_relative_to_it_and_empty_ids_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    path = tmp_path / "labels.csv"
    path.write_text("\ufeffpath,label,subject_id,study_id\na.png, mass ,p1,\n", encoding="utf-8")
    (found,) = labelled_files(path)
    assert found.path == tmp_path / "a.png"
    assert found.example == {"label": "mass", "subject_id": "p1"}
