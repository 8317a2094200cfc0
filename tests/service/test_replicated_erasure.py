"""An erasure over HTTP on one of two services that share a real PostgreSQL."""

import time

import httpx
import psycopg
import pytest
from postgres_process import SERVICE_ROLE, postgres_process

from service.catalog.postgres.postgres_schema import migrate
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

pytestmark = pytest.mark.postgres
PATIENCE_S = 90.0


def metric(local, name):
    lines = httpx.get(f"{local.url}/metrics", timeout=10).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def owed(server, database):
    with psycopg.connect(server.url(database)) as connection:
        return connection.execute("SELECT count(*) FROM vacuums_owed").fetchone()[0]


def test_an_erased_patient_is_gone_on_the_other_service_and_then_from_the_tables(frames, tmp_path):
    frame = next(iter(frames.values()))[0]
    with postgres_process() as server:
        name = server.create_database()
        migrate(server.url(name), service_role=SERVICE_ROLE)
        settings = Settings(
            catalog=server.url(name, role=SERVICE_ROLE),
            data_dir=tmp_path / "none",
            bundle_dir=BUNDLE,
            drain_s=0,
        )
        with local_service(settings) as one, local_service(settings) as other:
            with Client(one.url, key=one.key) as ours, Client(other.url, key=one.key) as theirs:
                ours.create_collection("c")
                added = ours.add_scans("c", [frame], [{"subject_id": "p1"}])["items"][0]["scan"]
                assert theirs.scan("c", added["scan_id"])["subject_id"] == "p1"
                assert theirs.search_image("c", frame)["items"]
                ours.erase_subject("p1")
                assert theirs.search_image("c", frame)["items"] == []
                with pytest.raises(ApiError) as caught:
                    theirs.scan("c", added["scan_id"])
                assert caught.value.status == 404
            deadline = time.monotonic() + PATIENCE_S
            while owed(server, name):
                assert time.monotonic() < deadline, "no service vacuumed"
                time.sleep(0.1)
            assert metric(one, "sonoprobe_erasures_unvacuumed") == 0
