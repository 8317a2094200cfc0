"""Scans are copied to another collection over HTTP, without their files."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client


@pytest.fixture(scope="module")
def owner(tiny, frames) -> Iterator[Client]:
    """The collection ``ward`` of five scans, two of them of the patient ``p0``."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward", keep_images=True)
        metadata = [
            {"scan_id": f"s{n}", "subject_id": f"p{n // 2}", "labels": {"finding": "cyst"}}
            for n in range(5)
        ]
        client.add_scans("ward", frames["cyst"][:5], metadata=metadata)
        black = io.BytesIO()
        Image.new("L", (320, 240)).save(black, "png")
        client.add_scans("ward", [black.getvalue()], metadata=[{"scan_id": "blank"}])
        yield client


@pytest.fixture
def masses(owner: Client) -> Iterator[str]:
    owner.create_collection("masses", keep_images=True)
    yield "masses"
    owner.delete_collection("masses")


def test_a_copy_is_found_by_searches_and_by_its_patient(owner: Client, masses: str) -> None:
    answer = owner.copy_scans("ward", ["s0", "s1", "none"], masses)
    assert (answer["created"], answer["known"], answer["failed"]) == (2, 0, 1)
    assert [item.get("copy_id") for item in answer["items"]] == ["s0", "s1", None]
    assert answer["items"][2]["problem"]["code"] == "unknown_item"
    hits = owner.search(masses, {"scan_id": "s0", "k": 5})["items"]
    assert [hit["scan"]["scan_id"] for hit in hits] == ["s1"]
    assert owner.thumbnail(masses, "s0") == owner.thumbnail("ward", "s0")
    held = owner.subject("p0")["collections"]
    assert {one["collection"]: one["scans"] for one in held} == {"ward": 2, "masses": 2}


def test_what_is_there_already_is_counted_and_what_differs_is_named(
    owner: Client, masses: str
) -> None:
    owner.copy_scans("ward", ["s2"], masses)
    owner.patch_scan(masses, "s2", {"labels": {"finding": "mass"}})
    again = owner.copy_scans("ward", ["s2", "s3"], masses)
    assert (again["created"], again["known"]) == (1, 1)
    assert again["items"][0]["ignored"] == [
        {"field": "labels.finding", "sent": "cyst", "kept": "mass"}
    ]


def test_a_repetition_under_the_same_key_gets_the_first_answer(owner: Client, masses: str) -> None:
    first = owner.copy_scans("ward", ["s0"], masses, idempotency_key="once")
    assert first["created"] == 1
    assert owner.copy_scans("ward", ["s0"], masses, idempotency_key="once") == first
    with pytest.raises(ApiError, match="different request"):
        owner.copy_scans("ward", ["s1"], masses, idempotency_key="once")


def test_the_other_collection_refuses_what_it_refuses_of_uploads(owner: Client) -> None:
    owner.create_collection("strict", intake={"refuse_quality": ["blank"]})
    answer = owner.copy_scans("ward", ["blank", "s0"], "strict")
    assert answer["items"][0]["problem"]["code"] == "frame_refused"
    assert answer["items"][1]["created"]
    owner.delete_collection("strict")


def test_a_copy_needs_both_rights_and_both_collections(tiny, owner: Client, masses: str) -> None:
    def tried(source: str, to: str, **grant: object) -> str | None:
        key = owner.create_key("tried", **grant)["secret"]
        with Client(tiny.url, key=key) as other:
            try:
                other.copy_scans(source, ["s4"], to)
            except ApiError as error:
                return error.code
        return None

    rights = ["scan.read", "scan.write"]
    assert tried("ward", masses, scopes=["scan.read"]) == "missing_scope"
    assert tried("ward", masses, scopes=["scan.write"]) == "missing_scope"
    assert tried("ward", masses, scopes=rights, collections=["ward"]) == "unknown_item"
    assert tried("ward", masses, scopes=rights, collections=["masses"]) == "unknown_item"
    assert tried("ward", masses, scopes=rights, collections=["ward", "masses"]) is None


def test_a_quota_of_scans_holds_for_copies(owner: Client, masses: str) -> None:
    etag = owner.policy()["etag"]
    owner.replace_policy({"limits": {"scans": 7}}, if_match=etag)
    with pytest.raises(ApiError) as caught:
        owner.copy_scans("ward", ["s0", "s1"], masses)
    assert caught.value.code == "quota_exceeded"
    assert owner.collection(masses)["scans"] == 0
    owner.replace_policy({}, if_match=owner.policy()["etag"])


def test_a_copy_counts_for_the_key_that_makes_it(tiny, owner: Client, masses: str) -> None:
    key = owner.create_key("copying", roles=["admin"])
    limits = {key["key"]["key_id"]: {"scans": 2}}
    owner.replace_policy({"keys": limits}, if_match=owner.policy()["etag"])
    with Client(tiny.url, key=key["secret"]) as other:
        assert other.copy_scans("ward", ["s0", "s1"], masses)["created"] == 2
        with pytest.raises(ApiError) as caught:
            other.copy_scans("ward", ["s2"], masses)
        used = {row["limit"]: row["used"] for row in other.usage()["key"]}
    assert (caught.value.code, caught.value.problem["of"]) == ("quota_exceeded", "key")
    assert used["scans"] == 2
    owner.replace_policy({}, if_match=owner.policy()["etag"])


def test_the_audit_log_names_both_collections_and_the_scans(
    client: Client, collection: str, frames
) -> None:
    other = f"{collection}-copy"
    client.create_collection(other)
    client.add_scans(collection, frames["stone"][:1], metadata=[{"scan_id": "stone"}])
    client.copy_scans(collection, ["stone"], other)
    done, begun = (dict(entry) for entry in list(client.audit(action="copy_scans"))[:2])
    assert (begun["outcome"], done["outcome"]) == ("begun", "ok")
    assert done["names"]["collection"] == [collection, other]
    added = dict(next(iter(client.audit(action="add_scans"))))
    assert done["names"]["scan"] == added["names"]["scan"]  # digests of the id
    client.delete_collection(other)
