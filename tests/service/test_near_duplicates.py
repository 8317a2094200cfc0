"""Scans that nearly repeat each other are listed in pairs, whatever their labels."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from service.embedding.bundle import SHIPPED_BUNDLE, near_duplicate_cosine, read_manifest
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client


def recompressed(png: bytes) -> bytes:
    """The same picture as other pixels."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("L").save(file, "jpeg", quality=80)
    return file.getvalue()


@pytest.fixture(scope="module")
def pairs(local, frames) -> Iterator[Client]:
    cyst, lines = frames["cyst"][0], frames["a_lines"][0]
    files = [cyst, recompressed(cyst), cyst, lines, recompressed(lines)]
    facts = [
        {"subject_id": "p1", "labels": {"finding": "cyst"}},
        {"subject_id": "p1", "labels": {"finding": "cyst"}, "attributes": {"depth": 4}},
        {"subject_id": "p2", "labels": {"finding": "cyst"}},
        {"labels": {"finding": "lines"}},
        {"subject_id": "p3", "labels": {"finding": "other"}},
    ]
    metadata = [{"scan_id": f"s{n}", **fact} for n, fact in enumerate(facts)]
    with Client(local.url, key=local.key) as client:
        client.create_collection("pairs")
        client.add_scans("pairs", files, metadata=metadata)
        yield client
        client.delete_collection("pairs")


def ids(answer) -> list[tuple[str, str]]:
    return [(pair["first"]["scan_id"], pair["second"]["scan_id"]) for pair in answer["items"]]


def test_one_picture_under_two_patients_comes_first(pairs: Client) -> None:
    found = pairs.near_duplicates("pairs", min_similarity=0.95)
    assert ids(found) == [("s0", "s2"), ("s1", "s2"), ("s3", "s4"), ("s0", "s1")]
    assert (found["scans"], found["compared"]) == (5, 5)
    assert (found["total"], found["of_different_patients"]) == (4, 2)
    same, near, unnamed, own = found["items"]
    assert [pair["patients"] for pair in found["items"]] == [
        "different",
        "different",
        "unknown",
        "same",
    ]
    assert same["same_image"]
    assert same["similarity"] == pytest.approx(1, abs=1e-3)
    assert same["differs"] == ["subject_id"]
    assert not near["same_image"]
    assert unnamed["differs"] == ["subject_id", "labels.finding"]
    assert own["differs"] == ["attributes.depth"]


def test_pairs_are_chosen_by_patients_and_similarity_and_the_rest_is_counted(
    pairs: Client,
) -> None:
    assert ids(pairs.near_duplicates("pairs", min_similarity=0.95, patients="same")) == [
        ("s0", "s1")
    ]
    few = pairs.near_duplicates("pairs", min_similarity=0.95, limit=1)
    assert (ids(few), few["total"]) == ([("s0", "s2")], 4)
    exact = pairs.near_duplicates("pairs", min_similarity=1)
    assert ids(exact) == [("s0", "s2")]


def test_the_bundle_says_how_similar_a_pair_is_at_least(pairs: Client) -> None:
    found = pairs.near_duplicates("pairs")
    least = near_duplicate_cosine(read_manifest(SHIPPED_BUNDLE))
    assert found["min_similarity"] == least
    assert all(pair["similarity"] >= least for pair in found["items"])


def test_an_empty_collection_has_no_pairs_and_none_is_no_collection(
    client: Client, collection: str
) -> None:
    assert client.near_duplicates(collection)["items"] == []
    with pytest.raises(ApiError) as caught:
        client.near_duplicates("none")
    assert caught.value.code == "unknown_item"
