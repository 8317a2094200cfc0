"""A data folder of one encoder, opened with a bundle of another of the same width."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from service.embedding.bundle import MANIFEST_NAME, encoder_id_of, read_manifest
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, refused

Frames = dict[str, list[bytes]]
TASK = {"collection": "kept", "task": "t"}


@dataclass(frozen=True)
class Before:
    """What the first encoder left."""

    folder: Path
    key: str
    encoder_id: str
    vector: list[float]
    hits: list[dict[str, Any]]
    export: dict[str, Any]


@contextmanager
def served(folder: Path, bundle: Path, key: str | None = None) -> Iterator[tuple[Client, str]]:
    settings = Settings(data_dir=folder, bundle_dir=bundle, drain_s=0, audit=False)
    with local_service(settings) as local, Client(local.url, key=key or local.key) as client:
        yield client, local.key


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, frames: Frames) -> Before:
    """Labelled scans with and without kept images, and a classifier."""
    folder = tmp_path_factory.mktemp("before")
    images = frames["cyst"][:6] + frames["stone"][:6]
    said = [
        {"scan_id": f"s{n}", "subject_id": f"p{n}", "labels": {"t": "cyst" if n < 6 else "stone"}}
        for n in range(12)
    ]
    with served(folder, BUNDLE) as (client, key):
        for name, keeps in (("kept", True), ("bare", False)):
            client.create_collection(name, keep_images=keeps)
            client.add_scans(name, images, said)
        client.fit({"name": "k", **TASK})
        embedded = client.embed(images[:1])
        hits = client.search("bare", {"scan_id": "s0", "k": 5})["items"]
        vector = embedded["items"][0]["embedding"]
        return Before(folder, key, embedded["encoder_id"], vector, hits, client.export("k"))


@pytest.fixture(scope="module")
def bordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with a border around its input: the same width, other embeddings."""
    folder = Path(shutil.copytree(BUNDLE, tmp_path_factory.mktemp("bundle") / "bordered"))
    manifest = read_manifest(folder)
    spec = replace(manifest.spec, border=0.1)
    encoder_id = encoder_id_of(manifest.files, manifest.networks, spec)
    changed = replace(
        manifest, spec=spec, encoder_id=encoder_id, version="0.0.2", near_duplicate_cosine=1.0
    )
    (folder / MANIFEST_NAME).write_text(json.dumps(changed.to_json()))
    return folder


@pytest.fixture(scope="module")
def after(
    before: Before, bordered: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """The service with the other bundle over the folder of the first."""
    folder = Path(shutil.copytree(before.folder, tmp_path_factory.mktemp("after") / "data"))
    with served(folder, bordered, before.key) as (client, _):
        client.create_collection("new", keep_images=True)
        yield client


CALLS: dict[str, Callable[[Client, Before, Frames], object]] = {
    "search by scan": lambda c, b, f: c.search("bare", {"scan_id": "s0"}),
    "search by vector": lambda c, b, f: c.search(
        "new", {"vector": b.vector, "encoder_id": b.encoder_id}
    ),
    "search by image": lambda c, b, f: c.search_image("bare", f["cyst"][7]),
    "search across": lambda c, b, f: c.search_across(
        ["new", "bare"], {"vector": b.vector, "encoder_id": b.encoder_id}
    ),
    "upload": lambda c, b, f: c.add_scans("bare", f["cyst"][7:8]),
    "copy": lambda c, b, f: c.copy_scans("bare", ["s0"], "new"),
    "fit": lambda c, b, f: c.fit({"name": "other", "collection": "bare", "task": "t"}),
    "refit": lambda c, b, f: c.refit("k"),
    "predict": lambda c, b, f: c.predict("k", f["cyst"][7:8]),
    "predict stored": lambda c, b, f: c.predict_scans("k", "bare", ["s0"]),
    "evaluate": lambda c, b, f: c.evaluate("k", {"collection": "bare", "task": "t"}),
    "review": lambda c, b, f: c.review("k", "next"),
    "import": lambda c, b, f: c.import_classifier("imported", b.export),
}


@pytest.mark.parametrize("call", CALLS)
def test_nothing_mixes_embeddings_of_two_encoders(
    call: str, after: Client, before: Before, frames: Frames
) -> None:
    with refused("encoder_mismatch", 409):
        CALLS[call](after, before, frames)


def test_what_needs_no_encoder_goes_on(after: Client, before: Before) -> None:
    assert after.collection("bare")["encoder_id"] == before.encoder_id
    assert after.scan("bare", "s3")["labels"] == {"t": "cyst"}
    assert after.classifier("k")["encoder_id"] == before.encoder_id
    changed = after.patch_scan("bare", "s0", {"attributes": {"seen": True}})
    assert changed["attributes"] == {"seen": True}


def test_kept_images_and_labels_bring_collection_and_classifier_to_the_new_encoder(
    before: Before, bordered: Path, frames: Frames, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with served(folder, bordered, before.key) as (client, _):
        now = client.encoder()["encoder_id"]
        with refused("images_not_kept", 409):
            client.reembed("bare")
        assert client.wait(client.reembed("kept")["operation_id"])["state"] == "done"
        assert client.end_reembedding("kept", keep="new")["encoder_id"] == now != before.encoder_id
        assert client.search_image("kept", frames["cyst"][0])["items"][0]["scan"]["scan_id"] == "s0"
        with refused("encoder_mismatch", 409):  # the classifier is still that of before
            client.predict_scans("k", "kept", ["s0"])
        assert client.refit("k", {"publish": True})["encoder_id"] == now
        (item,) = client.predict_scans("k", "kept", ["s0"])["items"]
        assert {output["label"] for output in item["outputs"]} == {"cyst", "stone"}
        with refused("encoder_mismatch", 409):
            client.predict_scans("k", "kept", ["s0"], version=1)


def test_near_duplicates_are_those_of_the_encoder_that_made_the_embeddings(
    before: Before, bordered: Path, frames: Frames, tmp_path: Path
) -> None:
    def grouped_from(client: Client) -> float:
        return client.version("n", "published")["report"]["grouping"]["similarity"]

    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with served(folder, BUNDLE, before.key) as (client, _):
        client.create_collection("nameless", keep_images=True)
        labels = [{"labels": {"t": scene}} for scene in ("cyst", "stone") for _ in range(6)]
        client.add_scans("nameless", frames["cyst"][:6] + frames["stone"][:6], labels)
        client.fit({"name": "n", "collection": "nameless", "task": "t"})
        assert client.near_duplicates("nameless")["min_similarity"] == 0.9
        assert 0.9 <= grouped_from(client) < 1
    with served(folder, bordered, before.key) as (client, _):
        assert client.encoder()["manifest"]["near_duplicate_cosine"] == 1
        client.wait(client.reembed("nameless")["operation_id"])
        client.end_reembedding("nameless", keep="new")
        assert client.near_duplicates("nameless")["min_similarity"] == 1
        assert client.near_duplicates("nameless", min_similarity=0.9)["min_similarity"] == 0.9
        client.refit("n", {"publish": True})
        assert grouped_from(client) == 1


def test_the_start_tells_what_the_bundle_cannot_serve(
    before: Before, bordered: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with caplog.at_level(logging.WARNING), served(folder, bordered, before.key):
        pass
    (told,) = [r for r in caplog.records if r.message == "collections of another encoder"]
    assert (told.collections, told.scans, told.encoder_ids) == (2, 24, [before.encoder_id])


def test_an_upload_among_the_examples_cannot_follow_its_classifier(
    before: Before, bordered: Path, frames: Frames, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with served(folder, BUNDLE, before.key) as (client, _):
        added = {"examples": [{"label": "cyst"}], "publish": True}
        client.change_examples("k", added, images=frames["cyst"][8:9])
    with served(folder, bordered, before.key) as (client, _):
        client.wait(client.reembed("kept")["operation_id"])
        with refused("encoder_mismatch", 409):
            client.refit("k", {"publish": True})


def test_a_classifier_whose_collection_went_on_predicts_without_its_examples(
    before: Before, bordered: Path, frames: Frames, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with served(folder, bordered, before.key) as (client, _):
        client.wait(client.reembed("kept")["operation_id"])
        client.end_reembedding("kept", keep="new")
    with served(folder, BUNDLE, before.key) as (client, _):
        (item,) = client.predict("k", frames["cyst"][:1], nearest=3)["items"]
        assert item["outputs"]
        assert item["nearest"] == []
        with refused("encoder_mismatch", 409):
            client.review("k", "conflict")
        with refused("encoder_mismatch", 409):
            client.refit("k")


def test_with_the_bundle_of_before_everything_is_as_it_was(before: Before, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "data"))
    with served(folder, BUNDLE, before.key) as (client, _):
        assert client.search("bare", {"scan_id": "s0", "k": 5})["items"] == before.hits
        (item,) = client.predict_scans("k", "bare", ["s0"])["items"]
        assert item["outputs"]
