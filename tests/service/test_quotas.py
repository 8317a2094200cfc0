"""Rates of keys and workspaces, and what a workspace may store."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.access.access_limits import limits_of, strictest
from service.access.keys import Caller, create_key
from service.access.policy_store import PolicyStore
from service.access.quotas import Quotas
from service.access.token_buckets import TokenBucket
from service.access.workspace_rules import WorkspaceRules
from service.catalog.access_records import KeyGrant
from service.catalog.records import Author
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.errors import InputError, InvalidSettings, RateLimited
from service.server import LocalService, local_service
from service.settings import Settings, read_settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging.screens import speckle
from tests.service.expected import BUNDLE
from tests.service.test_frame_search import png


def test_a_bucket_allows_a_burst_of_one_minute_and_then_the_rate() -> None:
    bucket = TokenBucket(60, 0.0)
    for _ in range(60):
        assert bucket.wait_s(1, 0.0) == 0
        bucket.take(1, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1.0)
    assert bucket.wait_s(1, 1.0) == 0
    assert bucket.used(31.0) == pytest.approx(29.0)
    assert bucket.reset_s(31.0) == pytest.approx(29.0)


def test_debt_is_paid_off_before_the_next_request() -> None:
    bucket = TokenBucket(30, 0.0)
    bucket.take(90, 0.0)
    assert bucket.wait_s(0, 0.0) == pytest.approx(120.0)
    assert bucket.wait_s(0, 120.1) == 0


def test_more_than_a_minute_holds_waits_for_a_full_bucket_and_not_for_ever() -> None:
    bucket = TokenBucket(10, 0.0)
    assert bucket.wait_s(64, 0.0) == 0
    bucket.take(64, 0.0)
    assert bucket.wait_s(64, 0.0) == pytest.approx(64 * 6)


def test_a_changed_rate_keeps_what_was_used() -> None:
    bucket = TokenBucket(10, 0.0)
    bucket.take(8, 0.0)
    bucket.resize(100, 0.0)
    assert bucket.used(0.0) == 8
    bucket.resize(5, 0.0)
    assert bucket.wait_s(1, 0.0) > 0


def test_of_several_limits_the_lowest_holds() -> None:
    assert strictest({"a": 2.0, "b": 1.0}, {"a": 3.0, "c": 4.0}) == {"a": 2.0, "b": 1.0, "c": 4.0}


@pytest.mark.parametrize("wrong", [{"x": 1}, {"scans": 0}, {"scans": "9"}, {"scans": True}])
def test_a_limit_is_a_positive_number_of_a_known_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        limits_of(wrong, ["scans"], "limits")


# of a running service ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteCatalog]:
    catalog = open_catalog(tmp_path_factory.mktemp("quotas"))
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def local(
    catalog: SqliteCatalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        bundle_dir=BUNDLE,
        drain_s=0,
        key_limits={"requests_per_minute": 40, "images_per_minute": 6},
    )
    with local_service(settings, catalog=catalog) as running:
        yield running


@pytest.fixture
def http(local, catalog, request) -> Iterator[httpx.Client]:
    _, key = create_key(catalog, request.node.name[:60], "default")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=local.url, headers=headers, trust_env=False, timeout=60) as found:
        yield found


def used(http: httpx.Client, limit: str, of: str = "key") -> dict[str, Any]:
    rows = http.get("/v1/usage").json()[of]
    return next(row for row in rows if row["limit"] == limit)


def test_a_key_that_sends_too_many_requests_is_told_which_limit_and_when_to_return(
    local, http
) -> None:
    for _ in range(400):  # it refills while the test runs
        refused = http.get("/v1/encoder")
        if refused.status_code != 200:
            break
    assert refused.status_code == 429
    problem = refused.json()
    assert (problem["code"], problem["limit"], problem["of"]) == (
        "rate_limited",
        "requests_per_minute",
        "key",
    )
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    metrics = httpx.get(f"{local.url}/metrics", trust_env=False).text
    assert 'sonoprobe_limited_total{limit="requests_per_minute"}' in metrics


def test_another_key_is_not_held_up(http) -> None:
    assert http.get("/v1/encoder").status_code == 200


def test_every_frame_of_a_clip_is_an_image(http, clip) -> None:
    answer = http.post("/v1/embeddings", files={"files": clip}, params={"frames": "all"})
    assert answer.status_code == 200, answer.text
    images = used(http, "images_per_minute")
    assert 10 < images["used"] <= 40  # what is beyond 6 is a debt
    assert images["reset_s"] > 60
    refused = http.post("/v1/embeddings", files={"files": clip})
    assert (refused.status_code, refused.json()["limit"]) == (429, "images_per_minute")


def test_files_that_do_not_decode_count_as_well(http) -> None:
    wrong = [("files", b"no image")] * 60
    assert http.post("/v1/embeddings", files=wrong).status_code == 415
    assert http.post("/v1/embeddings", files=wrong[:1]).status_code == 429


def test_usage_shows_the_workspace_to_administrators_only(local, http, catalog) -> None:
    assert used(http, "collections", "workspace")["most"] is None
    _, key = create_key(catalog, "reader", "default", KeyGrant(("reader",)))
    with Client(local.url, key=key) as client:
        assert client.usage()["workspace"] is None


def test_time_of_decoding_is_paid_afterwards(catalog) -> None:
    now_s = [0.0]
    policies = PolicyStore(catalog, key_limits={"decode_s_per_minute": 2}, workspace_limits={})
    quotas = Quotas(catalog, policies, clock=lambda: now_s[0])
    record, _ = create_key(catalog, "decoding", "default")
    caller = Caller(record.workspace_id, Author(record.key_id, "x"), frozenset(), 0)
    policy = policies.current(record.workspace_id)
    with WorkspaceRules(policies, quotas).holding(caller, policy):
        quotas.admit_files(1)
        quotas.decoded(3.0)
        with pytest.raises(RateLimited, match="decode_s_per_minute") as refused:
            quotas.admit_files(1)
        assert refused.value.retry_after_s == 31
        now_s[0] = 31.0
        quotas.admit_files(1)


def test_a_workspace_stores_what_it_may_and_not_one_more(tmp_path, frames) -> None:
    limits = {"scans": 3, "collections": 1, "stored_bytes": 1e9}
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, workspace_limits=limits)
    images = [file for scene in frames.values() for file in scene][:4]
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        client.create_collection("c")
        with pytest.raises(ApiError) as second:
            client.create_collection("d")
        client.add_scans("c", images[:2])
        with pytest.raises(ApiError) as refused:
            client.add_scans("c", images[2:4])
        client.add_scans("c", images[:3])  # two are stored already
        usage = {row["limit"]: row for row in client.usage()["workspace"]}
    problems = [(e.value.status, e.value.code) for e in (second, refused)]
    assert problems == [(409, "quota_exceeded")] * 2
    assert (usage["scans"]["used"], usage["scans"]["most"]) == (3, 3)
    assert usage["stored_bytes"]["used"] > 3 * 4 * 8


def test_each_key_stores_what_it_may_and_gets_room_back(tmp_path, frames) -> None:
    each = {"scans": 2, "collections": 1}
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, key_limits=each)
    images = [file for scene in frames.values() for file in scene][:5]

    def stored(client: Client) -> dict[str, float | None]:
        return {row["limit"]: row["used"] for row in client.usage()["key"] if not row["reset_s"]}

    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        made = client.create_key("second", roles=["admin"])
        client.create_collection("c")
        client.add_scans("c", images[:2])
        for act in (
            lambda: client.create_collection("d"),
            lambda: client.add_scans("c", images[2:3]),
        ):
            with pytest.raises(ApiError) as refused:
                act()
            problem = refused.value.problem
            assert (problem["status"], problem["code"], problem["of"]) == (
                409,
                "quota_exceeded",
                "key",
            )
        with Client(running.url, key=made["secret"]) as second:
            assert stored(second)["scans"] == 0
            second.add_scans("c", images[2:4])
            with pytest.raises(ApiError):
                second.add_scans("c", images[4:5])
            assert stored(second)["scans"] == 2
        assert (stored(client)["scans"], stored(client)["collections"]) == (2, 1)
        policy = {"keys": {made["key"]["key_id"]: {"stored_bytes": 1}}}
        client.replace_policy(policy)
        scan = next(iter(client.scans("c")))
        client.delete_scan("c", scan["scan_id"])
        client.delete_scan("c", next(iter(client.scans("c")))["scan_id"])
        assert stored(client)["scans"] == 0
        client.add_scans("c", images[:2])
        with Client(running.url, key=made["secret"]) as second, pytest.raises(ApiError) as full:
            second.create_collection("e")
        assert full.value.problem["limit"] == "stored_bytes"


@pytest.mark.parametrize("text", ['{"scan": 3}', '{"requests_per_minute": 0}', "9"])
def test_settings_with_a_limit_that_does_not_exist_are_refused(monkeypatch, text) -> None:
    monkeypatch.setenv("SONOPROBE_KEY_LIMITS", text)
    with pytest.raises(InvalidSettings, match="SONOPROBE_KEY_LIMITS"):
        read_settings()


@pytest.fixture(scope="module")
def clip() -> bytes:
    rng = np.random.default_rng(1)
    pictures = [
        Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).convert("P") for _ in range(40)
    ]
    stream = io.BytesIO()
    pictures[0].save(stream, "GIF", save_all=True, append_images=pictures[1:], duration=50)
    return stream.getvalue()


# views of kept pictures --------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Client, Client]]:
    """An administrator, and a curator with a rate of their own; 12 kept pictures."""
    catalog = open_catalog(tmp_path)
    key, secret = create_key(catalog, "curator", "default", KeyGrant(("curator",)))
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0)
    with (
        local_service(settings, catalog=catalog) as local,
        Client(local.url, key=local.key) as owner,
        Client(local.url, key=secret) as curator,
    ):
        owner.create_collection("kept", keep_images=True)
        images = [png(speckle(96, 96, seed)) for seed in range(KEPT)]
        said = [{"subject_id": f"s{i}", "labels": {"t": "ab"[i % 2]}} for i in range(KEPT)]
        owner.add_scans("kept", images, said)
        owner.replace_policy({"keys": {key.key_id: {"images_per_minute": 10}}})
        yield owner, curator
    catalog.close()


KEPT = 12  # more than are embedded at a time
VIEWS_OF_KEPT = {"collection": "kept", "task": "t", "views": "examples"}


def used_images(client: Client) -> tuple[float, float]:
    of_key = client.request("GET", "/v1/usage").json()["key"]
    found = next(limit for limit in of_key if limit["limit"] == "images_per_minute")
    return found["used"], found["most"]


def test_all_views_of_a_fit_are_admitted_at_once_or_not_at_all(kept) -> None:
    _, curator = kept
    made = curator.fit({"name": "first", **VIEWS_OF_KEPT})
    assert made["name"] == "first"
    used, most = used_images(curator)
    assert most == 10
    assert 10 < used <= 7 * KEPT
    # Without the client, which would wait and try again.
    again = {"name": "second", **VIEWS_OF_KEPT}
    refused = curator._http.request("POST", "/v1/classifiers", json=again)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert used_images(curator)[0] <= used


def test_the_views_of_a_fit_in_the_background_count_for_the_key_that_asked(kept) -> None:
    owner, curator = kept
    first = curator.fit({"name": "first", **VIEWS_OF_KEPT}, respond_async=True)
    assert owner.wait(first["operation_id"])["state"] == "done"
    assert used_images(curator)[0] > 10
    second = curator.fit({"name": "second", **VIEWS_OF_KEPT}, respond_async=True)
    while (ended := owner.operation(second["operation_id"]))["state"] in ("waiting", "running"):
        threading.Event().wait(0.05)
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "rate_limited")


def test_the_successor_of_a_key_has_its_limits(kept) -> None:
    owner, curator = kept
    key_id = curator.request("GET", "/v1/me").json()["key_id"]
    made = owner.rotate_key(key_id)
    with Client(str(owner._http.base_url), key=made["secret"]) as successor:
        assert used_images(successor) == (0.0, 10.0)
    keys = owner.policy()["keys"]
    assert keys[made["key"]["key_id"]] == keys[key_id] == {"images_per_minute": 10.0}
