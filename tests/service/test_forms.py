"""Forms are read as they were sent, whole and in UTF-8, or refused."""

import json
from collections.abc import Iterator

import httpx
import pytest

from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused

FILE = 'form-data; name="files"; filename="a.png"'
TEXT = 'form-data; name="{}"'


@pytest.fixture(scope="module")
def client(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as session:
        session.create_collection("forms")
        yield session


def post(
    client: Client,
    parts: list[tuple[str, bytes]],
    *,
    path: str = "/v1/embeddings",
    parameters: str = "boundary=limit",
    end: bytes = b"--limit--\r\n",
) -> httpx.Response:
    """Send a form of (Content-Disposition, content) as a program that writes its own would."""
    body = b"".join(
        b"--limit\r\nContent-Disposition: " + said.encode() + b"\r\n\r\n" + content + b"\r\n"
        for said, content in parts
    )
    headers = {"content-type": f"multipart/form-data; {parameters}"}
    return client.request("POST", path, content=body + end, headers=headers)


def test_a_form_that_ends_before_its_last_boundary_is_refused(client: Client, frames) -> None:
    first, second = frames["cyst"][:2]
    assert len(post(client, [(FILE, first), (FILE, second)]).json()["items"]) == 2
    for end in (b"", b"--limit\r\n", b"--limi"):
        with refused("invalid_input", 422):
            post(client, [(FILE, first), (FILE, second)], end=end)


@pytest.mark.parametrize(
    "charset", ["undefined", "idna", "punycode", "utf-16", "latin-1", "no-such"]
)
def test_the_charset_of_a_form_is_utf_8_whatever_it_says(client: Client, frames, charset) -> None:
    options = (TEXT.format("options"), b'{"region": "none"}')
    parameters = f"boundary=limit; charset={charset}"
    answer = post(client, [(FILE, frames["cyst"][0]), options], parameters=parameters)
    assert answer.json()["items"][0]["image"]["regions"][0]["found"] == "whole"


def test_a_codec_that_takes_minutes_decodes_nothing(client: Client, frames) -> None:
    options = (TEXT.format("options"), b'{"region": "' + b"a-" + b"b" * 1_000_000 + b'"}')
    parameters = "boundary=limit; charset=punycode"
    with refused("validation_error", 422):
        post(client, [(FILE, frames["cyst"][0]), options], parameters=parameters)


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252", "utf-16"])
def test_metadata_in_another_encoding_is_refused_and_stores_nothing(
    client: Client, frames, encoding: str
) -> None:
    subject_id = "Müller" if encoding == "cp1252" else "Иван"
    metadata = json.dumps([{"subject_id": subject_id}], ensure_ascii=False)
    part = (TEXT.format("metadata"), metadata.encode(encoding))
    path = "/v1/collections/forms/scans"
    with refused("invalid_input", 422):
        post(client, [(FILE, frames["cyst"][0]), part], path=path)
    assert client.collection("forms")["scans"] == 0


def test_metadata_in_utf_8_is_stored_as_it_was_sent(client: Client, frames) -> None:
    metadata = json.dumps([{"subject_id": "Иван Müller"}], ensure_ascii=False)
    part = (TEXT.format("metadata"), metadata.encode())
    answer = post(client, [(FILE, frames["mass"][0]), part], path="/v1/collections/forms/scans")
    assert answer.json()["items"][0]["scan"]["subject_id"] == "Иван Müller"


@pytest.mark.parametrize(
    "parameters",
    ["charset=utf-8", "boundary=", "boundary=other", 'boundary="limit\\"; charset=punycode; a=\\"'],
)
def test_a_form_without_its_boundary_is_refused(client: Client, frames, parameters: str) -> None:
    with refused("invalid_input", 422):
        post(client, [(FILE, frames["cyst"][0])], parameters=parameters)
