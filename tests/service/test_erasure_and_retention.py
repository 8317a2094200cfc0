"""Over HTTP: filters, counts, erasure with refits, retention, long fits, re-embedding."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.api.dependencies import Services
from service.catalog.operation_records import ENDED, Operation
from service.catalog.records import Author
from service.catalog.redaction import drop_scores
from service.catalog.sqlite.backup import back_up, backups_in
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.classifiers.examples import Example, Examples
from service.classifiers.requests import ExampleSelection, FitRequest
from service.classifiers.store import ClassifierStore
from service.embedding.encoder import load_encoder
from service.jobs.job_requests import BackupRequest
from service.jobs.progress import Cancellation
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.catalog.set_clock import SetClock
from tests.catalog.vectors import all_vectors
from tests.service.expected import BUNDLE

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class OtherEncoder:
    """The fixture's encoder with its numbers in another order: same worth, other space."""

    def __init__(self) -> None:
        self._encoder = load_encoder(BUNDLE)
        self.encoder_id, self.dim = "enc_other", self._encoder.dim
        self.spec, self.card, self.manifest = self._encoder.spec, "", None
        self.ultrasound = None
        self.lanes = ()

    def encode(self, frames_B3SS: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self._encoder.encode(frames_B3SS)[:, ::-1])

    def encode_mapped(self, frames_B3SS: np.ndarray) -> object:
        raise NotImplementedError("no heat map is asked for here")


def settings(data_dir: Path, **changed: object) -> Settings:
    return Settings(data_dir=data_dir, bundle_dir=BUNDLE, drain_s=0, **changed)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, new_catalog) -> Iterator[Client]:
    chosen = settings(tmp_path_factory.mktemp("life"), **new_catalog())
    with local_service(chosen) as local, Client(local.url, key=local.key) as client:
        yield client


@pytest.fixture
def ward(house: Client, frames) -> Iterator[str]:
    """Twelve labelled scans of six patients in two studies each."""
    house.create_collection("ward")
    images = frames["cyst"][:6] + frames["mass"][:6]
    said = [
        {
            "scan_id": f"s{n}",
            "subject_id": f"p{n % 6}",
            "study_id": f"st{n}",
            "labels": {"finding": "cyst" if n < 6 else "mass"},
            "attributes": {"age": 30 + n, "device": ("cart", "handheld")[n % 2]},
        }
        for n in range(12)
    ]
    house.add_scans("ward", images, said)
    yield "ward"
    house.delete_collection("ward")
    for classifier in list(house.classifiers()):
        house.delete_classifier(classifier["name"])


def ids(scans) -> list[str]:
    return [scan["scan_id"] for scan in scans]


def test_one_filter_means_the_same_in_lists_searches_counts_and_fits(house, ward) -> None:
    where = {
        "attributes": {"age": {"gte": 32, "lt": 41}},
        "not": {"or": [{"subject_id": "p3"}, {"attributes": {"age": {"in": [34]}}}]},
        "created_at": {"gte": "2020-01-01"},
    }
    expected = ["s2", "s5", "s6", "s7", "s8", "s10"]
    assert ids(house.scans("ward", where=where)) == expected
    hits = house.search("ward", {"scan_id": "s0", "k": 50, "filter": where})["items"]
    assert sorted(ids(hit["scan"] for hit in hits)) == sorted(expected)
    counted = house.facets("ward", {"filter": where, "labels": ["finding"]})
    assert (counted["scans"], counted["subjects"]) == (6, 5)
    values = counted["labels"]["finding"]["values"]
    assert values == [{"value": "mass", "scans": 4}, {"value": "cyst", "scans": 2}]
    house.fit({"name": "k", "collection": "ward", "task": "finding", "filter": where})
    learnt = house.version_examples("k", 1)
    assert sorted(e["scan_id"] for e in learnt) == sorted(expected)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"attributes": {"age": {"gte": 1, "lt": "2"}}}, "invalid_input"),
        ({"or": []}, "validation_error"),
        ({"created_at": {"gte": "yesterday"}}, "validation_error"),
        ({"nor": [{}]}, "validation_error"),
        (
            {"or": [{"attributes": {f"a{i}": {"exists": True} for i in range(60)}}] * 2},
            "validation_error",
        ),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(house, ward, where, code) -> None:
    with pytest.raises(ApiError) as caught:
        house.search("ward", {"scan_id": "s0", "filter": where})
    assert caught.value.code == code


def test_a_filter_of_a_thousand_levels_is_refused(house, ward) -> None:
    deep = "{}"
    for _ in range(400):
        deep = '{"not": ' + deep + "}"
    with pytest.raises(ApiError) as caught:
        house.request("GET", "/v1/collections/ward/scans", params={"filter": deep})
    assert caught.value.code == "invalid_input"


def test_an_erased_patient_leaves_search_and_the_refitted_classifier(house, ward) -> None:
    house.fit({"name": "k", "collection": "ward", "task": "finding"})
    receipt = house.erase_subject("p0", refit=True)
    assert receipt["scans"] == [{"collection": "ward", "scan_id": s} for s in ("s0", "s6")]
    assert receipt["classifiers"] == ["k"]
    done = house.wait(receipt["operation"]["operation_id"])
    assert (done["state"], done["kind"]) == ("done", "refit")
    assert done["result"] == {"classifiers": [{"name": "k", "version": 2}]}
    found = house.classifier("k")
    assert found["published_version"] == 2
    assert len(list(house.version_examples("k", 2))) == 10
    assert house.version("k", 2)["settings"]["not_kept"] == 2
    hits = house.search("ward", {"scan_id": "s1", "k": 50})["items"]
    assert not {"s0", "s6"} & set(ids(hit["scan"] for hit in hits))


def test_a_deleted_scan_and_study_name_the_classifiers_and_leave_the_index(house, ward) -> None:
    house.fit({"name": "k", "collection": "ward", "task": "finding"})
    assert house.delete_scan("ward", "s1") == {
        "deleted": "s1",
        "classifiers": ["k"],
        "copies": [],
        "backups_know": None,
    }
    receipt = house.erase_study("st2")
    assert receipt == {
        "scans": [{"collection": "ward", "scan_id": "s2"}],
        "classifiers": ["k"],
        "uploads": 0,
        "copies": [],
        "backups_know": None,
    }
    hits = house.search("ward", {"scan_id": "s3", "k": 50})["items"]
    assert not {"s1", "s2"} & set(ids(hit["scan"] for hit in hits))
    with pytest.raises(ApiError) as caught:
        house.erase_study("st2")
    assert caught.value.code == "unknown_item"


def test_a_refit_that_is_left_without_examples_says_so(house, ward) -> None:
    scans = [{"scan_id": "s0", "label": "a"}, {"scan_id": "s1", "label": "b"}]
    house.fit({"name": "k", "collection": "ward", "examples": scans})
    begun = house.delete_scan("ward", "s0", refit=True)["operation"]
    (told,) = house.wait(begun["operation_id"])["result"]["classifiers"]
    assert (told["name"], told["code"]) == ("k", "not_enough_examples")
    assert house.classifier("k")["published_version"] == 1


def test_a_collection_changes_under_its_etag(house, ward) -> None:
    etag = house.collection("ward")["etag"]
    found = house.patch_collection("ward", {"retention_days": 30, "description": "d"})
    assert (found["retention_days"], found["description"]) == (30, "d")
    assert found["keep_images"] is False
    with pytest.raises(ApiError) as caught:
        house.patch_collection("ward", {"description": "late"}, if_match=etag)
    assert caught.value.code == "precondition_failed"
    for wrong in ({"retention_days": 0}, {"name": "x"}):
        with pytest.raises(ApiError) as caught:
            house.patch_collection("ward", wrong)
        assert caught.value.code == "validation_error"


def test_a_fit_that_need_not_be_waited_for_is_an_operation_with_the_classifier_as_result(
    house, ward
) -> None:
    body = {"name": "k", "collection": "ward", "task": "finding"}
    answer = house.request(
        "POST",
        "/v1/classifiers",
        json=body,
        headers={"Prefer": "wait=1, respond-async", "Idempotency-Key": "once"},
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    done = house._json("GET", answer.headers["location"])
    done = house.wait(done["operation_id"])
    assert done["result"] == {"classifier": "k", "location": "/v1/classifiers/k"}
    assert house.classifier("k")["published_version"] == 1
    again = house.fit(body, respond_async=True, idempotency_key="once")
    assert again["operation_id"] == done["operation_id"]
    failed = house.wait(house.fit(body, respond_async=True)["operation_id"])
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "name_taken")
    assert failed["problem"]["status"] == 409


def test_a_fit_that_was_killed_is_done_by_the_next_start_and_stored_once(
    tmp_path: Path, frames
) -> None:
    catalog = open_catalog(tmp_path)
    with (
        local_service(settings(tmp_path), catalog=catalog) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("c")
        said = [{"labels": {"t": "ab"[n % 2]}} for n in range(6)]
        client.add_scans("c", frames["cyst"][:6], said)
        owner = local.running().default_workspace_id
        asked = FitRequest("killed", ExampleSelection(collection="c", task="t"))
        key = local.key
    left = catalog.create_operation(owner, "fit", asked.to_json())
    catalog.claim_operation("dead", lease_s=0, kinds={"fit"})  # and then the process was gone
    catalog.close()
    for attempt in range(2):
        with local_service(settings(tmp_path)) as local, Client(local.url, key=key) as client:
            done = client.wait(left.operation_id)
            assert done["state"] == "done", done
            assert len(list(client.versions("killed"))) == 1
        if attempt == 0:  # as if it had been killed between storing and saying so
            with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
                request = json.dumps(asked.to_json())
                sql = "UPDATE operations SET state = 'running', result = NULL, request = ?"
                connection.execute(sql, (request,))
            connection.close()


def test_scans_past_their_retention_are_swept_while_the_service_runs(
    tmp_path: Path, frames
) -> None:
    with (
        local_service(settings(tmp_path, retention_sweep_s=1)) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("short", retention_days=1e-5)
        client.create_collection("long", retention_days=1)
        for name in ("short", "long"):
            client.add_scans(name, frames["cyst"][:2], [{"scan_id": "a"}, {"scan_id": "b"}])
        deadline = time.monotonic() + PATIENCE_S
        while client.collection("short")["scans"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.collection("short")["scans"] == 0
        assert client.collection("long")["scans"] == 2
        image = frames["cyst"][0]
        assert client.search_image("short", image)["items"] == []
        assert len(client.search_image("long", image)["items"]) == 2


def ended_operations(running: Services) -> list[Operation]:
    """All operations of the default workspace, once there are some and all have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = running.operations.list_operations(running.default_workspace_id, limit=10).items
        if found and all(operation.state in ENDED for operation in found):
            return list(found)
        time.sleep(0.02)
    raise AssertionError("no operation has ended")


def test_backups_are_made_unasked_and_a_restart_keeps_the_cycle(tmp_path: Path) -> None:
    shelf = tmp_path / "backups"
    for _ in range(2):
        with local_service(settings(tmp_path / "data", backup_dir=shelf)) as local:
            assert [operation.state for operation in ended_operations(local.running())] == ["done"]
    assert len(list(shelf.glob("sonoprobe-*/backup.json"))) == 1


def test_a_backup_that_a_clock_ahead_dated_into_the_future_holds_up_no_other(
    tmp_path: Path,
) -> None:
    shelf, clock = tmp_path / "backups", SetClock()
    clock.jump(days=365)
    open_catalog(tmp_path / "data").close()
    ahead = back_up(tmp_path / "data" / "catalog.sqlite", shelf, clock=clock)
    with (
        local_service(settings(tmp_path / "data", backup_dir=shelf)) as local,
        Client(local.url, key=local.key) as client,
    ):
        assert [operation.state for operation in ended_operations(local.running())] == ["done"]
        (line,) = re.findall(r"^sonoprobe_backup_age_seconds (.*)$", client.metrics(), re.MULTILINE)
    assert 0 <= float(line) < 3600
    assert len(backups_in(shelf)) == 2
    assert backups_in(shelf)[0] == ahead


class BusyCatalog(SqliteCatalog):
    """As one of which another process does everything that is done once."""

    refused = 0

    @contextmanager
    def once(self, name):
        self.refused += 1
        yield False


def test_while_another_process_sweeps_this_one_deletes_nothing(tmp_path: Path, frames) -> None:
    open_catalog(tmp_path).close()
    catalog = BusyCatalog(Database(tmp_path / "catalog.sqlite"), None, drop_scores)
    with (
        local_service(settings(tmp_path, retention_sweep_s=1), catalog=catalog) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("short", retention_days=1e-9)
        client.add_scans("short", frames["cyst"][:1])
        before, deadline = catalog.refused, time.monotonic() + PATIENCE_S
        while catalog.refused == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert catalog.refused > before
        assert client.collection("short")["scans"] == 1
    catalog.close()


class CatalogWithoutFile(SqliteCatalog):
    """As one in a database server, which has no file to copy."""

    file = None


def test_a_catalog_without_a_file_is_not_backed_up_here(tmp_path: Path) -> None:
    data, shelf = tmp_path / "data", tmp_path / "backups"
    open_catalog(data).close()
    catalog = CatalogWithoutFile(Database(data / "catalog.sqlite"), None, drop_scores)
    asked = settings(data, backup_dir=shelf, audit=False)  # its log has a file beside the catalog
    with local_service(asked, catalog=catalog) as local:
        running = local.running()
        running.operations.begin(running.default_workspace_id, BackupRequest())
        (refused,) = ended_operations(running)  # and nothing was scheduled
        assert refused.problem is not None
        assert (refused.state, refused.problem["code"]) == ("failed", "not_supported")
    assert list(shelf.glob("*")) == []
    catalog.close()


def test_a_collection_with_kept_images_is_reembedded_by_another_encoder_and_back(
    tmp_path: Path, frames
) -> None:
    images = frames["cyst"][:5] + frames["mass"][:5]
    said = [{"scan_id": f"s{n}", "subject_id": f"p{n}"} for n in range(10)]
    with local_service(settings(tmp_path)) as local, Client(local.url, key=local.key) as client:
        client.create_collection("kept", keep_images=True)
        client.add_scans("kept", images, said)
        client.create_collection("bare")
        client.add_scans("bare", images[:2])
        before = client.embed(images)
        key = local.key
    other = OtherEncoder()
    with (
        local_service(settings(tmp_path), encoder=other) as local,
        Client(local.url, key=key) as client,
    ):
        with pytest.raises(ApiError) as caught:
            client.search("kept", {"scan_id": "s0"})
        assert caught.value.code == "encoder_mismatch"
        with pytest.raises(ApiError) as caught:
            client.reembed("bare")
        assert caught.value.code == "images_not_kept"
        assert "upload the files again into a new collection" in str(caught.value)
        client.erase_subject("p9")
        done = client.wait(client.reembed("kept")["operation_id"])
        assert done["state"] == "done", done
        assert done["progress"] == {"done": 9, "total": 9}
        assert client.reembedding("kept")["state"] == "switched"
        hits = client.search_image("kept", images[3], {"k": 50})["items"]
        assert hits[0]["scan"]["scan_id"] == "s3"
        assert hits[0]["score"] == pytest.approx(1, abs=1e-4)  # PNG in between: same pixels
        assert len(hits) == 9
        client.end_reembedding("kept", keep="old")
        assert client.collection("kept")["encoder_id"] == before["encoder_id"]
        client.wait(client.reembed("kept")["operation_id"])
        assert client.end_reembedding("kept", keep="new")["encoder_id"] == "enc_other"
        with pytest.raises(ApiError) as caught:
            client.reembedding("kept")
        assert caught.value.code == "unknown_item"


def test_a_reembedding_that_was_broken_off_goes_on_at_the_next_start(
    tmp_path: Path, frames
) -> None:
    with local_service(settings(tmp_path)) as local, Client(local.url, key=local.key) as client:
        client.create_collection("kept", keep_images=True)
        client.add_scans("kept", frames["cyst"][:4], [{"scan_id": f"s{n}"} for n in range(4)])
        owner, key = local.running().default_workspace_id, local.key
    catalog = open_catalog(tmp_path)
    other = OtherEncoder()
    catalog.begin_reembedding(owner, "kept", encoder_id=other.encoder_id, dim=other.dim)
    rows = [row_id for row_id, _ in catalog.images_to_embed(owner, "kept", limit=1)]
    marked_ND = np.eye(other.dim, dtype=np.float32)[:1]
    catalog.stage_vectors(owner, "kept", rows, marked_ND)
    request = {"collection": "kept", "encoder_id": other.encoder_id}
    left = catalog.create_operation(owner, "reembed", request)
    catalog.claim_operation("dead", lease_s=0, kinds={"reembed"})
    catalog.close()
    with (
        local_service(settings(tmp_path), encoder=other) as local,
        Client(local.url, key=key) as client,
    ):
        assert client.wait(left.operation_id)["state"] == "done"
        assert client.reembedding("kept")["embedded"] == 4
    catalog = open_catalog(tmp_path)
    found = all_vectors(catalog, owner, "kept")[1]
    catalog.close()
    np.testing.assert_array_equal(found[0], marked_ND[0])  # was not embedded again


def test_a_second_service_on_one_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with local_service(settings(tmp_path)):
        done = subprocess.run(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env={"SONOPROBE_DATA_DIR": str(tmp_path), "SONOPROBE_BUNDLE_DIR": str(BUNDLE)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert "another service uses this data folder: stop it first" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fit_that_is_cancelled_while_it_is_computed_is_thrown_away(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    owner = catalog.ensure_workspace("ours").workspace_id
    rng = np.random.default_rng(0)
    examples = [
        Example(rng.standard_normal(8).astype(np.float32), "ab"[n % 2], f"g{n}") for n in range(8)
    ]
    for example in examples:
        example.embedding_D[:] /= np.linalg.norm(example.embedding_D)

    def cancelled() -> None:
        raise Cancellation

    classifiers = ClassifierStore(catalog, encoder_id="e", dim=8, near_duplicate_cosine=0.9)
    named = [each._replace(sha256=f"{n:064d}") for n, each in enumerate(examples)]
    with pytest.raises(Cancellation):
        classifiers.fit(owner, "k", Examples.of(named), Author(), before_storing=cancelled)
    assert catalog.list_classifiers(owner, limit=1).items == ()
    classifiers.fit(owner, "k", Examples.of(named), Author())
    assert catalog.get_classifier(owner, "k").latest == 1
    catalog.close()
