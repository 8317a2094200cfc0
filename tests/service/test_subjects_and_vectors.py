"""What is held of a patient can be read, and so can the embeddings of stored scans."""

import base64
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from sonoprobe_client import outcome_of
from tests.service.expected import refused


@pytest.fixture
def client(tiny: LocalService, frames: dict[str, list[bytes]]) -> Iterator[Client]:
    """Two collections: p1 has scans in both, p2 in the first; classifiers learnt from p1."""
    with Client(tiny.url, key=tiny.key) as found:
        for name, images in (("a", frames["cyst"][:4]), ("b", frames["mass"][:4])):
            found.create_collection(name)
            labels = {"t": name}
            found.add_scans(
                name,
                images,
                [
                    {"scan_id": f"{name}{n}", "subject_id": f"p{n // 2 + 1}", "labels": labels}
                    | ({"study_id": f"s-{name}"} if n == 0 else {})
                    for n in range(4)
                ],
            )
        yield found
        for name in ("a", "b"):
            found.delete_collection(name)


def answered(client: Client, path: str, **params: object) -> httpx.Response:
    return client.request("GET", path, params=params)


@pytest.fixture
def learnt(client: Client, frames: dict[str, list[bytes]]) -> Iterator[None]:
    """``stored`` has two versions from scans of p1 and p2, ``sent`` has an upload of p1."""
    examples = [
        {"collection": name, "scan_id": f"{name}{n}", "label": name}
        for name in "ab"
        for n in (0, 2)
    ]
    client.fit({"name": "stored", "examples": examples})
    more = [{"collection": "a", "scan_id": "a3", "label": "a"}]
    client.request("POST", "/v1/classifiers/stored/versions/1/examples", json={"examples": more})
    uploads = [{"label": "x", "subject_id": "p1", "study_id": "s-up"}, {"label": "y"}]
    client.fit_images("sent", [frames["stone"][0], frames["stone"][1]], uploads)
    yield
    client.delete_classifier("stored")
    client.delete_classifier("sent")


def test_a_patient_is_read_with_scans_studies_and_what_learnt_from_them(
    client: Client, learnt: None
) -> None:
    held = client.subject("p1")
    assert (held["subject_id"], held["scans"], held["next_cursor"]) == ("p1", 4, None)
    assert held["collections"] == [
        {"collection": "a", "scans": 2},
        {"collection": "b", "scans": 2},
    ]
    assert held["study_ids"] == ["s-a", "s-b", "s-up"]
    assert held["classifiers"] == [
        {"classifier": "sent", "examples": 1, "uploads": 1, "versions": [1]},
        {"classifier": "stored", "examples": 2, "uploads": 0, "versions": [1, 2]},
    ]
    assert [scan["scan_id"] for scan in held["items"]] == ["a0", "a1", "b0", "b1"]
    assert answered(client, "/v1/subjects/p1").json() == held
    assert client.subject("p2")["classifiers"][0]["examples"] == 3


def test_the_scans_of_a_patient_are_paged(client: Client) -> None:
    first = answered(client, "/v1/subjects/p1", limit=3).json()
    rest = client.subject("p1", cursor=first["next_cursor"])
    ids = [scan["scan_id"] for scan in (*first["items"], *rest["items"])]
    assert (ids, rest["next_cursor"]) == (["a0", "a1", "b0", "b1"], None)
    assert b"p1" not in base64.urlsafe_b64decode(first["next_cursor"])


@pytest.mark.parametrize("subject_id", ["p9", "a/../b", "%"])
def test_a_patient_of_whom_nothing_is_held_is_unknown(client: Client, subject_id: str) -> None:
    with refused("unknown_item", 404):
        client.subject(subject_id)


def test_after_the_erasure_nothing_is_held(client: Client) -> None:
    client.erase_subject("p1")
    with refused("unknown_item", 404):
        client.subject("p1")
    assert client.subject("p2")["scans"] == 4


def test_stored_embeddings_are_read_in_every_encoding(client: Client) -> None:
    plain = client.scan("a", "a0")
    assert "vector" not in plain
    vector = np.array(client.scan("a", "a0", with_vector=True)["vector"])
    assert (len(vector), float(np.linalg.norm(vector))) == (plain["dim"], pytest.approx(1))
    packed = client.scan("a", "a0", with_vector=True, encoding_format="base64", dtype="int8")
    numbers = np.frombuffer(base64.b64decode(packed["vector"]), np.int8)
    np.testing.assert_allclose(numbers / 127, vector, atol=0.005)
    listed = {scan["scan_id"]: scan for scan in client.scans("a", with_vector=True)}
    np.testing.assert_array_equal(listed["a0"]["vector"], vector)
    assert all("vector" not in scan for scan in client.scans("a"))
    hits = client.search("a", {"scan_id": "a1", "k": 3, "with_vector": True})["items"]
    (hit,) = [hit for hit in hits if hit["scan"]["scan_id"] == "a0"]
    np.testing.assert_allclose(hit["vector"], vector, atol=1e-6)


def test_an_encoding_that_is_unknown_is_refused(client: Client) -> None:
    with refused("validation_error", 422):
        answered(client, "/v1/collections/a/scans/a0", with_vector=True, dtype="int4")


def test_a_list_of_scans_has_the_fields_that_are_chosen(client: Client) -> None:
    whole = list(client.scans("a"))
    chosen = list(client.scans("a", fields=["labels", "subject_id"]))
    names = ("labels", "scan_id", "subject_id")
    assert chosen == [{name: scan[name] for name in names} for scan in whole]
    (first, *_), (vector, *_) = (
        client.scans("a", with_vector=True),
        client.scans("a", fields=["vector"]),
    )
    assert vector == {"scan_id": first["scan_id"], "vector": first["vector"]}
    page = answered(client, "/v1/collections/a/scans", fields="etag", limit=1).json()
    rest = answered(client, "/v1/collections/a/scans", fields="etag", cursor=page["next_cursor"])
    assert len(page["items"] + rest.json()["items"]) == len(whole)


def test_an_unknown_field_is_refused_by_name(client: Client) -> None:
    with refused("validation_error", 422):
        answered(client, "/v1/collections/a/scans", fields="patient")


def test_a_patient_is_read_with_the_outcomes_of_predictions(
    client: Client, learnt: None, frames: dict[str, list[bytes]]
) -> None:
    for classifier, label, patients in (("stored", "a", ("p1", "p1")), ("sent", "x", ("p1", "p9"))):
        answer = client.predict(classifier, frames["cyst"][4:6])
        told = [
            outcome_of(answer, item, [label], patient=patient)
            for item, patient in zip(answer["items"], patients, strict=True)
        ]
        client.put_outcomes(classifier, told)
    held = client.subject("p1")
    assert (held["scans"], held["outcomes"]) == (4, 3)
    nothing_else = client.subject("p9")
    assert (nothing_else["scans"], nothing_else["outcomes"], nothing_else["items"]) == (0, 1, [])
