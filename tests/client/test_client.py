"""The client against a real service: images of every kind, batches, typed answers, both ways."""

import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from PIL import Image as PillowImage

from service.server import LocalService
from sonoprobe_client import (
    ApiError,
    AsyncClient,
    Busy,
    ChangedSince,
    Client,
    Conflict,
    ItemsError,
    NoAnswer,
    NotFound,
    NotSignedIn,
    OperationFailed,
    Refused,
    outcome_of,
)
from tests.client.pictures import frame, png


def test_every_kind_of_image_is_the_same_scan(client: Client, tmp_path: Path) -> None:
    grey = frame(90)
    file = tmp_path / "SMITH.png"
    file.write_bytes(png(90))
    with file.open("rb") as opened:
        images = [str(file), file, opened, png(90), bytearray(png(90)), grey]
        answer = client.embed([*images, PillowImage.fromarray(grey), np.stack([grey] * 3, axis=2)])
    assert answer.dim > 0
    digests = {i.image.content_sha256 for i in answer.raise_for_items() if i.image is not None}
    assert len(digests) == 1


def test_one_image_is_not_taken_for_many(client: Client) -> None:
    with pytest.raises(TypeError, match="list of images"):
        client.embed("frame.png")  # type: ignore[arg-type]
    colour = np.stack([frame(1)] * 3, axis=2)
    for one in (png(1), io.BytesIO(png(1)), memoryview(png(1)), frame(1), colour):
        with pytest.raises(TypeError, match="list of images"):
            client.embed(one)  # type: ignore[arg-type]
    assert len(client.embed(np.stack([frame(1), frame(2)])).items) == 2
    with pytest.raises(ValueError, match="uint8"):
        client.embed([frame(1).astype(float)])
    with pytest.raises(ValueError, match="found 1 for 2 images"):
        client.add_scans("any", [png(1), png(2)], [{}])


def test_more_images_than_a_request_may_hold_come_back_in_order(client: Client) -> None:
    steps: list[tuple[int, int | None]] = []
    single = [client.embed([png(n)]).items[0].embedding for n in range(12)]
    together = client.embed(
        [png(n) for n in range(12)], on_progress=lambda *step: steps.append(step)
    )
    assert [item.embedding for item in together.items] == single
    assert steps[-1] == (12, 12)
    assert max(b - a for (a, _), (b, _) in zip([(0, 0), *steps], steps, strict=False)) <= 5


def test_a_generator_is_read_as_it_is_sent(client: Client) -> None:
    totals: set[int | None] = set()
    answer = client.embed((png(n) for n in range(3)), on_progress=lambda _, all_: totals.add(all_))
    assert len(answer.raise_for_items()) == 3
    assert totals == {None}


def test_each_refused_image_keeps_its_place(client: Client) -> None:
    client.create_collection("mixed")
    images = [png(1), b"no image", png(2), *[b"none"] * 3, png(3), bytes(300_000)]
    answer = client.add_scans("mixed", images, max_files=1)
    assert [item.problem is None for item in answer.items] == [
        *(True, False, True, False, False, False, True, False)
    ]
    with pytest.raises(ItemsError, match="5 of 8 items failed") as failure:
        answer.raise_for_items()
    assert set(failure.value.failed) == {1, 3, 4, 5, 7}
    assert failure.value.failed[1]["code"] == "unsupported_format"


def test_a_request_whose_every_image_is_refused_costs_no_other_its_answer(client: Client) -> None:
    client.create_collection("given-ids")
    client.add_scans("given-ids", [png(1)], [{"scan_id": "a"}])
    answer = client.add_scans(
        "given-ids", [png(2), png(3)], [{"scan_id": "b"}, {"scan_id": "a"}], max_files=1
    )
    problems = [item.problem and item.problem.code for item in answer.items]
    assert problems == [None, "name_taken"]
    client.create_collection("whole")
    client.replace_policy({"intake": {"refuse_whole_frames": True}})
    try:
        with pytest.raises(Refused) as caught:  # every image failed: the first problem of them
            client.add_scans("whole", [b"no image", png(4)], max_files=1, region="none")
    finally:
        client.replace_policy({})
    assert caught.value.code == "unsupported_format"


def test_an_upload_that_is_sent_again_stores_nothing_twice(client: Client) -> None:
    client.create_collection("again")
    for is_new in (True, False):
        answer = client.add_scans("again", [png(n) for n in range(7)])
        assert [item.created for item in answer.raise_for_items()] == [is_new] * 7
    assert client.collection("again").scans == 7


def test_answers_are_typed_and_documents_are_as_sent(client: Client, ward: str) -> None:
    answer = client.predict("ward", [png(n) for n in range(7)])
    assert {item.decision for item in answer.raise_for_items()} <= {"called", "abstained"}
    assert answer.version == 1
    raw = client.request("GET", "/v1/classifiers/ward").json()
    assert client.classifier("ward").document() == raw
    assert [scan.scan_id for scan in client.scans("ward")] == [f"s{n}" for n in range(12)]
    assert client.label("ward", "s1", "t", "a").labels == {"t": "a"}
    assert client.label("ward", "s1", "t", "b").labels == {"t": "b"}
    outcome = outcome_of(answer, answer.raise_for_items()[0], ["a"], patient="p1")
    assert client.put_outcomes("ward", [outcome]).recorded == 1


def test_a_version_answers_all_of_a_large_prediction(client: Client, ward: str) -> None:
    versions = []
    with Client(str(client._http.base_url), transport=Spy(versions.append)) as spied:
        spied._http.headers.update(client._http.headers)
        spied.predict("ward", [png(n) for n in range(8)])
    assert versions[-1] == "1"


class Spy(httpx.HTTPTransport):
    """Tells the version that each request asks for."""

    def __init__(self, tell: Callable[[str | None], None]) -> None:
        super().__init__()
        self._tell = tell

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._tell(request.url.params.get("version"))
        return super().handle_request(request)


def test_refusals_have_a_kind(client: Client, tiny: LocalService) -> None:
    with pytest.raises(NotFound) as refusal:
        client.collection("nowhere")
    assert refusal.value.code == "unknown_item"
    assert refusal.value.request_id
    client.create_collection("taken")
    with pytest.raises(Conflict):
        client.create_collection("taken")
    with pytest.raises(ChangedSince):
        client.delete_collection("taken", if_match='"99"')
    with Client(tiny.url, key=lambda: "sp_unknown") as stranger, pytest.raises(NotSignedIn):
        next(stranger.collections())
    with Client("http://127.0.0.1:9", retries=0) as nobody, pytest.raises(NoAnswer):
        nobody.live()


def test_an_operation_is_waited_for(client: Client, ward: str) -> None:
    operation = client.fit({"name": "later", "collection": "ward", "task": "t"}, respond_async=True)
    done = client.wait(operation.operation_id, timeout_s=60)
    assert done.state == "done"
    wrong = client.fit({"name": "wrong", "collection": "ward", "task": "no"}, respond_async=True)
    with pytest.raises(OperationFailed, match="fit failed"):
        client.wait(wrong.operation_id, timeout_s=60)


def test_both_clients_say_the_same(client: Client, tiny: LocalService, ward: str) -> None:
    async def asked() -> dict[str, Any]:
        async with AsyncClient(tiny.url, key=tiny.key) as other:
            prediction = await other.predict("ward", [frame(n) for n in range(7)])
            scans = [scan.scan_id async for scan in other.scans("ward")]
            return {"items": prediction.document()["items"], "scans": scans}

    prediction = client.predict("ward", [frame(n) for n in range(7)]).document()
    said = {"items": prediction["items"], "scans": [s.scan_id for s in client.scans("ward")]}
    assert without_ids(anyio.run(asked)) == without_ids(said)


def without_ids(said: dict[str, Any]) -> str:
    for item in said["items"]:
        del item["prediction_id"]
    return json.dumps(said)


class Flaky(httpx.BaseTransport):
    """Declines, or breaks the connection, as often as it is told; then the service answers."""

    def __init__(self, *failures: int | Exception) -> None:
        self.failures = list(failures)
        self.keys: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("Idempotency-Key"))
        if not self.failures:
            return httpx.Response(200, json={"items": [], "next_cursor": None, "status": "live"})
        failure = self.failures.pop(0)
        if isinstance(failure, Exception):
            raise failure
        problem = {"code": "overloaded", "status": failure, "detail": "later"}
        return httpx.Response(failure, json=problem, headers={"Retry-After": "0"})


def test_what_the_service_declines_is_sent_again() -> None:
    flaky = Flaky(503, 429)
    with Client("http://service", transport=flaky) as client:
        client.request("POST", "/v1/search")
    assert len(flaky.keys) == 3
    declined = Client("http://service", transport=Flaky(503, 503), retries=1)
    with declined as client, pytest.raises(Busy) as busy:
        client.request("GET", "/v1/keys")
    assert busy.value.retry_after_s == 0


@pytest.mark.parametrize(
    ("status", "page"),
    [
        *((status, page) for status in (200, 302, 502) for page in ("<h1>Sign in</h1>", "[]", "")),
        (502, '{"code": 502, "status": "Bad Gateway"}'),
    ],
)
def test_the_page_of_a_proxy_is_no_answer_of_the_service(status: int, page: str) -> None:
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            with Client(address) as client, pytest.raises(ApiError) as caught:
                client.classifier("finding")
        finally:
            server.shutdown()
    assert (caught.value.code, caught.value.status) == ("not_a_problem_document", status)


def test_after_a_broken_connection_only_what_cannot_happen_twice_is_sent_again() -> None:
    broken = httpx.ReadError("broken")
    with Client("http://service", transport=(flaky := Flaky(broken, broken))) as client:
        assert list(client.collections()) == []
    assert len(flaky.keys) == 3
    with Client("http://service", transport=(flaky := Flaky(broken))) as client:
        client.request("POST", "/v1/collections", headers={"Idempotency-Key": "k"})
    assert flaky.keys == ["k", "k"]
    with Client("http://service", transport=Flaky(broken)) as client, pytest.raises(NoAnswer):
        client.request("POST", "/v1/search")


def test_fields_of_a_later_service_are_kept() -> None:
    class Later(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json={"status": "live", "version": "9", "new": [1]})

    with Client("http://service", transport=Later()) as client:
        assert client.live().model_extra == {"new": [1]}
