"""Bulk ingest: parallel, in order, patient with a busy service, resumable, and with a report."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from service.cli.ingesting.ingest import ingest
from service.cli.ingesting.ingest_report import Report
from service.errors import InputError
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError, Client
from tests.service.expected import BUNDLE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("bulk"),
        bundle_dir=BUNDLE,
        drain_s=0,
        max_upload_bytes=60_000,
        max_queue=40,
    )
    with local_service(settings) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """150 small different pictures."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / f"{n:03d}.png" for n in range(150)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(file)
    return files


class Counting(httpx.HTTPTransport):
    """Real HTTP that counts uploads and the most requests at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads, self.now, self.most, self._lock = 0, 0, 0, threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.uploads += (request.method, request.url.path[-6:]) == ("POST", "/scans")
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            response = super().handle_request(request)
            response.read()
            return response
        finally:
            with self._lock:
                self.now -= 1


@pytest.fixture
def transport() -> Counting:
    return Counting()


@pytest.fixture
def client(quick: LocalService, transport: Counting) -> Iterator[Client]:
    with Client(quick.url, key=quick.key, transport=transport, retries=0) as found:
        found.create_collection("c")
        yield found
        found.delete_collection("c")


def rows(report: Path) -> list[dict[str, str]]:
    with report.open(newline="") as stream:
        if report.suffix == ".csv":
            return list(csv.DictReader(stream))
        return [json.loads(line) for line in stream]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_file_is_told_of_in_order_with_why_it_was_refused(
    client: Client, transport: Counting, images: list[Path], tmp_path: Path, suffix: str
) -> None:
    whole = images[10].read_bytes()
    images[10].write_bytes(whole[: len(whole) // 2])
    images[20].write_bytes(images[21].read_bytes())
    images[30].unlink()
    report = tmp_path / f"report{suffix}"
    seen: list[int] = []
    done = ingest(client, "c", images, workers=3, report=Report(report), on_done=seen.append)
    told = rows(report)
    assert [row["path"] for row in told] == [str(image) for image in images]
    assert sum(seen) == 150
    by_path = {Path(row["path"]).stem: row for row in told}
    assert (by_path["010"]["outcome"], by_path["010"]["code"]) == ("refused", "corrupt_image")
    assert (by_path["030"]["outcome"], by_path["030"]["detail"]) == (
        "unreadable",
        "FileNotFoundError",
    )
    assert {by_path["020"]["outcome"], by_path["021"]["outcome"]} == {"stored", "known"}
    assert (done.sent, done.known, len(done.problems)) == (147, 1, 2)
    assert client.collection("c").scans == 147
    first = by_path["000"]
    assert client.scan("c", first["scan_id"]).image.sha256 == first["sha256"]
    assert 1 < transport.most <= 3


def test_a_later_run_reads_only_what_is_not_settled_or_has_changed(
    client: Client, transport: Counting, images: list[Path], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    broken = images[3].read_bytes()
    images[3].write_bytes(broken[:60])
    assert len(ingest(client, "c", images, report=Report(report)).problems) == 1
    images[3].write_bytes(broken)
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(images[5])
    with report.open("a") as stream:
        stream.write("a line that was cut o")
    before = transport.uploads
    done = ingest(client, "c", images, report=Report(report))
    assert (done.sent, done.known, done.skipped, done.problems) == (2, 0, 148, ())
    assert transport.uploads == before + 1
    assert ingest(client, "c", images, report=Report(report)).skipped == 150


def test_a_request_that_is_too_large_is_halved_until_the_file_is_found(
    client: Client, images: list[Path]
) -> None:
    rng = np.random.default_rng(6)
    Image.fromarray(rng.integers(0, 256, (300, 300), np.uint8)).save(images[7])
    assert images[7].stat().st_size > 60_000
    done = ingest(client, "c", images)
    assert done.sent == 149
    ((path, why),) = done.problems
    assert path == images[7]
    assert why.startswith("upload_too_large")


def test_a_busy_service_and_a_proxy_whose_replica_died_are_asked_again_after_a_pause(
    quick: LocalService, client: Client, images: list[Path]
) -> None:
    busy = [502, 503]

    class Busy(Counting):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/scans") and busy:
                status = busy.pop()
                if status == 502:
                    return httpx.Response(502, text="<h1>502 Bad Gateway</h1>")
                problem = {"status": status, "code": "overloaded"}
                return httpx.Response(503, json=problem, headers={"Retry-After": "1"})
            return super().handle_request(request)

    with Client(quick.url, key=quick.key, transport=Busy(), retries=0) as patient:
        done = ingest(patient, "c", images[:40], workers=1)
    assert (done.sent, busy) == (40, [])
    assert client.collection("c").scans == 40


def test_a_collection_that_is_not_there_stops_the_whole_run(
    client: Client, images: list[Path]
) -> None:
    with pytest.raises(ApiError) as caught:
        ingest(client, "none", images)
    assert caught.value.code == "unknown_item"


@pytest.mark.parametrize("name", ["report.txt", "report"])
def test_a_report_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.csv or \.jsonl"):
        Report(tmp_path / name)


def test_wrong_numbers_are_refused(client: Client, images: list[Path]) -> None:
    with pytest.raises(InputError):
        ingest(client, "c", images, [{}])
    with pytest.raises(InputError):
        ingest(client, "c", images, workers=0)


def test_a_killed_ingest_goes_on_from_its_report_and_stores_nothing_twice(
    quick: LocalService, client: Client, images: list[Path], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    words = ["ingest", str(images[0].parent), "--collection", "c", "--report", str(report)]
    words += ["--url", quick.url, "--workers", "1"]
    environment = os.environ | {"SONOPROBE_KEY": quick.key}
    command = [sys.executable, "-m", "service", *words]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and (not report.exists() or len(rows(report)) < 32):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    settled = len(rows(report))
    done = ingest(client, "c", images, folder=images[0].parent, report=Report(report))
    assert done.skipped == settled >= 32
    assert done.skipped + done.sent + done.known == 150
    assert client.collection("c").scans == 150
    assert {row["path"] for row in rows(report)} == {image.name for image in images}
