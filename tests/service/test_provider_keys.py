"""The keys of an identity provider: fetched rarely, forgotten in time, and never by a request."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, OctKey
from token_issuer import TokenIssuer, token_issuer

from service.access.failed_keys import FailedKeys
from service.access.keys import KeyRing
from service.access.tokens.access_tokens import AccessTokens
from service.access.tokens.provider_documents import ProviderDocuments, usable_keys
from service.access.tokens.provider_keys import RETRY_S, ProviderKeys, UnknownSigner
from service.access.tokens.token_check import TokenCheck
from service.access.tokens.token_policy import policy_of
from service.catalog.access_records import Workspace
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import (
    IdentityProviderFailure,
    InvalidSettings,
    InvalidToken,
    TooManyFailedKeys,
    UnknownWorkspace,
)
from service.settings import Settings

HERE = Workspace("ws_1", "default", "2026-01-01T00:00:00.000000Z")
REFRESH_S, KEEP_S = 300.0, 3600.0


class Hands:
    """A clock that a test sets."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Door:
    """Access tokens of one issuer, with clocks that a test sets."""

    def __init__(self, issuer: TokenIssuer) -> None:
        policy = policy_of(Settings(**issuer.settings()))
        assert policy is not None
        self.clock = Hands(1000.0)
        self.wall = Hands(float(issuer.claims()["iat"]))
        self.workspace: Workspace | None = HERE
        fetch = ProviderDocuments(issuer.url).signing_keys
        self.keys = ProviderKeys(fetch, refresh_s=REFRESH_S, keep_s=KEEP_S, clock=self.clock)
        check = TokenCheck(policy, self.keys, clock=self.wall)
        self.tokens = AccessTokens(policy, self.keys, check, self.find_workspace, max_remembered=4)

    def find_workspace(self, name: str) -> tuple[Workspace, int] | None:
        return None if self.workspace is None else (self.workspace, 0)

    def enter(self, token: str) -> str:
        """The subject; fetches keys as the service does for an unknown one."""
        try:
            _, _, holder = self.tokens.holder(token)
        except UnknownSigner:
            self.tokens.fetch_keys()
            _, _, holder = self.tokens.holder(token)
        return str(holder.author.key_name).partition(" at ")[0]


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as issuer:
        yield issuer


@pytest.fixture
def door(issuer: TokenIssuer) -> Door:
    return Door(issuer)


def test_many_tokens_cost_one_fetch(issuer, door) -> None:
    for number in range(20):
        assert door.enter(issuer.token(sub=f"device-{number}")) == f"device-{number}"
    assert issuer.fetches == 1


def test_unknown_key_ids_cost_one_fetch_in_ten_seconds_for_all(issuer, door) -> None:
    door.enter(issuer.token())
    stranger = ECKey.generate_key("P-256")
    for second in range(30):
        door.clock.now_s += 1
        for number in range(20):
            with pytest.raises(InvalidToken):
                door.enter(issuer.token({"kid": f"made-up-{second}-{number}"}, stranger))
    assert issuer.fetches == 1 + 30 / RETRY_S


def test_a_rotated_key_is_found_and_the_withdrawn_one_is_refused(issuer, door) -> None:
    old = issuer.token()
    assert door.enter(old) == "device-7"
    new = issuer.add_key("second")
    del issuer.keys["first"]
    door.clock.now_s += RETRY_S
    assert door.enter(issuer.token({"kid": "second"}, new, sub="device-8")) == "device-8"
    with pytest.raises(InvalidToken):
        door.enter(old)  # though it was checked and remembered before


def test_another_key_under_a_known_id_does_not_keep_old_tokens(issuer, door) -> None:
    old = issuer.token()
    door.enter(old)
    issuer.add_key("first")
    door.clock.now_s += REFRESH_S
    door.tokens.fetch_keys()
    with pytest.raises(InvalidToken):
        door.enter(old)
    assert door.enter(issuer.token()) == "device-7"


def test_keys_work_for_the_stated_time_while_the_provider_is_down(issuer, door) -> None:
    known, fresh = issuer.token(), issuer.token(sub="other")
    door.enter(known)
    issuer.is_down = True
    for _ in range(int(KEEP_S / REFRESH_S)):
        door.clock.now_s += REFRESH_S
        door.tokens.fetch_keys()
    assert (door.enter(known), door.enter(fresh)) == ("device-7", "other")
    door.clock.now_s += 1
    for token in (known, fresh):
        with pytest.raises(IdentityProviderFailure) as caught:
            door.enter(token)
        assert 1 <= caught.value.retry_after_s <= RETRY_S
    issuer.is_down = False
    door.clock.now_s += RETRY_S
    assert door.enter(known) == "device-7"


def test_nobody_can_tell_whether_a_key_is_new_while_the_provider_is_down(issuer, door) -> None:
    door.enter(issuer.token())
    issuer.is_down = True
    door.clock.now_s += RETRY_S
    key = issuer.add_key("second")
    with pytest.raises(IdentityProviderFailure):
        door.enter(issuer.token({"kid": "second"}, key))


def test_a_remembered_token_ends_when_it_expires(issuer, door) -> None:
    token = issuer.token(exp=int(door.wall()) + 60)
    door.enter(token)
    door.wall.now_s += 89
    assert door.enter(token) == "device-7"
    door.wall.now_s += 1
    with pytest.raises(InvalidToken, match="expired"):
        door.enter(token)


def test_a_workspace_that_goes_closes_its_tokens_at_once(issuer, door) -> None:
    token = issuer.token()
    door.enter(token)
    door.workspace = None
    with pytest.raises(UnknownWorkspace):
        door.enter(token)


def test_only_so_many_tokens_are_remembered(issuer, door) -> None:
    tokens = [issuer.token(sub=f"device-{number}") for number in range(6)]
    for token in tokens * 2:
        door.enter(token)
    assert door.tokens.remembered == 4


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"issuer": "https://login.example.org", "jwks_uri": "{url}/jwks"},
        {"issuer": "{url}", "jwks_uri": "http://login.example.org/jwks"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}", "jwks_uri": "{url}/none"},
        {"issuer": "{url}", "jwks_uri": ["{url}/jwks"]},
        {"issuer": "{url}", "jwks_uri": "{url}/jwks", "padding": "x" * 600_000},
    ],
)
def test_a_document_that_is_wrong_gives_no_keys(issuer, door, about) -> None:
    issuer.about = json.loads(json.dumps(about).replace("{url}", issuer.url))
    with pytest.raises(IdentityProviderFailure):
        door.enter(issuer.token())
    assert issuer.fetches == 0


def test_only_public_keys_for_signatures_are_used() -> None:
    good = ECKey.generate_key("P-256", {"kid": "good"}).as_dict(private=True)
    weak = {"kty": "RSA", "kid": "weak", "n": "x" * 171, "e": "AQAB"}
    others: list[Any] = [
        OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True),
        weak,
        good | {"kid": "enc", "use": "enc"},
        good | {"kid": 7},
        good | {"kid": "broken", "x": "!"},
        good | {"kid": "odd", "alg": ["ES256"]},
        {name: value for name, value in good.items() if name != "kid"},
        "key",
        None,
    ]
    keys = usable_keys([*others, good])
    assert list(keys) == ["good"]
    assert not keys["good"].key.is_private


def test_a_missing_file_of_certificates_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings):
        ProviderDocuments("https://login.example.org", tmp_path / "none.pem")


def certificate_of_our_own(folder: Path) -> Path:
    """A file with a certificate for localhost that nobody else has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
    return path


def test_a_provider_with_the_certificate_of_a_hospital_is_believed_when_it_is_named(
    tmp_path: Path,
) -> None:
    path = certificate_of_our_own(tmp_path)
    with token_issuer(path) as issuer:
        with pytest.raises(IdentityProviderFailure):
            ProviderDocuments(issuer.url).signing_keys()
        assert list(ProviderDocuments(issuer.url, path).signing_keys()) == ["first"]


def test_forged_tokens_slow_an_address_and_no_genuine_one(issuer, door, tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    ring = KeyRing(catalog, "ws_1", FailedKeys(3, 60.0), require_key=True, tokens=door.tokens)
    door.tokens.fetch_keys()
    forged = issuer.token(key=ECKey.generate_key("P-256"))
    for _ in range(3):
        with pytest.raises(InvalidToken):
            ring.caller(forged, "192.0.2.1")
    with pytest.raises(TooManyFailedKeys):
        ring.caller(forged, "192.0.2.1")
    assert ring.is_slowed("192.0.2.1")
    assert ring.caller(issuer.token(), "192.0.2.1").workspace_id == HERE.workspace_id
    catalog.close()


def test_a_service_starts_without_its_provider_and_learns_of_it_later(
    issuer, door, tmp_path: Path
) -> None:
    issuer.is_down = True
    catalog = open_catalog(tmp_path)
    ring = KeyRing(catalog, "ws_1", FailedKeys(3, 60.0), require_key=True, tokens=door.tokens)
    with pytest.raises(IdentityProviderFailure):
        ring.caller_after_fetch(issuer.token(), "192.0.2.1")
    issuer.is_down = False
    door.clock.now_s += RETRY_S
    assert ring.caller_after_fetch(issuer.token(), "192.0.2.1").scopes
    catalog.close()


def test_the_thread_fetches_keys_before_the_first_token(issuer) -> None:
    fetch = ProviderDocuments(issuer.url).signing_keys
    keys = ProviderKeys(fetch, refresh_s=REFRESH_S, keep_s=KEEP_S)
    keys.open()
    keys.fetch_again()  # waits for the attempt under way, or makes it
    assert keys.find("first").key_id == "first"
    keys.close()
    assert issuer.fetches == 1
