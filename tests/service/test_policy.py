"""The policy of a workspace: what no client can store, whichever way it tries."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from service.access.policy_store import PolicyStore
from service.access.pseudonyms import read_pseudonyms, write_key
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.cli.main import app
from service.errors import PolicyRefused, PseudonymKeyMissing
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    write_key(folder / "default.key")
    return folder


@pytest.fixture
def catalog(tmp_path) -> Iterator[SqliteCatalog]:
    catalog = open_catalog(tmp_path / "data")
    yield catalog
    catalog.close()


def store_of(catalog, keys: Path | None) -> PolicyStore:
    return PolicyStore(catalog, key_limits={}, workspace_limits={}, pseudonym_keys=keys)


PSEUDONYMS = {"intake": {"pseudonyms": True}}


def test_pseudonyms_need_a_key_before_they_are_demanded(catalog, tmp_path):
    ours = catalog.ensure_workspace("default").workspace_id
    for keys in (None, tmp_path):
        with pytest.raises(PolicyRefused):
            store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    assert catalog.policy(ours).version == 0


def test_an_id_has_the_pseudonym_that_the_command_line_gives_it(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    policy = store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    made = read_pseudonyms(keys / "default.key")
    ids = policy.rules.pseudonyms
    assert ids is not None
    assert ids.subject("4711") == made.subject("4711")
    assert ids.study("1.2.3") == made.study("1.2.3")
    assert ids.subject(ids.subject("4711")) == ids.subject("4711")
    foreign = "p-000000-" + 32 * "0"
    assert ids.subject(foreign) not in (foreign, ids.subject("4711"))


def test_without_its_key_a_workspace_takes_no_ids(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    store_of(catalog, keys).replace(ours, PSEUDONYMS, if_version=None)
    (keys / "default.key").unlink()
    fresh = store_of(catalog, keys).current(ours)
    assert fresh.rules.pseudonyms is not None
    with pytest.raises(PseudonymKeyMissing):
        fresh.rules.pseudonyms.subject("4711")
    write_key(keys / "default.key")  # another key: another pseudonym for every patient
    with pytest.raises(PseudonymKeyMissing):
        fresh.rules.pseudonyms.subject("4711")


def test_another_process_sees_a_changed_policy_at_once(catalog, keys):
    ours = catalog.ensure_workspace("default").workspace_id
    here, there = store_of(catalog, keys), store_of(catalog, keys)
    assert there.current(ours).limits == {}
    here.replace(ours, {"limits": {"scans": 5}}, if_version=0)
    assert there.current(ours).limits == {"scans": 5}
    here.grant(ours, {"scans": 3})
    assert there.current(ours).limits == {"scans": 3}


# of a running service ---------------------------------------------------------------------------

GIVEN, BEFORE, STUDY = "4711-Meier", "0815-Schulz", "1.2.840.99"
REFUSED = (422, "policy_refused")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "keys").mkdir()
    write_key(folder / "keys" / "default.key")
    settings = Settings(
        data_dir=folder / "data",
        bundle_dir=BUNDLE,
        drain_s=0,
        pseudonym_key_dir=folder / "keys",
        exchange_dir=folder / "exchange",
    )
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def made(local) -> str:
    """The pseudonym of ``GIVEN``."""
    under = read_pseudonyms(local.running().settings.pseudonym_key_dir / "default.key")
    return under.subject(GIVEN) or ""


@pytest.fixture(scope="module")
def client(local, frames, made) -> Iterator[Client]:
    """Of a workspace with one scan of before its policy, and one patient sent in three ways."""
    with Client(local.url, key=local.key) as client:
        client.create_collection("c")
        images = frames["cyst"]
        client.add_scans("c", images[:1], [{"scan_id": "old", "subject_id": BEFORE}])
        answer = client.replace_policy(PSEUDONYMS, if_match='"0"')
        assert answer["unfit"] == {"pseudonyms": 1}
        facts = {"subject_id": GIVEN, "study_id": STUDY, "labels": {"t": "a"}, "scan_id": "s1"}
        client.add_scans("c", images[1:2], [facts])
        client.add_scans("c", images[2:3], [{"scan_id": "s2", "subject_id": made}])
        client.request(
            "POST",
            "/v1/collections/c/scans",
            content=frames["stone"][0],
            params={"scan_id": "s3", "subject_id": GIVEN, "study_id": STUDY},
            headers={"Content-Type": "image/png"},
        )
        yield client


def ids(items) -> set[str]:
    return {item.get("scan", item)["scan_id"] for item in items}


def status_of(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, error.value.code


def test_every_route_that_takes_an_id_means_the_same_patient(client, frames, made):
    images, ours = frames["cyst"], {"s1", "s2", "s3"}
    assert ids(client.scans("c", subject_id=GIVEN)) == ours
    assert ids(client.scans("c", subject_id=made)) == ours
    assert ids(client.scans("c", study_id=STUDY)) == {"s1", "s3"}
    (old,) = client.scans("c", subject_id=BEFORE)
    assert old["subject_id"] == BEFORE
    for options in (
        {"filter": {"not": {"subject_id": GIVEN}}},
        {"filter": {"not_subject_id": [GIVEN]}},
        {"exclude_same": "subject", "subject_id": GIVEN},
    ):
        assert ids(client.search_image("c", images[1], options)["items"]) == {"old"}
    options = {"exclude_same": "subject", "subject_id": BEFORE}
    assert ids(client.search_image("c", images[0], options)["items"]) == ours
    held = client.subject(GIVEN)
    assert (held["subject_id"], held["scans"]) == (made, 3)
    assert client.subject(BEFORE)["scans"] == 1


def test_a_changed_id_becomes_a_pseudonym_too(client, made):
    path = "/v1/collections/c/scans/s2"
    assert client.request("PATCH", path, json={"subject_id": GIVEN}).json()["subject_id"] == made


def test_uploaded_examples_are_kept_and_compared_under_pseudonyms(client, frames):
    examples = [
        {"label": label, "subject_id": f"{label}-patient-{n}", "study_id": f"{STUDY}.{label}{n}"}
        for label in ("cyst", "stone")
        for n in range(3)
    ]
    client.fit_images("k", [*frames["cyst"][:3], *frames["stone"][:3]], examples)
    assert client.subject("cyst-patient-1")["classifiers"][0]["uploads"] == 1
    known = {"examples": [{"label": "cyst", "subject_id": "cyst-patient-1"}]}
    with pytest.raises(ApiError) as refused:
        client.evaluate("k", known, images=frames["cyst"][4:5])
    assert {item["reason"] for item in refused.value.problem["refused"]} == {"same_subject"}


def test_nothing_that_is_stored_has_an_id_as_it_was_given(client, local, made):
    folder = local.running().settings.data_dir
    stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert made.encode() in stored
    for given in (GIVEN, STUDY, "cyst-patient-1"):
        assert given.encode() not in stored


def test_a_fit_with_a_filter_stores_no_id_as_it_was_given(client, local):
    body = {"name": "f", "collection": "c", "task": "t", "filter": {"subject_id": GIVEN}}
    ended = client.wait(client.fit(body, respond_async=True)["operation_id"])
    assert ended["state"] == "failed"  # of one class; what is written on the way matters here
    folder = local.running().settings.data_dir
    stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert GIVEN.encode() not in stored


def test_an_import_gives_old_ids_pseudonyms_and_leaves_erased_patients_out(client, made):
    client.wait(client.export_collection("c", "out")["operation_id"])
    done = client.wait(client.import_collection("back", "out")["operation_id"])
    assert (done["state"], done["result"]["stored"]) == ("done", 4), done
    imported = {scan["scan_id"]: scan["subject_id"] for scan in client.scans("back")}
    assert imported["s1"] == made
    assert imported["old"] not in (BEFORE, made)
    receipt = client.erase_subject(BEFORE)
    assert len(receipt["scans"]) == 2  # under the id as it was given, and under its pseudonym
    again = client.wait(client.import_collection("again", "out")["operation_id"])
    assert (again["result"]["stored"], again["result"]["erased"]) == (3, 1)


def test_a_repeated_request_of_before_the_policy_is_a_new_one(client, frames):
    image, facts = frames["stone"][1:2], [{"subject_id": "Lehmann"}]
    client.replace_policy({})
    first = client.add_scans("c", image, facts, idempotency_key="k1")
    client.replace_policy(PSEUDONYMS)
    second = client.add_scans("c", image, facts, idempotency_key="k1")
    found = [answer["items"][0]["scan"]["subject_id"] for answer in (first, second)]
    assert found[0] == "Lehmann"
    assert found[1].startswith("p-")


def test_a_patient_of_before_the_policy_is_one_patient(client, frames):
    """Three patients per class, each with a scan from before the policy and one after it."""
    client.create_collection("mixed")
    images = {label: iter(frames[label]) for label in ("cyst", "stone")}
    for policy in ({}, PSEUDONYMS):
        client.replace_policy(policy)
        for label, files in images.items():
            facts = [{"subject_id": f"mixed-{label}-{n}", "labels": {"t": label}} for n in range(3)]
            client.add_scans("mixed", [next(files) for _ in facts], facts)
    assert client.collection("mixed")["scans"] == 12
    report = client.fit({"name": "m", "collection": "mixed", "task": "t"})["report"]
    assert (report["examples"], report["groups"]) == (12, 6)
    before = [s for s in client.scans("mixed") if s["subject_id"] == "mixed-cyst-0"]
    query = {"scan_id": before[0]["scan_id"], "exclude_same": "subject"}
    found = client.search("mixed", {**query, "k": 12})["items"]
    assert len(found) == 10  # neither of the two scans of the patient
    done = client.wait(client.pseudonymize()["operation_id"])
    assert done["state"] == "done", done
    assert done["result"]["scans"] >= 6
    patients = [scan["subject_id"] for scan in client.scans("mixed")]
    assert len(set(patients)) == 6
    assert not [patient for patient in patients if patient.startswith("mixed-")]
    groups = {e["group"] for e in client.version_examples("m", 1)}
    assert len(groups) == 6
    receipt = client.erase_subject("mixed-cyst-0")
    assert (len(receipt["scans"]), receipt["classifiers"]) == (2, ["m"])
    written = {entry["action"] for entry in client.audit() if "pseudonymize" in entry["action"]}
    assert written == {"pseudonymize", "operation.pseudonymize"}


def test_a_file_that_the_policy_refuses_is_refused_by_every_way_in(client, frames, screen):
    client.create_collection("strict")
    client.replace_policy({"intake": {"refuse_whole_frames": True, "refuse_burned_in": "high"}})
    with pytest.raises(ApiError) as whole:
        client.add_scans("strict", frames["cyst"][:1], region="none")
    with pytest.raises(ApiError) as box:
        client.add_scans("strict", [screen], region="0,0,640,480")
    with pytest.raises(ApiError) as fit:
        client.fit_images("bad", [screen, screen], [{"label": "a"}, {"label": "b"}])
    assert [status_of(error) for error in (whole, box, fit)] == [REFUSED] * 3
    assert client.collection("strict")["scans"] == 0
    # A search stores nothing.
    assert client.search_image("c", frames["cyst"][0], {"region": "none"})["items"]


def test_an_import_leaves_out_what_the_policy_refuses(client, frames):
    client.replace_policy({})
    client.create_collection("lax")
    client.add_scans("lax", frames["cyst"][:2], region="none")
    client.add_scans("lax", frames["stone"][:1])
    client.wait(client.export_collection("lax", "lax")["operation_id"])
    answer = client.replace_policy({"intake": {"refuse_whole_frames": True}})
    assert answer["unfit"]["whole_frames"] >= 2
    done = client.wait(client.import_collection("strict", "lax")["operation_id"])
    assert (done["result"]["refused"], done["result"]["stored"]) == (2, 1), done


def test_a_workspace_that_keeps_no_images_has_no_collection_that_does(client):
    client.replace_policy({"intake": {"refuse_kept_images": True}})
    with pytest.raises(ApiError) as new:
        client.create_collection("kept", keep_images=True)
    with pytest.raises(ApiError) as changed:
        client.request("PATCH", "/v1/collections/c", json={"keep_images": True})
    assert [status_of(new), status_of(changed)] == [REFUSED, REFUSED]
    assert new.value.problem["rule"] == "refuse_kept_images"


def test_a_policy_is_replaced_as_a_whole_and_guarded_by_its_etag(client):
    limits = {"limits": {"scans": 1000}, "each_key": {"requests_per_minute": 5000}}
    answer = client.replace_policy(limits)
    assert answer["in_force"] == {"scans": 1000}
    assert answer["in_force_each_key"] == {"requests_per_minute": 5000}
    assert not answer["intake"]["refuse_kept_images"]
    with pytest.raises(ApiError) as stale:
        client.replace_policy({}, if_match='"1"')
    with pytest.raises(ApiError) as wrong:
        client.replace_policy({"limits": {"scans": -1}})
    assert (stale.value.status, wrong.value.status) == (412, 422)
    assert client.policy()["etag"] == answer["etag"]


@pytest.fixture(scope="module")
def screen() -> bytes:
    """A frame full of writing, and no scan."""
    picture = Image.new("L", (640, 480), 90)
    draw = ImageDraw.Draw(picture)
    for row in range(10):
        draw.text((20, 30 + 40 * row), "MEIER, ANNA 12.03.1961 HOSPITAL", 255, font_size=28)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def test_the_operator_shows_sets_and_grants_from_the_command_line(tmp_path, monkeypatch, keys):
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "cli"))
    monkeypatch.setenv("SONOPROBE_BUNDLE_DIR", str(BUNDLE))
    monkeypatch.setenv("SONOPROBE_PSEUDONYM_KEY_DIR", str(keys))
    monkeypatch.setenv("SONOPROBE_WORKSPACE_LIMITS", '{"scans": 10, "collections": 4}')
    wanted = tmp_path / "policy.json"
    wanted.write_text('{"intake": {"pseudonyms": true}, "limits": {"collections": 2}}')

    def run(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["policy", *words])
        assert result.exit_code == 0, result.output
        shown: dict[str, Any] = json.loads(result.stdout)
        return shown

    assert run("show")["in_force"] == {"scans": 10, "collections": 4}
    shown = run("set", str(wanted))
    assert shown["intake"]["pseudonyms"]
    assert shown["intake"]["pseudonym_key"] == read_pseudonyms(keys / "default.key").key_name
    assert run("grant", "scans=99", "collections=50")["in_force"] == {"scans": 99, "collections": 2}
    assert run("grant")["in_force"] == {"scans": 10, "collections": 2}
    assert run("show")["stored"]["scans"] == 0
    assert run("pseudonymize", "--json") == {"ids": 0, "scans": 0, "examples": 0, "left": 0}
    assert CliRunner().invoke(app, ["policy", "grant", "scans=many"]).exit_code == 1
    wanted.write_text('{"intake": {"pseudonym": true}}')
    refused = CliRunner().invoke(app, ["policy", "set", str(wanted)])
    assert refused.exit_code == 1
    assert "intake: expected only pseudonyms" in refused.output
