"""Before the key nothing is read, and nobody holds connections against others."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from service.access.failed_keys import FailedKeys, network_of
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, refused
from tests.service.raw_http import (
    answer,
    ask,
    connected,
    connection,
    head,
    rest,
    wait_until_reset,
)
from tests.service.test_errors import held_encoder

OTHER = "127.0.0.2"
LIVE = head("GET", "/health/live")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that waits for nobody and has few connections."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("hasty"),
        bundle_dir=BUNDLE,
        drain_s=0,
        graceful_timeout_s=1,
        header_timeout_s=0.4,
        body_timeout_s=0.4,
        send_timeout_s=0.4,
        keep_alive_s=0.4,
        min_rate_bytes_s=1_000_000,
        max_connections=40,
        max_connections_per_address=20,
        max_failed_keys=3,
    )
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that drops nobody for being slow, with few connections."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("patient"),
        bundle_dir=BUNDLE,
        drain_s=0,
        graceful_timeout_s=1,
        max_connections=40,
        max_connections_per_address=20,
    )
    with local_service(settings) as running:
        yield running


def authorized(local: LocalService, method: str, path: str, *lines: str) -> bytes:
    return head(method, path, f"Authorization: Bearer {local.key}", *lines)


# time -----------------------------------------------------------------------------------------


def test_headers_that_do_not_end_are_answered_with_408(hasty: LocalService) -> None:
    with connection(hasty) as link:
        link.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        status, _, body = answer(link)
        assert (status, b'"request_timeout"' in body) == (408, True)
        assert rest(link) == b""


def test_a_connection_without_a_byte_is_closed_without_a_byte(hasty: LocalService) -> None:
    with connection(hasty) as link:
        assert rest(link) == b""


def test_empty_lines_before_a_request_do_not_prolong_its_time(hasty: LocalService) -> None:
    with connection(hasty) as link:
        link.sendall(b"\r\n\r\n")
        assert answer(link)[0] == 408


def test_an_idle_connection_is_closed(hasty: LocalService) -> None:
    with connection(hasty) as link:
        link.sendall(LIVE)
        assert answer(link)[0] == 200
        assert rest(link) == b""


def test_a_body_that_stops_is_answered_with_408(hasty: LocalService) -> None:
    json_body = ("Content-Type: application/json", "Content-Length: 1000")
    for path in ("/v1/collections", "/v1/embeddings"):
        with connection(hasty) as link:
            link.sendall(authorized(hasty, "POST", path, *json_body) + b'{"name"')
            status, headers, body = answer(link)
            assert (status, b'"request_timeout"' in body) == (408, True)
            assert headers["connection"] == "close"
            assert rest(link) == b""


def test_a_body_that_trickles_is_too_slow_although_it_never_stops(hasty: LocalService) -> None:
    with connection(hasty) as link:
        link.sendall(authorized(hasty, "POST", "/v1/embeddings", "Content-Length: 1000000"))
        link.settimeout(0.05)
        received = b""
        while not received:
            link.sendall(b"x")
            try:
                received = link.recv(100)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_its_answer_is_given_up(hasty: LocalService) -> None:
    with connection(hasty) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(head("GET", "/docs/swagger-ui-bundle.js") * 8)
        wait_until_reset(link)


# before the key -------------------------------------------------------------------------------


def test_no_route_asks_for_a_body_before_it_knows_the_caller(patient: LocalService) -> None:
    with Client(patient.url) as client:
        paths = client.request("GET", "/openapi.json").json()["paths"]
    routes = [(m.upper(), p) for p, methods in paths.items() for m in methods if "/v1/" in p]
    assert len(routes) > 40
    expected = ("Content-Type: application/json", "Content-Length: 9", "Expect: 100-continue")
    chunked = ("Content-Type: image/png", "Transfer-Encoding: chunked", "Expect: 100-continue")
    for number, (method, path) in enumerate(routes):
        body = (expected, chunked)[number % 2]
        assert ask(patient, head(method, path, *body))[0] == 401, (method, path)
    assert ask(patient, head("POST", "/none", *expected))[0] == 404
    assert ask(patient, head("PUT", "/v1/collections", *expected))[0] == 405


def test_a_known_caller_is_asked_for_its_body(patient: LocalService) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
    with connection(patient) as link:
        link.sendall(authorized(patient, "POST", "/v1/collections", *lines))
        assert answer(link)[0] == 100
        link.sendall(b"{}")
        assert answer(link)[0] == 422


def test_a_stranger_who_goes_on_sending_can_read_why_he_is_refused(patient: LocalService) -> None:
    with connection(patient) as link:
        link.sendall(head("POST", "/v1/embeddings", "Content-Length: 50000000"))
        for _ in range(100):
            link.sendall(b"x" * 65_536)
        status, headers, _ = answer(link)
        assert (status, headers["connection"]) == (401, "close")


def test_headers_are_limited_in_size_and_number(patient: LocalService) -> None:
    for lines in (
        [f"Cookie: {'a' * 70_000}"],
        [f"X-{n}: a" for n in range(200)],
        [f"X-{'a' * 70_000}: a"],
    ):
        status, headers, body = ask(patient, head("GET", "/health/live", *lines))
        assert (status, b'"headers_too_large"' in body) == (431, True)
        assert headers["connection"] == "close"
    assert ask(patient, head("GET", f"/v1/collections/{'a' * 70_000}"))[0] == 431
    assert ask(patient, head("GET", "/health/live", f"Cookie: {'a' * 60_000}"))[0] == 200
    with connection(patient) as link:  # never an end of the line
        link.sendall(b"GET / HTTP/1.1\r\nCookie: " + b"a" * 100_000)
        assert answer(link)[0] == 431


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a/../b\r\n\r\n",
        b"GET /health/live HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: x\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"FOO /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        head("GET", "/health/live", "X-A : b"),
        head("GET", "/health/live", "X-A: b", " folded"),
        head("GET", "/v1/encoder", "Authorization: Bearer a", "Authorization: Bearer b"),
        head("POST", "/v1/search", "Content-Type: a/b", "Content-Type: c/d"),
        head("POST", "/v1/search", "Content-Length: 4", CHUNKED) + b"0\r\n\r\n",
        head("POST", "/v1/search", CHUNKED, "Content-Length: 4") + b"0\r\n\r\n",
        head("POST", "/v1/search", "Content-Length: 4", "Content-Length: 5"),
        head("POST", "/v1/search", "Content-Length: -1"),
        head("POST", "/v1/search", "Content-Length: 1e3"),
        head("POST", "/v1/search", "Content-Length: 99999999999999999999"),
        head("POST", "/v1/search", "Transfer-Encoding: gzip, chunked"),
        head("POST", "/v1/search", "Transfer-Encoding: identity"),
        head("POST", "/v1/search", CHUNKED).replace(b"1.1", b"1.0"),
        head("POST", "/v1/search", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 4"),
    ],
)
def test_a_request_that_a_proxy_may_read_otherwise_is_refused(
    patient: LocalService, request_: bytes
) -> None:
    with connection(patient) as link:
        link.sendall(request_)
        status, headers, body = answer(link)
        assert (status, b'"malformed_request"' in body) == (400, True)
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"].startswith("req_")
        assert rest(link) == b""


def test_bad_chunks_are_refused_and_trailers_dropped(patient: LocalService) -> None:
    json_chunks = authorized(
        patient, "POST", "/v1/collections", "Content-Type: application/json", CHUNKED
    )
    assert ask(patient, json_chunks + b"zz\r\n{}\r\n0\r\n\r\n")[0] == 400
    assert ask(patient, json_chunks + b"2\r\n{}\r\n0\r\nHost: y\r\n\r\n")[0] == 422
    with connection(patient) as link:
        link.sendall(json_chunks + b"2\r\n{}\r\n0\r\nX: " + b"a" * 200_000)
        assert answer(link)[0] == 400


def test_http_1_0_needs_no_host(patient: LocalService) -> None:
    assert ask(patient, b"GET /health/live HTTP/1.0\r\n\r\n")[0] == 200


def test_requests_in_one_write_are_answered_in_order_up_to_the_first_bad_one(
    patient: LocalService,
) -> None:
    with connection(patient) as link:
        link.sendall(LIVE + head("GET", "/none") + LIVE)
        assert [answer(link)[0] for _ in range(3)] == [200, 404, 200]
        link.sendall(LIVE + b"GARBAGE\r\n\r\n")
        assert answer(link)[0] == 200
        assert rest(link) == b""


def test_a_wish_for_another_protocol_is_answered_once_in_this_one(patient: LocalService) -> None:
    upgrade = head("GET", "/health/live", "Connection: Upgrade", "Upgrade: h2c")
    with connection(patient) as link:
        link.sendall(upgrade + LIVE)
        assert answer(link)[0] == 200
        assert rest(link) == b""


# number ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["one address", "many addresses"])
def test_half_open_connections_do_not_keep_a_fresh_one_out(
    patient: LocalService, many: bool
) -> None:
    with ExitStack() as stack:
        for number in range(200):
            address = f"127.0.1.{number + 1}" if many else "127.0.0.1"
            link = stack.enter_context(connected(patient, address=address))
            link.sendall(b"GET /health/live HTTP/1.1\r\n")
        assert ask(patient, LIVE, address=OTHER)[0] == 200


def test_the_address_with_the_most_connections_makes_room(patient: LocalService) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(connected(patient, address=OTHER))
        kept.sendall(LIVE)
        assert answer(kept)[0] == 200
        for number in range(60):
            stack.enter_context(connected(patient, address=f"127.0.0.{3 + number % 3}"))
        kept.sendall(LIVE)  # idle and the oldest, and yet not dropped
        assert answer(kept)[0] == 200


def test_a_new_connection_is_refused_only_while_all_others_are_answered(tmp_path, frames) -> None:
    release, busy, encoder = held_encoder()
    settings = Settings(data_dir=tmp_path, drain_s=0, max_connections=1)
    with (
        local_service(settings, encoder=encoder) as local,
        Client(local.url, key=local.key) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(client.embed, frames["cyst"][:1])
        assert busy.wait(10)
        status, headers, body = ask(local, LIVE)
        assert (status, b'"overloaded"' in body) == (503, True)
        assert headers["retry-after"] == "1"
        release.set()
        assert "embedding" in first.result(30)["items"][0]
        assert ask(local, LIVE)[0] == 200


# unknown keys ---------------------------------------------------------------------------------


def test_unknown_keys_are_slowed_and_known_ones_of_the_same_address_are_not(
    hasty: LocalService,
) -> None:
    def with_key(key: str, address: str) -> tuple[int, dict[str, str], bytes]:
        request = head("GET", "/v1/encoder", f"Authorization: Bearer {key}")
        return ask(hasty, request, address=address)

    address = "127.0.0.77"
    assert [with_key(f"guess-{n}", address)[0] for n in range(3)] == [401] * 3
    status, headers, body = with_key("guess-4", address)
    assert (status, b'"too_many_failed_keys"' in body) == (429, True)
    assert 1 <= int(headers["retry-after"]) <= 60
    assert with_key(hasty.key, address)[0] == 200
    assert with_key("guess-5", "127.0.0.78")[0] == 401
    assert ask(hasty, head("GET", "/v1/encoder"), address=address)[0] == 401  # no key, no guess


def test_a_key_of_other_letters_is_unknown_and_nothing_worse(patient: LocalService) -> None:
    for value in ("Bearer \xe9\xff", f"Bearer {'a' * 60_000}", "Basic YTpi", "Bearer", ""):
        status, headers, _ = ask(patient, head("GET", "/v1/encoder", f"Authorization: {value}"))
        assert (status, headers["www-authenticate"]) == (401, "bearer")


def test_failures_count_for_the_length_of_the_window() -> None:
    now_s = [0.0]
    failed = FailedKeys(2, 10.0, clock=lambda: now_s[0])
    assert failed.note("a") == failed.note("a") == 0.0
    assert failed.is_slowed("a")
    assert not failed.is_slowed("b")
    now_s[0] = 4.0
    assert failed.note("a") == 6.0
    now_s[0] = 10.0
    assert not failed.is_slowed("a")
    assert FailedKeys(0, 10.0).note("a") == 0.0


def test_the_addresses_of_one_site_count_as_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("no address") == "no address"


def test_the_client_tells_the_code_of_a_slowed_key(hasty: LocalService) -> None:
    with Client(hasty.url, key="guess") as client:
        for _ in range(3):
            with refused("unauthenticated", 401):
                client.encoder()
        with refused("too_many_failed_keys", 429) as caught:
            client.encoder()
        assert caught.value.retry_after_s is not None
