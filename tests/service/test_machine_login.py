"""How the client signs in with a key of its own, and keeps its token fresh."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from token_issuer import AUDIENCE, TokenIssuer, token_issuer
from typer.testing import CliRunner

from service.cli.main import app
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from sonoprobe_client.machine_login import ASSERTION_S, LoginFailed, MachineLogin
from tests.service.expected import BUNDLE
from tests.service.test_provider_keys import Hands

KEY = ECKey.generate_key("P-384", {"kid": "own"})


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Hands:
    return Hands(50.0)


@pytest.fixture
def login(issuer: TokenIssuer, clock: Hands) -> Iterator[MachineLogin]:
    key = dict(KEY.as_dict(private=True))
    made = MachineLogin(issuer.url, "device-7", key, scope="predict search", clock=clock)
    yield made
    made.close()


def test_the_statement_is_signed_short_lived_and_never_the_same(issuer, login, clock) -> None:
    seen = set()
    for _ in range(3):
        login.token()
        clock.now_s += issuer.life_s
        (statement,) = issuer.form["client_assertion"]
        said = jwt.decode(statement, KEY, algorithms=["ES384"])
        assert said.header == {"alg": "ES384", "kid": "own", "typ": "JWT"}
        claims = said.claims
        assert (claims["iss"], claims["sub"]) == ("device-7", "device-7")
        assert (claims["aud"], claims["exp"] - claims["iat"]) == (
            f"{issuer.url}/token",
            ASSERTION_S,
        )
        seen.add(claims["jti"])
    assert len(seen) == 3
    assert issuer.form["scope"] == ["predict search"]
    assert issuer.form["grant_type"] == ["client_credentials"]


def test_a_token_is_kept_and_renewed_before_it_expires(issuer, login, clock) -> None:
    first = login.token()
    clock.now_s += issuer.life_s - 61
    assert login.token() == first
    clock.now_s += 2
    assert login.token() != first
    assert issuer.grants == 2


def test_many_threads_fetch_one_token(issuer, login) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: login.token(), range(40)))) == 1
    assert issuer.grants == 1


def test_a_token_goes_on_while_the_provider_is_down_and_then_the_client_says_so(
    issuer, login, clock
) -> None:
    first = login.token()
    issuer.is_down = True
    clock.now_s += issuer.life_s - 30
    assert login.token() == first
    clock.now_s += 31
    with pytest.raises(LoginFailed, match=r"refused \(500\)"):
        login.token()
    issuer.is_down = False
    assert login.token() != first


def test_a_refusal_is_told_by_its_code_alone(issuer, login) -> None:
    issuer.refusal = "invalid_client"
    with pytest.raises(LoginFailed, match=r"refused \(401\): invalid_client$"):
        login.token()


def test_a_token_of_unknown_life_is_kept_for_a_short_time(issuer, login, clock) -> None:
    issuer.life_s = None
    first = login.token()
    assert login.token() == first
    clock.now_s += 60
    assert login.token() != first


def test_a_token_that_the_service_refuses_is_not_used_again(issuer, login) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(401 if len(seen) == 1 else 200, json={})

    transport = httpx.MockTransport(answer)
    with Client("http://127.0.0.1", login=login, transport=transport) as client:
        with pytest.raises(ApiError):
            client.encoder()
        client.encoder()
        client.encoder()
    assert seen[0] != seen[1] == seen[2]


def test_an_issuer_that_speaks_for_another_one_gets_no_statement(issuer, login) -> None:
    issuer.about["issuer"] = "https://login.example.org"
    with pytest.raises(LoginFailed):
        login.token()
    assert issuer.grants == 0


@pytest.mark.parametrize(
    "key",
    [
        OctKey.generate_key(256).as_dict(private=True),
        ECKey.generate_key("P-256").as_dict(private=True),
        KEY.as_dict(private=False),
        KEY.as_pem(private=False),
        "no key",
        b"{",
        {},
    ],
)
def test_an_unsuitable_key_is_refused_without_being_quoted(key) -> None:
    with pytest.raises(ValueError, match=r"^expected a private key") as caught:
        MachineLogin("https://login.example.org", "device-7", key)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", [KEY, RSAKey.generate_key(2048)])
@pytest.mark.parametrize("form", ["pem", "text of pem", "jwk", "text of jwk"])
def test_keys_come_as_pem_and_as_jwk(issuer, key, form) -> None:
    data = {
        "pem": key.as_pem(private=True),
        "text of pem": key.as_pem(private=True).decode(),
        "jwk": dict(key.as_dict(private=True)),
        "text of jwk": json.dumps(key.as_dict(private=True)),
    }
    login = MachineLogin(issuer.url, "device-7", data[form])
    assert login.token()
    login.close()


def test_an_issuer_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="https"):
        MachineLogin("http://login.example.org", "device-7", KEY.as_pem(private=True))


def test_a_command_signs_in_by_its_environment(issuer, tmp_path: Path) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(KEY.as_pem(private=True))
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, **issuer.settings())
    with local_service(settings) as local:
        environment = {
            "SONOPROBE_URL": local.url,
            "SONOPROBE_LOGIN_ISSUER": issuer.url,
            "SONOPROBE_LOGIN_CLIENT_ID": "device-7",
            "SONOPROBE_LOGIN_KEY_FILE": str(key_file),
            "SONOPROBE_LOGIN_RESOURCE": AUDIENCE,
        }
        done = CliRunner().invoke(app, ["classifiers", "list"], env=environment)
        assert (done.exit_code, issuer.form["resource"]) == (0, [AUDIENCE]), done.output
        for missing in ("CLIENT_ID", "KEY_FILE"):
            less = environment | {f"SONOPROBE_LOGIN_{missing}": ""}
            done = CliRunner().invoke(app, ["classifiers", "list"], env=less)
            assert done.exit_code == 1
            assert "SONOPROBE_LOGIN_CLIENT_ID" in done.output
