"""What a clinical back-end sees, over TCP with the shipped encoder."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from service.server import LocalService
from service.settings import program_version
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import probabilities, refused

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


def test_health_metrics_and_encoder_answer(client: Client) -> None:
    assert client.live() == {"status": "live", "version": program_version()}
    assert client.ready()["encoder_id"] == client.encoder()["manifest"]["encoder_id"]
    assert "no medical device" in client.encoder()["model_card"]
    assert "sonoprobe_requests_total" in client.metrics()


def test_embeddings_are_equal_in_every_encoding(client: Client, frames) -> None:
    image = frames["cyst"][0]
    plain = np.array(client.embed([image])["items"][0]["embedding"], np.float32)
    packed = client.embed([image], encoding_format="base64")["items"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed), "<f4"), plain)
    small = np.array(client.embed([image], dtype="int8")["items"][0]["embedding"]) / 127
    np.testing.assert_allclose(small, plain, atol=0.5 / 127 + 1e-6)  # half a step
    assert np.linalg.norm(plain) == pytest.approx(1, abs=1e-5)


def test_a_corrupt_image_among_good_ones_fails_alone(client, collection, frames) -> None:
    good = frames["mass"]
    answer = client.request(
        "POST",
        f"/v1/collections/{collection}/scans",
        files=[("files", ("a", d)) for d in (good[0], good[1][:900], b"hello", good[2])],
    )
    assert answer.status_code == 207
    items = answer.json()["items"]
    assert [item.get("problem", {}).get("code") for item in items] == [
        None,
        "corrupt_image",
        "unsupported_format",
        None,
    ]
    assert set(items[1]["problem"]) >= FIELDS
    assert client.collection(collection)["scans"] == 2


def test_the_same_bytes_twice_are_one_scan(client, collection, frames) -> None:
    first = client.add_scans(collection, frames["stone"][:2])["items"]
    again = client.add_scans(collection, frames["stone"][:2])["items"]
    assert [item["created"] for item in first + again] == [True, True, False, False]
    assert [i["scan"]["scan_id"] for i in first] == [i["scan"]["scan_id"] for i in again]


def test_search_finds_the_same_scene_by_image_scan_vector_and_examples(
    client, collection, frames
) -> None:
    for scene in ("cyst", "a_lines"):
        said = [{"labels": {"scene": scene}, "subject_id": f"{scene}{i}"} for i in range(8)]
        client.add_scans(collection, frames[scene][:8], said)
    by_image = client.search_image(collection, frames["cyst"][9], {"k": 3})
    assert {hit["scan"]["labels"]["scene"] for hit in by_image["items"]} == {"cyst"}
    best = by_image["items"][0]["scan"]["scan_id"]
    by_scan = client.search(collection, {"scan_id": best, "k": 20})["items"]
    assert best not in {hit["scan"]["scan_id"] for hit in by_scan}
    assert len(by_scan) == 15
    vector = client.embed([frames["cyst"][9]])["items"][0]["embedding"]
    by_vector = client.search(collection, {"vector": vector, "k": 3})
    assert [h["scan"]["scan_id"] for h in by_vector["items"]] == [
        h["scan"]["scan_id"] for h in by_image["items"]
    ]
    lines = [s["scan_id"] for s in client.scans(collection, label=["scene:a_lines"])]
    leaning = client.search(collection, {"positive": [best], "negative": lines[:2], "k": 5})
    assert leaning["items"][0]["scan"]["labels"]["scene"] == "cyst"
    assert not {best, *lines[:2]} & {hit["scan"]["scan_id"] for hit in leaning["items"]}
    where = {"labels": {"scene": "a_lines"}}
    filtered = client.search(collection, {"scan_id": best, "k": 20, "filter": where})["items"]
    assert len(filtered) == 8


def test_a_classifier_learns_scenes_and_reports_its_uncertainty(client, collection, frames) -> None:
    for scene in ("cyst", "a_lines", "stone"):
        said = [{"labels": {"scene": scene}, "subject_id": f"{scene}-{i}"} for i in range(5)]
        client.add_scans(collection, frames[scene][:5], said)
    made = client.fit({"name": "scenes", "collection": collection, "task": "scene"})
    report = made["report"]
    low, high = report["interval_95"]
    assert 0 <= low <= report["balanced_accuracy"] <= high <= 1
    answer = client.predict("scenes", [frames[s][7] for s in ("cyst", "a_lines", "stone")])
    assert [item["most_probable"] for item in answer["items"]] == ["cyst", "a_lines", "stone"]
    assert answer["calibrated"] is made["calibrated"] is True  # of 15 patients
    assert sum(probabilities(answer["items"][0]).values()) == pytest.approx(1)
    assert [c["name"] for c in client.classifiers()] == ["scenes"]
    with refused("name_taken", 409):
        client.fit({"name": "scenes", "collection": collection, "task": "scene"})
    client.delete_classifier("scenes")
    with refused("unknown_item", 404):
        client.predict("scenes", frames["cyst"][:1])


def test_a_classifier_is_fitted_from_uploads_all_or_nothing(client, frames) -> None:
    images = frames["cyst"][:3] + frames["stone"][:3]
    examples = [{"label": name} for name in ["cyst"] * 3 + ["stone"] * 3]
    with refused("corrupt_image", 422):
        client.fit_images("up", [images[0][:500], *images[1:]], examples)
    made = client.fit_images("up", images, examples)
    assert made["classes"] == ["cyst", "stone"]
    assert any("fewer than 5" in warning for warning in made["report"]["warnings"])
    client.delete_classifier("up")


def test_scans_are_read_relabelled_and_deleted_under_their_etag(client, collection, frames) -> None:
    scan = client.add_scans(collection, frames["tissue"][:1])["items"][0]["scan"]
    changed = client.patch_scan(
        collection, scan["scan_id"], {"labels": {"t": "x"}}, if_match=scan["etag"]
    )
    assert changed["labels"] == {"t": "x"}
    with refused("precondition_failed", 412):
        client.delete_scan(collection, scan["scan_id"], if_match=scan["etag"])
    assert client.thumbnail(collection, scan["scan_id"])[:2] == b"\xff\xd8"
    client.delete_scan(collection, scan["scan_id"], if_match=changed["etag"])
    with refused("unknown_item", 404):
        client.scan(collection, scan["scan_id"])


def test_erasing_a_subject_removes_it_from_search_and_names_what_learnt_from_it(
    client, collection, frames
) -> None:
    said = [{"subject_id": f"s{i}", "labels": {"t": "ab"[i % 2]}} for i in range(6)]
    client.add_scans(collection, frames["mass"][:6], said)
    client.fit({"name": "erase", "collection": collection, "task": "t"})
    receipt = client.erase_subject("s1")
    assert receipt["classifiers"] == ["erase"]
    hits = client.search_image(collection, frames["mass"][1], {"k": 50})["items"]
    assert "s1" not in {hit["scan"]["subject_id"] for hit in hits}
    client.delete_classifier("erase")


def test_a_repeated_request_gets_the_first_answer_and_another_one_a_conflict(
    client, collection, frames
) -> None:
    first = client.add_scans(collection, frames["cyst"][:1], idempotency_key="k1" + collection)
    again = client.add_scans(collection, frames["cyst"][:1], idempotency_key="k1" + collection)
    assert again == first
    with refused("idempotency_conflict", 409):
        client.add_scans(collection, frames["cyst"][1:2], idempotency_key="k1" + collection)


def test_of_equal_requests_at_once_one_acts_and_the_others_get_its_answer(local, client) -> None:
    def create(_number: int) -> httpx.Response:
        with Client(local.url, key=local.key) as own:
            return own.request(
                "POST",
                "/v1/collections",
                json={"name": "at-once"},
                headers={"Idempotency-Key": "at-once"},
            )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert local.running().answers.locks == {}
    client.delete_collection("at-once")


def test_a_search_keeps_to_its_conditions(client, collection, frames) -> None:
    said = [
        {
            "scan_id": f"s{i}",
            "subject_id": f"p{i // 4}",
            "study_id": f"p{i // 4}-{i // 2}",
            "labels": {"t": "ab"[i % 2]},
            "attributes": {"depth_cm": i % 3, "probe": "linear"},
        }
        for i in range(8)
    ]
    client.add_scans(collection, frames["cyst"][:8], said)

    def found(**options: object) -> list[str]:
        hits = client.search(collection, {"scan_id": "s0", "k": 50} | options)["items"]
        scores = [hit["score"] for hit in hits]
        assert scores == sorted(scores, reverse=True)
        return [hit["scan"]["scan_id"] for hit in hits]

    def sorted_hits(**options: object) -> list[str]:
        return sorted(found(**options))

    everything = found()
    assert sorted(everything) == [f"s{i}" for i in range(1, 8)]
    assert found(k=2) == everything[:2]
    assert sorted_hits(exclude_same="subject") == ["s4", "s5", "s6", "s7"]
    assert sorted_hits(exclude_same="study") == [f"s{i}" for i in range(2, 8)]
    assert len(found(group_by="subject")) == 2
    assert len(found(group_by="study")) == 4
    assert found(group_by="study")[0] == everything[0]
    assert sorted_hits(filter={"labels": {"t": "b"}}) == ["s1", "s3", "s5", "s7"]
    assert sorted_hits(filter={"attributes": {"depth_cm": [1, 2]}}) == [
        "s1",
        "s2",
        "s4",
        "s5",
        "s7",
    ]
    assert sorted_hits(filter={"attributes": {"depth_cm": 0}, "subject_id": "p0"}) == ["s3"]
    assert sorted_hits(filter={"not_study_id": ["p0-0", "p0-1"]}) == ["s4", "s5", "s6", "s7"]
    assert found(filter={"labels": {"t": "none"}}) == []
    best = client.search(collection, {"scan_id": "s0", "k": 1})["items"][0]["score"]
    assert len(found(min_score=best)) == 1
    own = {"k": 50, "subject_id": "p1", "exclude_same": "subject"}
    uploaded = client.search_image(collection, frames["cyst"][9], own)["items"]
    assert {hit["scan"]["subject_id"] for hit in uploaded} == {"p0"}


def test_own_scans_are_not_left_out_by_guess(client, collection, frames) -> None:
    """Where nobody says whose a query is, its patient's own scans would be among the hits."""
    said = [{"scan_id": "own", "subject_id": "p0", "study_id": "1"}, {"scan_id": "nobodys"}]
    client.add_scans(collection, frames["cyst"][:2], said)
    options = {"k": 5, "exclude_same": "subject"}
    for refused_query in ({"scan_id": "nobodys"}, {"positive": ["own", "nobodys"]}):
        with refused("invalid_input", 422):
            client.search(collection, options | refused_query)
    with refused("invalid_input", 422):
        client.search_image(collection, frames["cyst"][0], options)
    with refused("invalid_input", 422):
        client.search_image(
            collection, frames["cyst"][0], options | {"exclude_same": "study", "subject_id": "p0"}
        )
    known = client.search(collection, options | {"scan_id": "own", "negative": ["nobodys"]})
    assert [hit["scan"]["scan_id"] for hit in known["items"]] == []
    stated = client.search(collection, options | {"scan_id": "nobodys", "subject_id": "p0"})
    assert stated["items"] == []


def test_a_list_keeps_to_its_conditions(client, collection, frames) -> None:
    said = [
        {
            "scan_id": f"s{i}",
            "subject_id": f"p{i // 2}",
            "labels": {"t": "ab"[i % 2]},
            "attributes": {"depth_cm": i, "probe": "linear" if i < 2 else "12"},
        }
        for i in range(4)
    ]
    client.add_scans(collection, frames["cyst"][:4], said)

    def listed(**options: object) -> list[str]:
        return [scan["scan_id"] for scan in client.scans(collection, **options)]

    assert listed() == ["s0", "s1", "s2", "s3"]
    assert listed(label=["t:a"]) == ["s0", "s2"]
    assert listed(label=["t:a", "t:b"], subject_id="p1") == ["s2", "s3"]
    assert listed(attribute=["depth_cm:1", "depth_cm:2"]) == ["s1", "s2"]
    assert listed(attribute=["probe:linear"], label=["t:b"]) == ["s1"]
    assert listed(attribute=['probe:"12"']) == ["s2", "s3"]
    for wrong in ("depth_cm", ":1", "depth_cm:"):
        with refused("invalid_input", 422):
            listed(attribute=[wrong])
    for label in ("t:" + "x" * 200, "y" * 200 + ":x"):
        with refused("validation_error", 422):
            listed(label=[label])


def test_lists_go_on_where_the_cursor_says(client, collection, frames) -> None:
    client.add_scans(collection, frames["b_lines"])
    path = f"/v1/collections/{collection}/scans"
    page = client.request("GET", path, params={"limit": 4}).json()
    rest = client.request("GET", path, params={"cursor": page["next_cursor"]}).json()
    ids = [scan["scan_id"] for scan in page["items"] + rest["items"]]
    assert len(set(ids)) == len(ids) == 10
    with refused("invalid_cursor", 400):
        client.request("GET", path, params={"cursor": "bm9wZQ=="})


def test_no_key_a_wrong_key_and_a_wrong_scheme_are_refused(local: LocalService) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic eDp5"}):
        answer = httpx.get(f"{local.url}/v1/encoder", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthenticated"


def test_every_answer_carries_its_request_id_and_problems_are_one_shape(local, client) -> None:
    headers = {"Authorization": f"Bearer {local.key}"}
    with httpx.Client(base_url=local.url, headers=headers, trust_env=False) as http:
        answers = {
            "not_found": http.get("/nowhere"),
            "method_not_allowed": http.put("/v1/encoder"),
            "validation_error": http.post("/v1/collections", json={"name": "no spaces"}),
            "invalid_input": http.post("/v1/embeddings", content=b""),
            "upload_too_large": http.post("/v1/embeddings", content=b"x" * 2_000_001),
            "unknown_item": http.get("/v1/collections/none"),
        }
    for code, answer in answers.items():
        body = answer.json()
        assert body["code"] == code
        assert set(body) >= FIELDS
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == body["request_id"]
        assert body["status"] == answer.status_code


@pytest.mark.parametrize("kind", ["image/png", "application/json", "multipart/form-data"])
def test_a_body_without_a_length_is_cut_off_at_the_limit(local, kind: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        start = b"--x\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n"
        yield start if kind.startswith("multipart") else b"[1"
        for _ in range(200):  # 20 MB, ten times the limit
            sent += 100_000
            yield b" " * 100_000

    headers = {"Authorization": f"Bearer {local.key}", "Content-Type": f"{kind}; boundary=x"}
    with httpx.Client(base_url=local.url, headers=headers, trust_env=False) as http:
        try:
            answer = http.post("/v1/embeddings", content=endless())
        except (httpx.WriteError, httpx.ReadError):
            assert sent < 20_000_000  # hung up on, which is an answer too
        else:
            assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
        assert http.get("/v1/encoder").status_code == 200


def test_validation_names_the_field_and_never_the_value(client, collection, frames) -> None:
    with pytest.raises(ApiError) as caught:
        client.add_scans(collection, frames["cyst"][:1], [{"subjct_id": "JOHN DOE"}])
    assert caught.value.code == "validation_error"
    assert "JOHN" not in str(caught.value)
    assert client.collection(collection)["scans"] == 0


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ({}, "invalid_input", 422),
        ({"vector": [1.0]}, "invalid_input", 422),
        ({"vector": [0.0] * 512}, "invalid_input", 422),
        ({"vector": [1.0] * 512, "encoder_id": "enc_other"}, "encoder_mismatch", 409),
        ({"scan_id": "none"}, "unknown_item", 404),
        ({"scan_id": "none", "k": 5000}, "invalid_input", 422),
        ({"image": "***"}, "invalid_input", 422),
        ({"image": base64.b64encode(b"text").decode()}, "unsupported_format", 415),
    ],
)
def test_a_wrong_search_says_why(client, collection, query, code: str, status: int) -> None:
    with refused(code, status):
        client.search(collection, query)


def test_one_class_is_not_enough_to_fit(client, collection, frames) -> None:
    client.add_scans(collection, frames["cyst"][:3], [{"labels": {"t": "a"}}] * 3)
    with refused("not_enough_examples", 422):
        client.fit({"name": "one", "collection": collection, "task": "t"})


def test_dicom_and_an_oversized_image_fail_alone_with_their_own_code(client, frames) -> None:
    dicom = b"\0" * 128 + b"DICM" + b"\0" * 100
    items = client.embed([dicom, b"\x89PNG\r\n\x1a\n" + b"0" * 600_000, frames["cyst"][0]])["items"]
    codes = [item.get("problem", {}).get("code") for item in items]
    assert codes == ["unsupported_format", "upload_too_large", None]


def test_json_with_base64_embeds_like_a_form(client, frames) -> None:
    image = frames["stone"][3]
    body = {"images": [base64.b64encode(image).decode()]}
    found = client.request(
        "POST",
        "/v1/embeddings",
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    ).json()
    raw = client.request(
        "POST", "/v1/embeddings", content=image, headers={"content-type": "image/png"}
    ).json()
    form = client.embed([image])
    assert found["items"] == raw["items"] == form["items"]
