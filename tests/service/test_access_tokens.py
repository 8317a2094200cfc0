"""Access tokens of an identity provider at the door: what they allow, and what is refused."""

import base64
import hmac
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from token_issuer import AUDIENCE, TokenIssuer, token_issuer

from service.access.keys import create_key
from service.access.scopes import ROLES
from service.access.tokens.token_policy import policy_of
from service.catalog.access_records import KeyGrant
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.errors import InvalidSettings
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE
from tests.service.test_roles import NAMES, operations


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as issuer:
        issuer.add_key("rsa", RSAKey.generate_key(2048, {"kid": "rsa"}))
        issuer.add_key("ed", OKPKey.generate_key("Ed25519", {"kid": "ed"}))
        issuer.add_key("big", ECKey.generate_key("P-384", {"kid": "big", "alg": "ES384"}))
        yield issuer


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteCatalog]:
    catalog = open_catalog(tmp_path_factory.mktemp("tokens"))
    catalog.ensure_workspace("north")
    yield catalog
    catalog.close()


@pytest.fixture(scope="module")
def local(catalog, issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        bundle_dir=BUNDLE,
        drain_s=0,
        max_failed_keys=0,
        **issuer.settings(oidc_scopes='{"system/ImagingStudy.rs": ["scan.read", "search"]}'),
    )
    with local_service(settings, catalog=catalog) as running:
        yield running


@pytest.fixture(scope="module")
def http(local: LocalService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=local.url, trust_env=False) as http:
        yield http


def get(http: httpx.Client, token: str, path: str = "/v1/encoder") -> httpx.Response:
    return http.get(path, headers={"Authorization": f"Bearer {token}"})


def test_a_token_and_a_key_open_the_same_service(http, local, issuer) -> None:
    assert get(http, issuer.token()).status_code == 200
    assert get(http, local.key).status_code == 200


@pytest.mark.parametrize(
    ("key_id", "algorithm"),
    [("rsa", "RS256"), ("rsa", "PS384"), ("big", "ES384"), ("ed", "Ed25519")],
)
def test_keys_of_every_accepted_kind_sign_tokens(http, issuer, key_id, algorithm) -> None:
    header = {"kid": key_id, "alg": algorithm}
    assert get(http, issuer.token(header, issuer.keys[key_id])).status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_a_role_in_a_token_allows_what_the_same_role_of_a_key_does(http, issuer, role) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(roles=[role], sub=role)}"}
    for method, path, scopes in operations():
        answer = http.request(method, path.format(**NAMES, version="1"), headers=headers)
        missing = [scope for scope in scopes or () if scope not in ROLES[role]]
        where = f"{role}: {method} {path}: {answer.status_code} {answer.text[:200]}"
        if missing:
            assert (answer.status_code, answer.json()["scope"]) == (403, missing[0]), where
            challenge = f'Bearer error="insufficient_scope", scope="{missing[0]}"'
            assert answer.headers["www-authenticate"] == challenge
        else:
            assert answer.status_code not in (401, 403), where


@pytest.mark.parametrize(
    ("claims", "paths"),
    [
        ({"roles": None}, ()),
        ({"roles": []}, ()),
        ({"roles": ["chief"], "scope": "everything openid"}, ()),
        ({"roles": {"reader": True}, "scope": 7}, ()),
        ({"roles": None, "scope": "openid encoder.read"}, ("/v1/encoder",)),
        ({"roles": None, "scp": ["collection.read"]}, ("/v1/collections",)),
        ({"roles": "auditor"}, ("/v1/encoder", "/v1/collections")),
        ({"roles": None, "scope": "system/ImagingStudy.rs"}, ("/v1/collections/none/scans",)),
    ],
)
def test_a_token_allows_what_it_says_and_nothing_without(http, issuer, claims, paths) -> None:
    token = issuer.token(**claims)
    for path in ("/v1/encoder", "/v1/collections", "/v1/collections/none/scans", "/v1/keys"):
        assert (get(http, token, path).status_code == 403) == (path not in paths), path


def test_the_workspace_of_a_token_is_that_of_its_claim(http, local, issuer, catalog) -> None:
    with (
        Client(local.url, key=issuer.token(roles=["admin"], workspace="north")) as north,
        Client(local.url, key=issuer.token(roles=["admin"])) as here,
    ):
        north.create_collection("only-north")
        assert [c["name"] for c in north.collections()] == ["only-north"]
        assert list(here.collections()) == []
    _, key = create_key(catalog, "desk", "north", KeyGrant(("reader",)))
    with Client(local.url, key=key) as desk:
        assert [c["name"] for c in desk.collections()] == ["only-north"]


@pytest.mark.parametrize(
    "workspace", [None, "nowhere", "", ["default", "north"], 7, "a\0b", "\ud800"]
)
def test_a_token_without_one_known_workspace_opens_none(http, issuer, workspace) -> None:
    answer = get(http, issuer.token(workspace=workspace))
    assert (answer.status_code, answer.json()["code"]) == (403, "unknown_workspace")


def test_a_workspace_is_not_made_by_a_token(http, issuer, catalog) -> None:
    before = catalog.list_workspaces()
    get(http, issuer.token(workspace="invented", roles=["admin"]))
    assert catalog.list_workspaces() == before


def base64_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unsigned(issuer: TokenIssuer) -> str:
    header = b'{"alg":"none","kid":"first","typ":"at+jwt"}'
    return f"{base64_of(header)}.{base64_of(json.dumps(issuer.claims()).encode())}."


def with_public_key_as_secret(issuer: TokenIssuer) -> str:
    """HS256, with the public key that everybody can read as the secret."""
    header = b'{"alg":"HS256","kid":"rsa","typ":"at+jwt"}'
    signed = f"{base64_of(header)}.{base64_of(json.dumps(issuer.claims()).encode())}"
    secret = issuer.keys["rsa"].as_pem(private=False)
    return f"{signed}.{base64_of(hmac.digest(secret, signed.encode(), 'sha256'))}"


def changed(token: str) -> str:
    """The token with the rights of an administrator, under its old signature."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["roles"] = ["admin"]
    return f"{head}.{base64_of(json.dumps(claims).encode())}.{signature}"


STRANGER = ECKey.generate_key("P-256", {"kid": "first"})
JWK = STRANGER.as_dict(private=False)
ATTACKS = {
    "expired": lambda i: i.token(exp=int(time.time()) - 31),
    "never expires": lambda i: i.token(exp=None),
    "expiry is no number": lambda i: i.token(exp="2999"),
    "expiry beyond the calendar": lambda i: i.token(exp=253_402_300_800),
    "not yet valid": lambda i: i.token(nbf=int(time.time()) + 60),
    "issued in the future": lambda i: i.token(iat=int(time.time()) + 60),
    "other issuer": lambda i: i.token(iss="https://login.example.org"),
    "no issuer": lambda i: i.token(iss=None),
    "other audience": lambda i: i.token(aud="https://other.example.org"),
    "other audiences": lambda i: i.token(aud=["a", "b"]),
    "no audience": lambda i: i.token(aud=None),
    "no subject": lambda i: i.token(sub=None),
    "none": unsigned,
    "HS256 with the public key": with_public_key_as_secret,
    "signed by another key": lambda i: i.token(key=STRANGER),
    "changed after it was signed": lambda i: changed(i.token()),
    "signature cut off": lambda i: i.token().rpartition(".")[0] + ".",
    "unknown key id": lambda i: i.token({"kid": "unknown"}, STRANGER),
    "no key id": lambda i: i.token({"kid": None}),
    "key of another kind": lambda i: i.token({"kid": "rsa"}),
    "another algorithm than the key is for": lambda i: i.token(
        {"kid": "big", "alg": "ES256"}, i.keys["first"]
    ),
    "id token by its type": lambda i: i.token({"typ": "JWT"}),
    "no type": lambda i: jws.serialize_compact(
        {"alg": "ES256", "kid": "first"}, json.dumps(i.claims()), i.keys["first"]
    ),
    "logout token": lambda i: i.token({"typ": "logout+jwt"}),
    "id token by its claims": lambda i: i.token(at_hash="x"),
    "jku": lambda i: i.token({"jku": "http://127.0.0.1:1/jwks"}, STRANGER),
    "x5u": lambda i: i.token({"x5u": "http://127.0.0.1:1/cert"}, STRANGER),
    "jwk": lambda i: i.token({"jwk": JWK}, STRANGER),
    "jwk beside a genuine signature": lambda i: i.token({"jwk": JWK}),
    "bound to a key of its owner": lambda i: i.token(cnf={"jkt": "x"}),
    "oversized": lambda i: i.token(padding="x" * 16_384),
    "encrypted": lambda i: ".".join(["e30"] * 5),
    "no JWT": lambda i: "a.b",
    "dots": lambda i: "..",
    "deep": lambda i: "W1tb" * 3000 + ".e30.AA",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(http, issuer, attack) -> None:
    fetches = issuer.fetches
    answer = get(http, ATTACKS[attack](issuer))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token"), answer.text
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert issuer.fetches <= fetches + (attack == "unknown key id")
    for told in ("device-7", "default", issuer.url):
        assert told not in answer.text


def test_clocks_may_differ_by_the_stated_time(http, issuer) -> None:
    now_s = int(time.time())
    assert get(http, issuer.token(exp=now_s - 20)).status_code == 200
    assert get(http, issuer.token(nbf=now_s + 20, iat=now_s + 20)).status_code == 200


def test_an_api_key_with_the_form_of_a_token_is_none(http, local) -> None:
    assert get(http, f"{local.key}.x").json()["code"] == "invalid_token"
    assert get(http, f"{local.key}x").json()["code"] == "unauthenticated"


def test_a_version_names_the_subject_and_the_issuer_that_made_it(local, issuer, frames) -> None:
    with Client(local.url, key=issuer.token(roles=["admin"], workspace="north")) as client:
        client.create_collection("made")
        labels = [{"labels": {"finding": name}} for name in ("a", "b") * 2]
        client.add_scans("made", frames["cyst"][:4], labels)
        client.fit({"name": "by-token", "collection": "made", "task": "finding"})
        made = client.version("by-token", "1")["created_by"]
    assert made["name"] == f"device-7 at {issuer.url}"
    assert made["key_id"].startswith("oidc_")
    assert len(made["key_id"]) == 25


@pytest.mark.parametrize(
    "changes",
    [
        {"oidc_issuer": "http://login.example.org"},
        {"oidc_audience": ""},
        {"oidc_workspace": "default"},
        {"oidc_workspace_claim": ""},
        {"oidc_algorithms": "HS256"},
        {"oidc_algorithms": "none"},
        {"oidc_algorithms": " , "},
        {"oidc_roles": "reader"},
        {"oidc_roles": '{"staff": ["chief"]}'},
        {"oidc_scopes": '{"system/*.rs": "scan.read"}'},
    ],
)
def test_settings_that_would_believe_too_much_are_refused(issuer, changes) -> None:
    valid = Settings(**issuer.settings())
    with pytest.raises(InvalidSettings):
        policy_of(valid.model_copy(update=changes))


def test_the_audience_is_of_the_service_and_not_of_the_issuer(issuer) -> None:
    assert issuer.claims()["aud"] == AUDIENCE != issuer.url
