"""Exports are signed by their workspace; imports say whom they trust, and refuse what is broken."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.classifiers.signing.signatures import SIGNATURE
from service.cli.classifier_commands import app
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, refused, unsigned

UNSIGNED = {"state": "unsigned", "key_id": None}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, frames) -> Iterator[tuple[Client, Client]]:
    """A workspace with the classifier ``finding``, and one that imports it."""
    catalog = open_catalog(tmp_path_factory.mktemp("signed"))
    settings = Settings(data_dir=tmp_path_factory.mktemp("d"), bundle_dir=BUNDLE, drain_s=0)
    _, other_key = create_key(catalog, "other", "other")
    with (
        local_service(settings, catalog=catalog) as local,
        Client(local.url, key=local.key) as owner,
        Client(local.url, key=other_key) as other,
    ):
        owner.create_collection("ward")
        said = [{"labels": {"t": ("cyst", "stone")[i % 2]}} for i in range(8)]
        images = [frames[("cyst", "stone")[i % 2]][i] for i in range(8)]
        owner.add_scans("ward", images, said)
        owner.fit({"name": "finding", "collection": "ward", "task": "t"})
        yield owner, other
    catalog.close()


@pytest.fixture
def owner(houses) -> Client:
    return houses[0]


@pytest.fixture
def other(houses) -> Client:
    return houses[1]


def imported(client: Client, document: dict) -> dict:
    """The answer of an import, which is undone."""
    answer = client.import_classifier("copy", document)
    version = client.version("copy", 1)
    assert version["signature"] == client.classifier("copy")["signature"] == answer["signature"]
    assert SIGNATURE not in version["settings"]
    client.delete_classifier("copy")
    return answer["signature"]


def signing_key(client: Client) -> dict:
    (key,) = [key for key in client.signing_keys() if key["signs"]]
    return key


def test_an_export_is_trusted_at_home_and_unknown_elsewhere_until_its_key_is_trusted(
    owner: Client, other: Client
) -> None:
    document = owner.export("finding")
    key = signing_key(owner)
    assert document["signature"]["key_id"] == key["key_id"]
    assert imported(owner, document) == {"state": "trusted", "key_id": key["key_id"]}
    assert imported(other, document) == {"state": "unknown_key", "key_id": key["key_id"]}
    trusted = other.trust_signing_key("the other house", key["public_key"])
    assert trusted == other.signing_key(key["key_id"])
    assert (trusted["own"], trusted["signs"], trusted["name"]) == (False, False, "the other house")
    assert imported(other, document)["state"] == "trusted"
    with refused("conflict", 409):
        other.trust_signing_key("again", key["public_key"])
    other.distrust_signing_key(key["key_id"])
    assert imported(other, document)["state"] == "unknown_key"
    with refused("unknown_item", 404):
        other.distrust_signing_key(key["key_id"])


def test_a_fit_has_no_signature_and_an_unsigned_import_says_so(owner: Client) -> None:
    assert owner.classifier("finding")["signature"] is None
    assert imported(owner, unsigned(owner.export("finding"))) == UNSIGNED


def test_a_changed_export_is_refused_with_a_code_of_its_own(owner: Client) -> None:
    document = owner.export("finding")
    document["heads"][0]["min_margin"] = 0.0
    with refused("broken_signature", 422):
        owner.import_classifier("copy", document)
    with refused("broken_signature", 422):
        owner.import_classifier("copy", document | {"signature": None})
    assert "copy" not in {found["name"] for found in owner.classifiers()}


def test_what_the_key_before_signed_stays_trusted_until_that_key_is_deleted(owner: Client) -> None:
    document = owner.export("finding")
    old = signing_key(owner)
    with refused("conflict", 409):
        owner.distrust_signing_key(old["key_id"])
    new = owner.rotate_signing_key()
    assert new["signs"]
    assert new["key_id"] != old["key_id"]
    assert owner.signing_key(old["key_id"])["retired_at"] is not None
    assert owner.export("finding")["signature"]["key_id"] == new["key_id"]
    assert imported(owner, document)["state"] == "trusted"
    owner.distrust_signing_key(old["key_id"])
    assert imported(owner, document)["state"] == "unknown_key"


def test_only_administrators_choose_whom_to_trust(owner: Client) -> None:
    reader = owner.create_key("r", roles=["reader"])["secret"]
    url = str(owner._http.base_url)
    with Client(url, key=reader) as client:
        assert list(client.signing_keys())
        with refused("missing_scope", 403):
            client.trust_signing_key("x", signing_key(owner)["public_key"])
        with refused("missing_scope", 403):
            client.rotate_signing_key()


def test_an_invalid_public_key_is_refused(owner: Client) -> None:
    with refused("invalid_input", 422):
        owner.trust_signing_key("x", "AAAA")


def test_a_service_can_require_a_trusted_signature(
    owner: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    document = owner.export("finding")
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("strict"),
        bundle_dir=BUNDLE,
        drain_s=0,
        import_requires_signature=True,
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        for untrusted in (document, unsigned(document)):
            with refused("untrusted_signature", 422) as caught:
                client.import_classifier("copy", untrusted)
            signature = untrusted.get("signature", {})
            assert caught.value.problem["key_id"] == signature.get("key_id")
        client.trust_signing_key("ward", document["signature"]["public_key"])
        assert client.import_classifier("copy", document)["signature"]["state"] == "trusted"


def test_the_command_line_exports_verifies_and_trusts(
    owner: Client, other: Client, tmp_path: Path
) -> None:
    runner = CliRunner()

    def run(client: Client, *words: object, code: int = 0) -> str:
        key = client._http.headers["authorization"].removeprefix("Bearer ")
        address = {"SONOPROBE_URL": str(client._http.base_url), "SONOPROBE_KEY": key}
        result = runner.invoke(app, [str(word) for word in words], env=address)
        assert result.exit_code == code, result.output
        return result.output

    document, network = tmp_path / "a.json", tmp_path / "a.onnx"
    for file in (document, network):
        run(owner, "export", "finding", "--out", file)
    key = signing_key(owner)
    pem = tmp_path / "key.pem"
    pem.write_text(f"-----BEGIN PUBLIC KEY-----\n{key['public_key']}\n-----END PUBLIC KEY-----\n")
    for file in (document, network):
        assert key["key_id"] in run(owner, "verify", file, "--public-key", pem)
        assert key["key_id"] in run(owner, "verify", file, "--public-key", key["public_key"])
    network.write_bytes(network.read_bytes() + b"\0")
    run(owner, "verify", network, "--public-key", pem, code=1)
    run(other, "trust", "house", pem)
    assert f"{key['key_id']}\thouse\ttrusted" in run(other, "signing-keys")
    assert f"signature: trusted {key['key_id']}" in run(other, "import", "taken-in", document)
    run(other, "distrust", key["key_id"])
    assert "house" not in run(other, "signing-keys")
    assert "signs with" in run(other, "rotate-signing-key")
    assert "\tsigns\t" in run(other, "signing-keys")
    document.write_text(json.dumps(unsigned(json.loads(document.read_text()))))
    run(owner, "verify", document, "--public-key", pem, code=1)
