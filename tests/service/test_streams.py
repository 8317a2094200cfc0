"""Live frames over a real WebSocket: answers, drops, refusals, limits, and hostile clients."""

import asyncio
import base64
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from service.api.permissions import OPEN
from service.api.streams.stream_route import PATH, StreamRoute
from service.app import create_app
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError, AsyncFrameStream, FrameStream, StreamClosed
from sonoprobe_client import PlainClient as Client
from sonoprobe_client.streams import BEARER, SUBPROTOCOL, frame_message
from tests.service.expected import BUNDLE, probabilities
from tests.service.raw_http import answer, connection, head

SIDE = 96
KINDS = ("blobs", "stripes")
PATIENCE_S = 30.0
HELLO = '{"type": "hello"}'


def picture(kind: str, scene: int, frame: int = 0) -> np.ndarray:
    """uint8 (H, W): bright blobs on black or fine stripes, which the small encoder tells apart."""
    rng = np.random.default_rng(scene)
    y, x = np.mgrid[:SIDE, :SIDE]
    if kind == "blobs":
        middles = rng.uniform(10, SIDE - 10, (6, 2))
        grey = 20 + sum(180 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 120) for u, v in middles)
    else:
        grey = 120 + 90 * np.sign(np.sin(rng.uniform(1.4, 1.7) * x + rng.uniform(0, 6)))
    noise = np.random.default_rng([scene, frame]).normal(0, 4, (SIDE, SIDE))
    return np.clip(grey + noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def fit(client: Client, name: str = "waves") -> None:
    images, examples = [], []
    for kind in KINDS:
        for n in range(12):
            images.append(png(picture(kind, n)))
            examples.append({"label": kind, "subject_id": f"{kind}-{n}"})
    client.fit_images(name, images, examples, fields={"views": False})


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("live"),
        bundle_dir=BUNDLE,
        drain_s=0,
        graceful_timeout_s=1,
        region="none",
        max_stream_frame_bytes=100_000,
        max_streams=5,
        max_streams_per_key=3,
        stream_origins="https://viewer.example.org",
    )
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(live: LocalService) -> Iterator[Client]:
    with Client(live.url, key=live.key) as found:
        fit(found)
        yield found


@pytest.fixture(autouse=True)
def left_places(live: LocalService) -> Iterator[None]:
    """The next test begins when the streams of this one have left their places."""
    yield
    deadline = time.monotonic() + PATIENCE_S
    while live.running().streams.total:
        assert time.monotonic() < deadline, "a stream has not left its place"
        time.sleep(0.005)


def stream(live: LocalService, **options: Any) -> FrameStream:
    return FrameStream(live.url, "waves", key=live.key, **options)


def test_every_websocket_route_says_what_it_needs() -> None:
    routes = [r for r in create_app(Settings()).routes if isinstance(r, WebSocketRoute)]
    assert [(r.path, r.scopes, r.limited) for r in routes] == [(PATH, ("predict",), "path")]
    with pytest.raises(TypeError, match="needs"):
        StreamRoute(PATH, dependencies=[OPEN])


def opened(live: LocalService, key: str | None = None, **more: Any) -> ClientConnection:
    """A WebSocket of the service, before its hello."""
    headers = {"Authorization": f"Bearer {key or live.key}"}
    address = live.url.replace("http", "ws") + "/v1/classifiers/waves/stream"
    return connect(address, additional_headers=headers, compression=None, **more)


def end_of(link: ClientConnection) -> tuple[int, str]:
    """Close code of a stream and the code of the problem that it said before."""
    said = ""
    try:
        while True:
            message = json.loads(link.recv(timeout=10))
            if message["type"] == "problem" and message["sequence"] is None:
                said = message["problem"]["code"]
    except ConnectionClosed as closed:
        return (0 if closed.rcvd is None else closed.rcvd.code), said


# answers --------------------------------------------------------------------------------------


def test_a_frame_is_answered_as_the_same_file_is_predicted(live, client) -> None:
    pixels = picture("blobs", 99)
    (item,) = client.predict("waves", [png(pixels)])["items"]
    for frame in (png(pixels), pixels, np.dstack([pixels] * 3)):
        with stream(live) as frames:
            frames.send(frame, time_s=0)
            decision = frames.receive()
        alone = {o["label"]: o["frame_probability"] for o in decision["outputs"]}
        assert alone == pytest.approx(probabilities(item), abs=1e-5)
        assert decision["frame"]["label"] == item["label"] == "blobs"
        assert (decision["sequence"], decision["dropped"]) == (0, 0)


def test_an_answer_is_given_when_it_has_stood_and_short_changes_do_not_touch_it(
    live, client
) -> None:
    with stream(live, max_fps=60) as frames:
        assert frames.ready["labels"] == list(KINDS)

        def said(kind: str, n: int) -> str | None:
            frames.send(picture(kind, 203, n), time_s=n / 10)
            decision = frames.receive()
            assert (decision["label"] is None) == (decision["decision"] == "abstained")
            return decision["label"]

        first = [said("blobs", n) for n in range(8)]
        assert first[0] is None
        assert first[-1] == "blobs"
        assert said("stripes", 8) == "blobs"
        assert [said("stripes", n) for n in range(9, 30)][-1] == "stripes"


def test_without_smoothing_each_frame_is_answered_alone(live, client) -> None:
    with stream(live, smoothing=False, fields=["frame"]) as frames:
        assert frames.ready["steadiness"] is None
        for n in range(6):
            kind = KINDS[n % 2]
            frames.send(picture(kind, 303, n), time_s=n / 10)
            decision = frames.receive()
            assert decision["label"] == decision["frame"]["label"]
            assert decision["effective_frames"] == 1
            assert "outputs" not in decision


def test_a_lifted_probe_ends_the_scene_and_its_answer(live, client) -> None:
    with stream(live) as frames:
        black = np.zeros((SIDE, SIDE), np.uint8)
        said = []
        for n in range(30):
            is_lifted = 10 <= n < 20
            frames.send(black if is_lifted else picture("blobs", 7, n), time_s=n / 10)
            said.append(frames.receive())
    assert said[9]["label"] == said[11]["label"] == "blobs"
    assert said[11]["frame"]["abstained"]["because"] == "blank"
    assert said[19]["abstained"]["because"] in ("blank", "frozen")
    assert "blank" in said[19]["quality"]
    assert said[20]["label"] is None
    assert (said[9]["scene"], said[29]["scene"], said[29]["label"]) == (1, 2, "blobs")


def test_a_client_can_say_that_another_patient_comes(live, client) -> None:
    with stream(live) as frames:
        for n in range(8):
            frames.send(picture("blobs", 7, n), time_s=n / 10)
            before = frames.receive()
        frames.reset()
        frames.send(picture("blobs", 7, 8), time_s=0.8)
        after = frames.receive()
    assert (before["label"], after["label"]) == ("blobs", None)
    assert after["abstained"]["because"] == "settling"
    assert (after["scene"], after["effective_frames"]) == (2, 1)


def test_a_frame_that_waits_while_another_patient_is_told_belongs_to_the_one_before(
    live, client
) -> None:
    with stream(live) as frames:
        for n in range(4):
            frames.send(picture("blobs", 7, n), time_s=n / 10)
            frames.receive()
        frames.send(picture("blobs", 7, 4), time_s=0.4)
        frames.send(picture("blobs", 7, 5), time_s=0.5)  # waits for its turn
        frames.reset()
        said = [frames.receive()]
        while said[-1]["sequence"] < 5:
            said.append(frames.receive())
        frames.send(picture("blobs", 7, 6), time_s=0.6)
        after = frames.receive()
    assert {answer["scene"] for answer in said} == {1}
    assert (after["scene"], after["effective_frames"]) == (2, 1)


def test_of_a_thousand_frames_at_once_the_newest_is_answered_and_the_rest_counted(
    live, client
) -> None:
    small = picture("blobs", 1)[:64, :64]
    with stream(live, fields=[]) as frames:
        for n in range(1000):
            frames.send(small + np.uint8(n % 7), time_s=n / 1000)
        answers = [frames.receive()]
        while answers[-1]["sequence"] < 999:
            answers.append(frames.receive())
    assert answers[-1]["dropped"] + len(answers) == 1000
    assert len(answers) < 500


def test_the_python_client_yields_the_answers_to_frames_as_they_come(live, client) -> None:
    pictures = [picture("stripes", n) for n in range(5)]
    with stream(live) as frames:
        answers = list(frames.decisions(pictures))
    assert answers[-1]["sequence"] == 4

    async def source():
        for frame in pictures:
            yield frame

    async def all_of_them():
        async with AsyncFrameStream(live.url, "waves", key=live.key) as frames:
            return [decision async for decision in frames.decisions(source())]

    assert asyncio.run(all_of_them())[-1]["sequence"] == 4


def test_a_frame_that_cannot_be_read_is_told_and_the_stream_goes_on(live, client) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**7))
    )
    good = png(picture("blobs", 3))
    codes = {
        bomb: "unsupported_format",
        good[:-300]: "corrupt_image",
        b"GIF89a" * 9: "unsupported_format",
    }
    with stream(live) as frames:
        for frame, code in codes.items():
            frames.send(frame)
            message = frames.receive()
            assert (message["type"], message["problem"]["code"]) == ("problem", code)
        frames.send(good)
        assert frames.receive()["sequence"] == len(codes)


# refusals before the stream opens ---------------------------------------------------------------


def test_a_key_among_the_subprotocols_is_the_key_and_is_not_repeated(live, client) -> None:
    secret = base64.urlsafe_b64encode(live.key.encode()).decode().rstrip("=")
    address = live.url.replace("http", "ws") + "/v1/classifiers/waves/stream"
    with connect(address, subprotocols=[SUBPROTOCOL, BEARER + secret]) as link:
        assert link.subprotocol == SUBPROTOCOL


def refusal(live: LocalService, **more: Any) -> tuple[int, str]:
    """Status and code of the problem in the place of a stream."""
    with pytest.raises(InvalidStatus) as caught, opened(live, **more):
        pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(response.body or b"")
    assert document["request_id"] == response.headers["x-request-id"]
    return response.status_code, document["code"]


def test_what_may_not_open_a_stream_gets_a_problem_before_it_opens(live, client) -> None:
    assert refusal(live, key="sp_wrong") == (401, "unauthenticated")
    auditor = client.create_key("auditor", roles=["auditor"])["secret"]
    assert refusal(live, key=auditor) == (403, "missing_scope")
    limited = client.create_key("limited", roles=["reader"], classifiers=["other-*"])["secret"]
    assert refusal(live, key=limited) == (404, "unknown_item")
    assert refusal(live, origin="https://evil.example.org") == (403, "origin_not_allowed")
    assert refusal(live, origin="null") == (403, "origin_not_allowed")
    assert refusal(live, subprotocols=["chat"]) == (422, "invalid_input")
    for origin in (live.url, "https://viewer.example.org"):
        with opened(live, origin=origin):
            pass
    with pytest.raises(ApiError, match="unknown_item"), FrameStream(live.url, "none", key=live.key):
        pass


def test_requests_for_websockets_that_are_none_are_refused_as_http(live) -> None:
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    path = "/v1/classifiers/waves/stream"
    for request, status in (
        (head("POST", path, *upgrade, key), 400),
        (head("GET", path, *upgrade), 400),
        (head("GET", path, *upgrade, key) + b"GET / HTTP/1.1\r\n", 400),
        (head("GET", path, *upgrade, key, f"Cookie: {'a' * 9000}"), 431),
        (head("GET", "/v1/none", *upgrade, key), 404),
        (head("GET", path, *upgrade, key), 401),
    ):
        with connection(live) as link:
            link.sendall(request)
            assert answer(link)[0] == status, request[:60]


def test_a_key_has_a_limited_number_of_streams(live, client) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(opened(live))
        assert refusal(live) == (429, "rate_limited")
        other = client.create_key("second", roles=["reader"])["secret"]
        for _ in range(2):
            held.enter_context(opened(live, key=other))
        third = client.create_key("third", roles=["reader"])["secret"]
        assert refusal(live, key=third) == (503, "overloaded")
        assert "sonoprobe_streams_open 5.0" in client.metrics()
    assert 'sonoprobe_limited_total{limit="streams"} 2.0' in client.metrics()


# ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["junk"], 4422),
        (['{"type": "hello", "versoin": 1}'], 4422),
        (['{"type": "hello", "coverage": 2}'], 4422),
        (['{"type": "hello", "region": "0,0,9999"}'], 4422),
        (['{"type": "hello", "version": "99"}'], 4404),
        ([b"\1\0"], 4422),
        ([HELLO, "x" * 20_000], 4422),
        ([HELLO, b"\2" + frame_message(b"a", 0, 0)[1:]], 4422),
        ([HELLO, struct.pack(">BBHHHId", 1, 1, 60_000, 60_000, 0, 0, 0.0) + b"a"], 4422),
        ([HELLO, struct.pack(">BBHHHId", 1, 2, 8, 8, 0, 0, 0.0) + b"a" * 64], 4422),
        ([HELLO, struct.pack(">BBHHHId", 1, 0, 0, 0, 0, 0, float("nan")) + b"a"], 4422),
        ([HELLO, frame_message(b"a", 5, 0), frame_message(b"a", 5, 0)], 4422),
        ([HELLO, frame_message(b"a", 5, 9), frame_message(b"a", 6, 8)], 4422),
        ([HELLO, frame_message(b"a" * 100_001, 0, 0)], 1009),
    ],
)
def test_a_message_that_breaks_the_protocol_ends_the_stream(live, client, messages, code) -> None:
    with opened(live) as link:
        for message in messages:
            link.send(message)
        assert end_of(link)[0] == code


def test_a_stream_ends_when_its_key_or_its_classifier_is_gone(live, client) -> None:
    fit(client, "doomed")
    made = client.create_key("short", roles=["reader"])
    revoked = FrameStream(live.url, "waves", key=made["secret"])
    deleted = FrameStream(live.url, "doomed", key=live.key)
    with revoked, deleted:
        client.revoke_key(made["key"]["key_id"])
        client.delete_classifier("doomed")
        with pytest.raises(ApiError, match="unauthenticated"):
            revoked.receive(timeout_s=10)
        with pytest.raises(ApiError, match="unknown_item"):
            deleted.receive(timeout_s=10)


def test_a_stream_follows_the_published_version(live, client) -> None:
    fit(client, "moving")
    with FrameStream(live.url, "moving", key=live.key) as frames:
        assert frames.ready["version"] == 1
        client.change_examples(
            "moving",
            {"examples": [{"label": "blobs"}], "publish": True},
            images=[png(picture("blobs", 50))],
        )
        assert frames.receive(timeout_s=10)["version"] == 2
    client.delete_classifier("moving")


@pytest.mark.slow  # the system's own buffers must be full first
def test_pings_whose_answers_nobody_reads_cost_the_connection(live, client) -> None:
    lines = (
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Authorization: Bearer {live.key}",
    )
    with connection(live) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(head("GET", "/v1/classifiers/waves/stream", *lines))
        assert answer(link)[0] == 101
        ping = b"\x89\xfd\0\0\0\0" + b"a" * 125
        with pytest.raises(OSError):
            flood(link, ping * 100)


def flood(link: socket.socket, data: bytes) -> None:
    for _ in range(2000):
        link.sendall(data)


def test_the_log_holds_the_opening_and_sums_and_the_monitor_one_answer_of_a_scene(
    live, client
) -> None:
    before = client.monitor("waves")["windows"][-1]["answers"]
    with stream(live) as frames:
        for n in range(20):
            frames.send(picture("blobs", 7, n), time_s=n / 5)
            last = frames.receive()
    counted = client.monitor("waves")["windows"][-1]["answers"] - before
    assert counted == 1
    assert last["label"] == "blobs"
    deadline = time.monotonic() + 10
    sums: list[dict[str, Any]] = []
    while not sums and time.monotonic() < deadline:
        entries = list(client.audit(action="stream_frames.frames"))
        sums = [
            e for e in entries if e["facts"].get("called", 0) + e["facts"].get("abstained", 0) == 20
        ]
    assert sums[0]["names"] == {"classifier": ["waves"]}
    assert any(e["status"] == 101 for e in client.audit(action="stream_frames"))
    frames_total = re.findall(r'stream_frames_total\{outcome="called"\} (.+)', client.metrics())
    assert float(frames_total[0]) > 0


def test_an_idle_stream_ends_and_a_stop_says_come_again(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, graceful_timeout_s=2, stream_idle_s=2
    )
    with local_service(settings) as local:
        with Client(local.url, key=local.key) as client:
            fit(client)
        with opened(local) as idle:
            idle.send(HELLO)
            assert end_of(idle) == (4408, "request_timeout")
        stopped = FrameStream(local.url, "waves", key=local.key).__enter__()
    with pytest.raises((StreamClosed, ApiError)) as caught:
        stopped.receive(timeout_s=5)
    if isinstance(caught.value, StreamClosed):
        assert caught.value.code == 1012
    else:
        assert caught.value.code == "stopping"
