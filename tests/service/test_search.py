"""What a search can be asked for beyond the nearest few."""

import base64
import json
from collections.abc import Iterator

import numpy as np
import pytest

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, frames) -> Iterator[Client]:
    """Two collections: six patients with a cyst and a stone each, and one more of masses."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("s"), drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        fill(client, local, frames)
        yield client


def fill(client: Client, local: LocalService, frames: dict[str, list[bytes]]) -> None:
    said = [
        {"scan_id": f"{scene}-{i}", "subject_id": f"p{i}", "attributes": {"cine_id": i // 2}}
        for scene in ("cyst", "stone")
        for i in range(6)
    ]
    client.create_collection("mixed")
    client.add_scans("mixed", frames["cyst"][:6] + frames["stone"][:6], said)
    client.create_collection("masses")
    masses = [{"scan_id": f"mass-{i}", "subject_id": f"p{i}"} for i in range(4)]
    client.add_scans("masses", frames["mass"][:4], masses)


def hits_of(answer: dict) -> list[str]:
    return [hit["scan"]["scan_id"] for hit in answer["items"]]


@pytest.mark.parametrize(("group_by", "size"), [("subject", 1), ("subject", 2), ("cine", 3)])
def test_no_group_shows_more_hits_than_asked(stocked: Client, group_by: str, size: int) -> None:
    body = {"scan_id": "cyst-0", "k": 50, "group_by": group_by, "group_size": size}
    answer = stocked.search("mixed", body)
    groups = [
        hit["scan"]["subject_id" if group_by == "subject" else "attributes"]
        for hit in answer["items"]
    ]
    counts = [groups.count(group) for group in groups]
    assert max(counts) == size
    scores = [hit["score"] for hit in answer["items"]]
    assert scores == sorted(scores, reverse=True)


def test_diverse_hits_are_less_alike_and_start_with_the_best(stocked: Client) -> None:
    plain = stocked.search("mixed", {"scan_id": "cyst-0", "k": 4})
    mixed = stocked.search("mixed", {"scan_id": "cyst-0", "k": 4, "diversity": 0.7})
    assert hits_of(plain)[0] == hits_of(mixed)[0]
    assert sum(hit["score"] for hit in mixed["items"]) < sum(hit["score"] for hit in plain["items"])
    assert len(set(hits_of(mixed))) == 4


def test_each_of_many_queries_answers_for_itself(stocked: Client) -> None:
    queries = [{"scan_id": "cyst-1", "k": 3}, {"scan_id": "none"}, {"scan_id": "stone-1", "k": 3}]
    items = stocked.search_many(["mixed"], queries)["items"]
    assert items[1]["problem"]["code"] == "unknown_item"
    for item, query in ((items[0], queries[0]), (items[2], queries[2])):
        assert item["items"] == stocked.search("mixed", query)["items"]


def test_several_collections_are_ranked_as_one(stocked: Client) -> None:
    body = {"scan_id": "mass-0", "k": 50, "stored_in": "masses"}
    answer = stocked.search_across(["mixed", "masses", "masses"], body)
    assert len(answer["items"]) == 15
    scores = [hit["score"] for hit in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert {hit["scan"]["collection"] for hit in answer["items"]} == {"mixed", "masses"}
    grouped = stocked.search_across(["mixed", "masses"], body | {"group_by": "subject"})
    assert len(grouped["items"]) == 6
    with pytest.raises(ApiError) as refused:
        stocked.search_across(["mixed", "none"], body)
    assert refused.value.code == "unknown_item"


def test_an_index_tells_how_it_searches_and_so_do_the_metrics(stocked: Client) -> None:
    found = stocked.collection("mixed")["index"]
    assert (found["mode"], found["scans"], found["recall_at_10"]) == ("exact", 12, None)
    assert f'sonoprobe_index_rows{{index="{found["index_id"]}"}} 12.0' in stocked.metrics()
    assert "mixed" not in stocked.metrics()


def test_too_many_queries_are_refused(stocked: Client) -> None:
    vector = np.ones(stocked.encoder()["dim"]).tolist()
    with pytest.raises(ApiError) as refused:
        stocked.search_many(["mixed"], [{"vector": vector, "k": 1}] * 257)
    assert refused.value.code == "too_many_items"


def test_examples_of_any_kind_may_be_mixed_and_their_scans_are_no_hits(
    stocked: Client, frames
) -> None:
    image = base64.b64encode(frames["cyst"][1]).decode()
    vector = stocked.embed(frames["cyst"][2:3])["items"][0]["embedding"]
    positive = ["cyst-0", {"image": image}, {"vector": vector}, {"scan_id": "cyst-3"}]
    answer = stocked.search("mixed", {"positive": positive, "negative": ["stone-0"], "k": 50})
    ids = hits_of(answer)
    assert not {"cyst-0", "cyst-3", "stone-0"} & set(ids)
    assert len(ids) == 9
    assert len(answer["query"]["images"]) == 1
    places = {True: [], False: []}
    for place, name in enumerate(ids):
        places[name.startswith("cyst")].append(place)
    assert np.mean(places[True]) < np.mean(places[False])


def test_files_of_a_form_are_examples_of_one_query(stocked: Client, frames) -> None:
    images = frames["cyst"][6:8]
    answer = stocked.search_images(["mixed"], images, {"k": 50})
    vectors_ND = np.array([item["embedding"] for item in stocked.embed(images)["items"]])
    mean = stocked.search("mixed", {"vector": vectors_ND.mean(0).tolist(), "k": 50})
    assert hits_of(answer) == hits_of(mean)
    assert len(answer["query"]["images"]) == 2


def test_a_raw_image_is_searched_with_options_in_the_address(stocked: Client, frames) -> None:
    answer = stocked.request(
        "POST",
        "/v1/search",
        content=frames["mass"][0],
        headers={"content-type": "image/png"},
        params={"options": json.dumps({"collections": ["masses", "mixed"], "k": 1})},
    ).json()
    assert hits_of(answer) == ["mass-0"]
    assert (
        answer["items"][0]["scan"]["thumbnail"] == "/v1/collections/masses/scans/mass-0/thumbnail"
    )
    assert "encoder_id" not in answer["items"][0]["scan"]


def test_hits_carry_their_vectors_when_asked(stocked: Client) -> None:
    plain = stocked.search("mixed", {"scan_id": "cyst-0", "k": 2})["items"]
    asked = stocked.search("mixed", {"scan_id": "cyst-0", "k": 2, "with_vector": True})["items"]
    assert [hit.pop("vector")[:0] for hit in asked] == [[], []]
    assert asked == plain


def test_queries_that_all_fail_alike_fail_the_request(stocked: Client) -> None:
    with refused("unknown_item", 404):
        stocked.search_many(["mixed"], [{"scan_id": "none"}, {"scan_id": "no"}])


@pytest.mark.parametrize("query", [{"scan_id": "cyst-0", "positive": ["cyst-1"]}, {"k": 3}])
def test_a_query_is_exactly_one(stocked: Client, query: dict) -> None:
    with refused("invalid_input", 422):
        stocked.search("mixed", query)


def test_options_beside_many_queries_are_refused(stocked: Client) -> None:
    with refused("invalid_input", 422):
        stocked.search_across(["mixed"], {"queries": [{"scan_id": "cyst-0"}], "k": 3})


def test_a_form_without_collections_is_refused(stocked: Client, frames) -> None:
    with refused("invalid_input", 422):
        stocked.request("POST", "/v1/search", files=[("files", ("a", frames["cyst"][0]))])
