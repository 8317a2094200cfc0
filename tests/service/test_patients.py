"""Patients over HTTP: an id is never lost, and whatever can be stored can be erased."""

import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

SECRET = "SECRET-7f3a"


def png(n: int = 0, level: int | None = None, comment: str = "") -> bytes:
    """A picture that follows from ``n``, or a blank one; the comment changes only the bytes."""
    from PIL import PngImagePlugin

    pixels = np.random.default_rng(n).integers(0, 256, (64, 64), np.uint8)
    if level is not None:
        pixels = np.full((64, 64), level, np.uint8)
    said = PngImagePlugin.PngInfo()
    said.add_text("c", comment)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()


@pytest.fixture
def house(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward", intake={"high_risk_thumbnails": True})
        yield client
        client.delete_collection("ward")


def send(client: Client, image: bytes, **metadata: object) -> dict:
    (item,) = client.add_scans("ward", [image], [metadata])["items"]
    return item


def send_raw(client: Client, image: bytes, **params: object) -> dict:
    answer = client.request(
        "POST",
        "/v1/collections/ward/scans",
        params=params,
        content=image,
        headers={"Content-Type": "image/png"},
    )
    return answer.json()["items"][0]


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments, **options)
    assert caught.value.status == 422
    return str(caught.value)


def test_a_raw_upload_takes_all_that_metadata_say(house: Client) -> None:
    item = send_raw(
        house,
        png(1),
        scan_id="s1",
        subject_id="p1",
        study_id="st1",
        labels=json.dumps({"finding": "mass", "side": "left"}),
        label=["view:B:2"],
        attributes=json.dumps({"age": 4, "note": "x"}),
    )
    scan = item["scan"]
    assert (scan["scan_id"], scan["subject_id"], scan["study_id"]) == ("s1", "p1", "st1")
    assert scan["labels"] == {"finding": "mass", "side": "left", "view": "B:2"}
    assert scan["attributes"] == {"age": 4, "note": "x"}
    assert (item["created"], item["ignored"], item["copies"]) == (True, [], [])


@pytest.mark.parametrize(
    "params",
    [
        {"labels": "[1]"},
        {"labels": "{"},
        {"labels": '{"a": 1}'},
        {"labels": '{"a": "x"}', "label": "a:y"},
        {"attributes": '{"a": [1]}'},
        {"subject": "p1"},
        {"subject_id": ""},
    ],
)
def test_a_raw_upload_with_a_wrong_parameter_stores_nothing(house: Client, params) -> None:
    refusal(send_raw, house, png(1), **params)
    assert list(house.scans("ward")) == []


def test_the_same_picture_of_another_patient_is_another_scan_and_is_erased_alone(
    house: Client,
) -> None:
    first = send(house, png(1), subject_id="p1")
    second = send(house, png(1), subject_id="p2")
    other_bytes = send(house, png(1, comment="x"), subject_id="p3")
    bare = send(house, png(1))
    ids = [item["scan"]["scan_id"] for item in (first, second, other_bytes, bare)]
    assert len(set(ids)) == 4
    assert second["copies"] == ids[:1]
    sha256 = first["scan"]["image"]["sha256"]
    page = house._json("GET", "/v1/collections/ward/scans", params={"sha256": sha256})
    assert [scan["subject_id"] for scan in page["items"]] == ["p1", "p2", None]
    receipt = house.erase_subject("p2")
    assert [scan["scan_id"] for scan in receipt["scans"]] == ids[1:2]
    assert [scan["scan_id"] for scan in receipt["copies"]] == [ids[0], ids[2], ids[3]]
    hits = house.search_image("ward", png(1), {"k": 9})["items"]
    assert sorted(hit["scan"]["scan_id"] for hit in hits) == sorted([ids[0], ids[2], ids[3]])


def test_a_repeated_upload_says_what_it_ignores(house: Client) -> None:
    send(house, png(1), subject_id="p1", labels={"finding": "cyst"})
    again = send(house, png(1), subject_id="p1", labels={"finding": "mass"}, study_id="st1")
    assert again["created"] is False
    assert again["ignored"] == [
        {"field": "study_id", "sent": "st1", "kept": None},
        {"field": "labels.finding", "sent": "mass", "kept": "cyst"},
    ]
    assert again["scan"]["labels"] == {"finding": "cyst"}


def test_blank_pictures_are_never_one(house: Client) -> None:
    blanks = [send(house, png(level=level, comment=c)) for level, c in ((0, ""), (0, "x"), (9, ""))]
    assert [item["created"] for item in blanks] == [True, True, True]
    assert [item["copies"] for item in blanks] == [[], [], []]
    assert send(house, png(level=0))["created"] is False  # the same file


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "/leading",
        "trailing/",
        "a/../b",
        "a//b",
        "100%",
        "%2e%2e",
        "a b",
        "a?b=c#d;e&f+g",
        "back\\slash",
        "Mu\u0308ller",
        "日" * 128,
        "👨‍👩‍👧",
        "...",
    ],
)
def test_whatever_can_be_stored_can_be_erased(house: Client, name: str) -> None:
    send(house, png(1), subject_id=name)
    send(house, png(2), study_id=name)
    assert len(house.erase_subject(name)["scans"]) == 1
    assert len(house.erase_study(name)["scans"]) == 1
    send(house, png(1), subject_id=name)
    answer = house.request("DELETE", f"/v1/subjects/{quote(name, safe='')}")
    assert len(answer.json()["scans"]) == 1


def test_ids_of_scans_with_any_character_are_read_and_deleted(house: Client) -> None:
    for n, scan_id in enumerate(("a b", "100%", "a?b#c", "e\u0301", "日", "x..", "%2F", "a;b+c")):
        assert send(house, png(n), scan_id=scan_id)["created"]
        assert house.scan("ward", scan_id)["subject_id"] is None
        assert house.thumbnail("ward", scan_id)
        house.delete_scan("ward", scan_id)
    assert list(house.scans("ward")) == []


@pytest.mark.parametrize(
    "text", ["a\nb", "a\u200bb", "\ufeffa", "a\u202eb", ".", "..", " ", "a\x9fb"]
)
def test_text_that_cannot_be_told_apart_is_refused_at_every_entrance(
    house: Client, text: str
) -> None:
    image = png(1)
    for metadata in (
        {"subject_id": text},
        {"study_id": text},
        {"scan_id": text},
        {"labels": {"t": text}},
        {"labels": {text: "c"}},
        {"attributes": {text: 1}},
    ):
        said = refusal(send, house, image, **metadata)
        assert text.strip() in ("", ".", "..") or text not in said
    refusal(send_raw, house, image, subject_id=text)
    refusal(send_raw, house, image, label=f"t:{text}")
    send(house, image, scan_id="s1")
    refusal(house.patch_scan, "ward", "s1", {"subject_id": text})
    refusal(house.patch_scan, "ward", "s1", {"labels": {"t": text}})
    example = {"scan_id": "s1", "label": text}
    refusal(house.fit, {"name": "k", "collection": "ward", "examples": [example]})
    refusal(house.fit_images, "k", [image], [{"label": "a", "subject_id": text}])


def test_an_id_in_the_wrong_encoding_is_refused_and_no_two_patients_become_one(
    house: Client,
) -> None:
    for name in ("M%FCller", "M%F6ller"):  # Latin-1 in an address
        path = f"/v1/collections/ward/scans?subject_id={name}"
        headers = {"Content-Type": "image/png"}
        refusal(house.request, "POST", path, content=png(1), headers=headers)


def test_names_that_look_the_same_are_the_same_in_filters_labels_and_classes(house: Client) -> None:
    composed, decomposed = "é", "e\u0301"
    for n in range(6):
        label = {decomposed: (composed, decomposed, "b")[n % 3]}
        send(house, png(n), subject_id=f"{decomposed}{n}", labels=label)
    assert len(list(house.scans("ward", label=[f"{composed}:{decomposed}"]))) == 4
    assert len(list(house.scans("ward", subject_id=f"{composed}1"))) == 1
    counted = house.facets("ward", {"labels": [decomposed]})["labels"]
    assert [value["value"] for value in counted[composed]["values"]] == [composed, "b"]
    assert house.fit({"name": "k", "collection": "ward", "task": decomposed})["classes"] == [
        "b",
        composed,
    ]
    house.delete_classifier("k")
    twice = {"labels": {composed: "a", decomposed: "b"}}
    assert "two names are the same text" in refusal(send, house, png(7), **twice)


def test_a_retry_after_a_deletion_does_not_repeat_what_was_deleted(house: Client) -> None:
    key = {"idempotency_key": "once"}
    metadata = [{"scan_id": "a", "labels": {"note": SECRET}}]
    house.add_scans("ward", [png(1)], metadata, **key)
    house.delete_scan("ward", "a")
    answer = house.request(
        "POST",
        "/v1/collections/ward/scans",
        files=[("files", ("a", png(1)))],
        data={"metadata": json.dumps(metadata)},
        headers={"Idempotency-Key": "once"},
    )
    assert "idempotent-replayed" not in answer.headers
    assert answer.json()["items"][0]["created"] is True


def test_evaluations_go_on_without_the_scores_of_an_erased_patient(house: Client) -> None:
    for n in range(24):
        finding = "ab"[n % 2]
        send(house, png(n), subject_id=f"p{n}", labels={"finding": finding})
    house.fit({"name": "k", "collection": "ward", "task": "finding"})
    before = house.confusion("k", 1)["scored"]
    house.erase_subject("p0")
    after = house.confusion("k", 1)["scored"]
    assert after == before - 1
    assert house.compare("k", 1, "published")["shared_examples"] == 23
    house.delete_classifier("k")


# files --------------------------------------------------------------------------------------


def open_to_others(*folders: Path) -> list[str]:
    """Everything in the folders, and they themselves, that others may read or write."""
    return [
        f"{path.relative_to(folder)}: {stat.filemode(path.lstat().st_mode)}"
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077
    ]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / name for name in ("data_dir", "backup_dir", "exchange_dir")}


def whole_life(folders: dict[str, Path]) -> None:
    """Upload, index in files, fit, erase, export, import, back up."""
    settings = Settings(**folders, bundle_dir=BUNDLE, drain_s=0, exact_scans=2)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c", keep_images=True)
        said = [{"subject_id": f"p{n}", "labels": {"t": "ab"[n % 2]}} for n in range(8)]
        client.add_scans("c", [png(n) for n in range(8)], said)
        client.fit({"name": "k", "collection": "c", "task": "t"})
        client.erase_subject("p0")
        client.wait(client.export_collection("c", "out")["operation_id"])
        client.wait(client.import_collection("back", "out")["operation_id"])
        while not list(folders["backup_dir"].glob("sonoprobe-*")):
            pass
        assert list(folders["data_dir"].rglob("rows.f32"))
        assert open_to_others(*folders.values()) == []
    assert open_to_others(*folders.values()) == []


def test_every_file_and_folder_is_its_owners_alone_whatever_the_umask(
    folders: dict[str, Path],
) -> None:
    umask = os.umask(0)
    try:
        whole_life(folders)
    finally:
        os.umask(umask)


def test_looser_files_of_an_earlier_start_are_tightened(folders: dict[str, Path]) -> None:
    whole_life(folders)
    strange = folders["data_dir"] / "not-ours.txt"
    strange.write_text("")
    for folder in folders.values():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    with local_service(Settings(**folders, bundle_dir=BUNDLE, drain_s=0)):
        pass
    assert open_to_others(*folders.values()) == ["not-ours.txt: -rw-r--r--"]
