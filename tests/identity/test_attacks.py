"""Tokens of the real provider that must open nothing, and one that must."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey

from service.catalog.sqlite.sqlite_catalog import SqliteCatalog
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from sonoprobe_client.machine_login import ASSERTION_TYPE, LoginFailed
from tests.identity.provider_process import (
    AUDIENCE,
    CALLBACK,
    IdentityProvider,
    identity_provider,
    signing_key,
)
from tests.service.expected import BUNDLE

pytestmark = pytest.mark.identity


def get(http: httpx.Client, token: str, path: str = "/v1/encoder") -> httpx.Response:
    return http.get(path, headers={"Authorization": f"Bearer {token}"})


def require_refused(answer: httpx.Response, code: str = "invalid_token") -> None:
    assert (answer.status_code, answer.json()["code"]) == (401, code), answer.text


def parts_of(token: str) -> tuple[dict, dict]:
    header, claims, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims))


def base64_of(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def genuine(provider: IdentityProvider) -> str:
    return provider.token("north-reader")


def test_the_genuine_token_opens_the_service(http, genuine) -> None:
    assert parts_of(genuine)[0]["typ"] == "at+jwt"
    assert get(http, genuine).status_code == 200


def test_an_expired_token_is_refused_though_it_was_remembered(
    catalog: SqliteCatalog, tmp_path
) -> None:
    with identity_provider(life_s=2) as short:
        own = {"bundle_dir": BUNDLE, "drain_s": 0, "oidc_clock_skew_s": 0}
        settings = Settings(data_dir=tmp_path, **short.settings(**own))
        with (
            local_service(settings, catalog=catalog) as local,
            httpx.Client(base_url=local.url, trust_env=False) as http,
        ):
            token = short.token("north-reader")
            assert get(http, token).status_code == 200
            while time.time() < parts_of(token)[1]["exp"]:
                time.sleep(0.05)
            require_refused(get(http, token))


def test_a_token_of_another_issuer_is_refused(http) -> None:
    with identity_provider(keys=[signing_key("first")]) as other:
        require_refused(get(http, other.token("north-admin")))


def test_a_token_for_another_service_is_refused(http, provider) -> None:
    token = provider.token("north-admin", resource="https://other.example.org")
    assert parts_of(token)[1]["aud"] == "https://other.example.org"
    require_refused(get(http, token))


def test_an_unsigned_copy_is_refused(http, genuine) -> None:
    header, claims = parts_of(genuine)
    require_refused(get(http, f"{base64_of(header | {'alg': 'none'})}.{base64_of(claims)}."))


def test_a_copy_signed_with_the_public_key_as_a_secret_is_refused(http, provider, genuine) -> None:
    header, claims = parts_of(genuine)
    signed = f"{base64_of(header | {'alg': 'HS256'})}.{base64_of(claims)}"
    (jwk,) = httpx.get(f"{provider.issuer}/jwks", trust_env=False).json()["keys"]
    for secret in (ECKey.import_key(jwk).as_pem(private=False), json.dumps(jwk).encode()):
        digest = hmac.digest(secret, signed.encode(), "sha256")
        signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        require_refused(get(http, f"{signed}.{signature}"))


def test_a_copy_with_more_rights_under_the_old_signature_is_refused(http, genuine) -> None:
    header, claims = parts_of(genuine)
    _, _, signature = genuine.split(".")
    more = base64_of(claims | {"roles": ["admin"]})
    require_refused(get(http, f"{base64_of(header)}.{more}.{signature}"))


@pytest.mark.parametrize("place", ["kid", "jwk", "jku", "x5u"])
def test_a_copy_signed_by_a_key_of_the_thief_is_refused(http, genuine, place) -> None:
    header, claims = parts_of(genuine)
    thief = ECKey.generate_key("P-384", {"kid": "thief"})
    named = {
        "kid": "thief",
        "jwk": thief.as_dict(private=False),
        "jku": "http://127.0.0.1:1/jwks",
        "x5u": "http://127.0.0.1:1/certificate",
    }
    forged = jws.serialize_compact(
        header | {place: named[place]}, json.dumps(claims), thief, algorithms=["ES384"]
    )
    require_refused(get(http, forged))


def test_a_scope_that_was_asked_for_and_not_granted_gives_nothing(http, provider) -> None:
    for wish in ("everything", ""):
        token = provider.token("device", scope=wish)
        assert "scope" not in parts_of(token)[1]
        answer = get(http, token)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    granted = provider.token("device", scope="everything encoder.read")
    assert get(http, granted).status_code == 200
    assert get(http, granted, "/v1/collections").status_code == 403


def test_a_token_for_a_workspace_that_is_not_here_is_refused(http, provider) -> None:
    answer = get(http, provider.token("stray"))
    assert (answer.status_code, answer.json()["code"]) == (403, "unknown_workspace")


def test_a_statement_of_a_machine_is_accepted_once(provider) -> None:
    """Replay matters there: whoever sees the statement must not get a token of his own."""
    now_s = int(time.time())
    claims = {"iss": "device", "sub": "device", "jti": "once", "iat": now_s, "exp": now_s + 60}
    claims["aud"] = f"{provider.issuer}/token"
    key = provider.machines["device"]
    statement = jwt.encode({"alg": "ES384", "kid": "device"}, claims, key, algorithms=["ES384"])
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": statement,
    }
    statuses = [
        httpx.post(f"{provider.issuer}/token", data=form, trust_env=False).status_code
        for _ in range(2)
    ]
    assert statuses == [200, 401]


def test_a_machine_with_another_key_gets_no_token(provider) -> None:
    key = provider.machines["device"]
    provider.machines["device"] = ECKey.generate_key("P-384", {"kid": "device"})
    try:
        with pytest.raises(LoginFailed, match="invalid_client"):
            provider.token("device")
    finally:
        provider.machines["device"] = key


# users ----------------------------------------------------------------------------------------


def sign_in(provider: IdentityProvider) -> dict[str, str]:
    """The tokens that the client ``desk`` gets for a doctor who signs in with a browser."""
    verifier = "of-the-tests-" * 5
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    asked = {
        "client_id": "desk",
        "response_type": "code",
        "scope": "openid scan.read",
        "redirect_uri": CALLBACK,
        "code_challenge": challenge.decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    with httpx.Client(base_url=provider.issuer, trust_env=False) as browser:
        answer = browser.get("/auth", params=asked)
        while not (place := answer.headers.get("location", "")).startswith(CALLBACK):
            if answer.is_redirect:
                answer = browser.get(place)
            else:
                (prompt,) = re.findall(r'name="prompt" value="(\w+)"', answer.text)
                (action,) = re.findall(r'action="([^"]+)"', answer.text)
                form = {"prompt": prompt, "login": "doctor", "password": "any"}
                answer = browser.post(action, data=form)
        (code,) = parse_qs(urlsplit(place).query)["code"]
        login = provider.login("desk")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": login._assertion(f"{provider.issuer}/token"),
        }
        login.close()
        tokens: dict[str, str] = browser.post("/token", data=form).raise_for_status().json()
        return tokens


def test_the_id_token_of_a_user_opens_nothing_and_the_access_token_does(http, provider) -> None:
    tokens = sign_in(provider)
    assert parts_of(tokens["id_token"])[1]["sub"] == "doctor"
    require_refused(get(http, tokens["id_token"]))
    assert get(http, tokens["access_token"]).status_code == 200
    _, claims = parts_of(tokens["access_token"])
    assert (claims["aud"], claims["roles"]) == (AUDIENCE, ["annotator"])


# keys of the provider ------------------------------------------------------------------------


@pytest.fixture
def restarted(tmp_path, catalog) -> Iterator[tuple[IdentityProvider, httpx.Client]]:
    """A provider of its own, and a service that was started while the provider was down."""
    with identity_provider() as provider:
        provider.stop()
        own = {"bundle_dir": BUNDLE, "drain_s": 0}
        settings = Settings(data_dir=tmp_path, **provider.settings(**own))
        with (
            local_service(settings, catalog=catalog) as local,
            Client(local.url, key=local.key) as by_key,
        ):
            by_key.ready()
            by_key.encoder()
            yield provider, by_key._http


def wait_for(http: httpx.Client, token: str) -> int:
    """Repeat as often as the service asks for; the number of repetitions."""
    for repetition in range(30):
        answer = get(http, token)
        if answer.status_code == 200:
            return repetition
        assert answer.json()["code"] in ("identity_provider_failure", "invalid_token")
        time.sleep(min(float(answer.headers.get("retry-after", 1)), 10.0))
    raise AssertionError(answer.text)


def test_a_service_lives_through_the_absence_and_the_rotation_of_its_provider(restarted) -> None:
    provider, http = restarted
    provider.start()
    first = provider.token("north-reader")
    provider.stop()
    answer = get(http, first)
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_provider_failure")
    assert 1 <= int(answer.headers["retry-after"]) <= 10

    provider.start()
    assert wait_for(http, first) >= 1

    provider.stop()
    assert get(http, first).status_code == 200  # remembered
    provider.keys = [signing_key("second")]
    provider.start()
    second = provider.token("north-reader")
    wait_for(http, second)  # signed by a key that was unknown
    require_refused(get(http, first))  # its key is no longer published


def test_the_client_renews_its_token_and_many_threads_share_it(catalog, tmp_path) -> None:
    with identity_provider(life_s=4) as provider:
        settings = Settings(
            data_dir=tmp_path,
            bundle_dir=BUNDLE,
            drain_s=0,
            **provider.settings(oidc_clock_skew_s=0),
        )
        login = provider.login("old-device", scope="encoder.read")
        with (
            local_service(settings, catalog=catalog) as local,
            Client(local.url, login=login) as client,
            ThreadPoolExecutor(8) as threads,
        ):
            tokens = set(threads.map(lambda _: login.token(), range(64)))
            assert len(tokens) == 1
            ends_at = time.time() + 5
            while time.time() < ends_at:
                client.encoder()
                tokens.add(login.token())
                time.sleep(0.05)
            assert 2 <= len(tokens) <= 3
            with pytest.raises(ApiError, match="missing_scope"):
                list(client.collections())
        login.close()
