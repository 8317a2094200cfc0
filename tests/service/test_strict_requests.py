"""Routes know their caller before they read a body, and refuse what they do not know."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import APIRouter, FastAPI, routing
from fastapi.routing import APIRoute
from pydantic import Field, field_validator
from typer.testing import CliRunner

from service.api.permissions import OPEN
from service.api.problems import install
from service.api.routing import StrictRoute
from service.api.shapes.base import Body
from service.api.strict_json import MAX_INLINE_BYTES
from service.app import create_app
from service.cli.main import app as command_line
from service.server import LocalService
from service.settings import Settings, program_version
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused


@pytest.fixture(scope="module")
def client(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as session:
        yield session


def test_every_route_of_the_contract_is_strict(tmp_path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    # Before 0.138, FastAPI put the routes of included routers into the app itself.
    contexts = getattr(routing, "iter_route_contexts", None)
    routes = [c.original_route for c in contexts(app.routes)] if contexts else app.routes
    documented = [r for r in routes if isinstance(r, APIRoute) and r.include_in_schema]
    assert len(documented) > 30
    assert not [route.path for route in documented if not isinstance(route, StrictRoute)]


def test_a_stranger_is_refused_before_the_body_is_sent(tiny: LocalService) -> None:
    address = urlsplit(tiny.url)
    for path in ("/v1/embeddings", "/v1/collections", "/v1/classifiers", "/v1/search"):
        with socket.create_connection((address.hostname, address.port), timeout=10) as link:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            link.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
            assert link.recv(100).startswith(b"HTTP/1.1 401 ")  # not a byte of the body was sent


def test_a_misspelt_query_parameter_is_refused_with_the_known_ones(client: Client) -> None:
    with pytest.raises(ApiError, match="dtype, encoding_format, frames, pool, region") as caught:
        client.request("POST", "/v1/embeddings", params={"dtyp": "int8"}, content=b"x")
    assert (caught.value.code, caught.value.status) == ("invalid_input", 422)
    with pytest.raises(ApiError, match="parameters \\(none\\), got 1") as caught:
        client.request("GET", "/v1/encoder", params={"patient": "DOE"})
    assert "DOE" not in str(caught.value)
    assert "patient" not in str(caught.value)


def test_a_misspelt_form_part_is_refused_with_the_known_ones(client: Client, frames) -> None:
    image = ("files", ("a", frames["cyst"][0], "image/png"))
    with pytest.raises(ApiError, match=r"form parts \(files, options\), got 1 unknown"):
        client.request("POST", "/v1/embeddings", files=[image], data={"option": "{}"})
    with refused("invalid_input", 422):
        client.request("POST", "/v1/embeddings", files=[("file", image[1])])


def test_options_of_a_form_count_more_than_those_of_the_query(client: Client, frames) -> None:
    request = {
        "files": [("files", ("a", frames["cyst"][0], "image/png"))],
        "params": {"pool": "none"},
    }
    options = {"dtype": "int8", "encoding_format": "base64"}
    body = client.request(
        "POST", "/v1/embeddings", data={"options": json.dumps(options)}, **request
    ).json()
    assert (body["dtype"], body["encoding_format"]) == ("int8", "base64")
    with refused("validation_error", 422):
        client.request("POST", "/v1/embeddings", data={"options": '{"dtyp": "int8"}'}, **request)


def test_a_raw_image_is_refused_where_it_could_only_fail(client: Client, frames) -> None:
    document = client.request("GET", "/openapi.json").json()
    body = document["paths"]["/v1/classifiers"]["post"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "application/json"}
    headers = {"content-type": "image/png"}
    with refused("unsupported_format", 415):
        client.request("POST", "/v1/classifiers", content=frames["cyst"][0], headers=headers)
    assert client.request(
        "POST", "/v1/embeddings", content=frames["cyst"][0], headers=headers
    ).is_success


def test_a_long_json_body_is_strict_json_as_well(client: Client) -> None:
    text = '{"name": "a", "description": NaN, "padding": "' + "x" * MAX_INLINE_BYTES + '"}'
    headers = {"content-type": "application/json"}
    for body in (text, text[:60]):
        with pytest.raises(ApiError) as caught:
            client.request("POST", "/v1/collections", content=body, headers=headers)
        assert caught.value.status == 422


def test_the_program_tells_its_version(tiny: LocalService) -> None:
    version = program_version()
    assert CliRunner().invoke(command_line, ["--version"]).output == f"sonoprobe {version}\n"
    with httpx.Client(base_url=tiny.url, trust_env=False) as plain:
        assert plain.get("/health/live").json() == {"status": "live", "version": version}
        assert plain.get("/openapi.json").json()["info"]["version"] == version


def test_the_address_alone_leads_to_the_console(tiny: LocalService) -> None:
    answer = httpx.get(tiny.url, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/console/")


def test_one_raw_image_searches_with_options_in_the_address(client: Client, frames) -> None:
    client.create_collection("raw")
    client.add_scans("raw", frames["cyst"][:2])
    options = {"collections": ["raw"], "k": 1}
    answer = client.request(
        "POST",
        "/v1/search",
        params={"options": json.dumps(options)},
        content=frames["cyst"][0],
        headers={"content-type": "image/png"},
    ).json()
    assert len(answer["items"]) == 1
    with refused("invalid_input", 422):
        client.request("POST", "/v1/search", content=b"x", headers={"content-type": "image/png"})


def test_a_long_body_is_validated_on_a_thread_and_refused_as_a_short_one() -> None:
    threads: list[threading.Thread] = []

    class Texts(Body):
        texts: Annotated[list[str], Field(max_length=10)]
        number: int

        @field_validator("texts")
        @classmethod
        def _noted(cls, texts: list[str]) -> list[str]:
            threads.append(threading.current_thread())
            return texts

    router = APIRouter(route_class=StrictRoute)

    @router.post("/texts", dependencies=[OPEN])
    async def count(body: Texts) -> dict[str, int]:
        return {"texts": len(body.texts), "loop": threading.get_ident()}

    app = FastAPI()
    app.include_router(router)
    install(app, retry_after_s=1)
    app.state.running = SimpleNamespace(audit=None)

    async def answers() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            long = "x" * MAX_INLINE_BYTES
            bodies = [
                {"texts": [text], "number": number} for number in (1, "?") for text in ("x", long)
            ]
            return [await client.post("/texts", json=body) for body in bodies]

    short, long, short_refused, long_refused = asyncio.run(answers())
    assert short.json() == long.json()
    of_short, of_long = [thread.ident == short.json()["loop"] for thread in threads[:2]]
    assert (of_short, of_long) == (True, False)
    assert (short_refused.status_code, long_refused.status_code) == (422, 422)
    refused_with = [answer.json() | {"request_id": ""} for answer in (short_refused, long_refused)]
    assert refused_with[0] == refused_with[1]
    assert refused_with[0]["errors"][0]["where"] == "body.number"


def test_a_filter_with_more_values_than_a_scan_is_compared_with_is_refused(client: Client) -> None:
    ids = [f"p{number}" for number in range(7_000)]
    wanted = {
        "or": [{"subject_id": ids}, {"not": {"study_id": ids}}, {"labels": {"t": ids[:1000]}}]
    }
    client.request("POST", "/v1/collections", json={"name": "filtered"})
    path = "/v1/collections/filtered/facets"
    assert client.request("POST", path, json={"filter": wanted}).json()["scans"] == 0
    with pytest.raises(ApiError, match="at most 20000 values") as caught:
        client.request("POST", path, json={"filter": {"and": [wanted, {"subject_id": ids}]}})
    assert (caught.value.code, caught.value.status) == ("validation_error", 422)
