"""Signatures of exported classifiers: made, verified, broken by any change."""

import base64
import copy
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.classifiers.signing.signatures import (
    key_id_of,
    new_private_key,
    public_key_of,
    read_public_key,
    sign_document,
    sign_file,
    verify_document,
    verify_file,
)
from service.errors import BrokenSignature, InputError
from service.fewshot.portable import digest_of, from_document

RELEASED = Path(__file__).parents[1] / "fixtures" / "classifier_v1"
# RFC 8032, 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
OF_72 = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def released() -> dict:
    return json.loads((RELEASED / "single.json").read_text())


def pem_of(public_key: str) -> str:
    return f"-----BEGIN PUBLIC KEY-----\n{public_key}\n-----END PUBLIC KEY-----\n"


def test_the_signature_is_that_of_the_standard() -> None:
    assert base64.b64decode(public_key_of(SEED)).endswith(PUBLIC)
    assert base64.b64decode(sign_file(b"\x72", SEED).value) == OF_72


def test_a_document_of_release_0_1_0_has_no_signature() -> None:
    assert verify_document(released()) is None


def test_a_signed_document_names_its_key_and_is_still_one_of_format_1() -> None:
    signed = sign_document(released(), SEED)
    assert verify_document(json.loads(json.dumps(signed))) == public_key_of(SEED)
    assert signed["signature"]["key_id"] == key_id_of(public_key_of(SEED))
    assert from_document(signed).classifier.labels == from_document(released()).classifier.labels
    again = sign_document(signed, new_private_key())
    assert verify_document(again) != public_key_of(SEED)


@pytest.mark.parametrize(
    "place",
    [
        ("encoder_id",),
        ("card",),
        ("heads", 0, "min_margin"),
        ("heads", 0, "arrays", "bias_C", "base64"),
        ("format_version",),
        ("novelty", "far_from"),
    ],
    ids=str,
)
def test_any_change_breaks_the_signature_even_with_a_right_digest(place) -> None:
    signed = sign_document(released(), SEED)
    *parents, last = place
    part = signed
    for step in parents:
        part = part[step]
    part[last] = "AAAA" if isinstance(part[last], str) else 0.125
    with pytest.raises(BrokenSignature):
        verify_document(with_digest(signed))


def with_digest(document: dict) -> dict:
    facts = {name: value for name, value in document.items() if name != "sha256"}
    return facts | {"sha256": digest_of(facts)}


def test_a_further_or_a_missing_member_breaks_the_signature() -> None:
    signed = sign_document(released(), SEED)
    with pytest.raises(BrokenSignature):
        verify_document(with_digest(signed | {"further": 1}))
    less = {name: value for name, value in signed.items() if name != "card"}
    with pytest.raises(BrokenSignature):
        verify_document(with_digest(less))


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": public_key_of(bytes(32))},  # of another key, under the id of the first
        {"public_key": public_key_of(bytes(32)), "key_id": key_id_of(public_key_of(bytes(32)))},
        {"key_id": "sig_"},
        {"algorithm": "none"},
        {"algorithm": ["ed25519"]},
        {"value": ""},
        {"value": base64.b64encode(bytes(64)).decode()},
        {"value": "\u00e4"},
        {"value": None},
        {"public_key": ""},
        {"public_key": None},
        {"public_key": "A" * 2000},
        {"further": 1},
    ],
    ids=str,
)
def test_another_key_algorithm_or_value_is_refused(changes) -> None:
    signed = copy.deepcopy(sign_document(released(), SEED))
    signed["signature"] |= changes
    with pytest.raises(BrokenSignature):
        verify_document(with_digest(signed))


@pytest.mark.parametrize("signature", [None, "", [], {}, 1, {"value": "x"}], ids=str)
def test_what_is_no_signature_is_refused(signature) -> None:
    with pytest.raises(BrokenSignature):
        verify_document(with_digest(released() | {"signature": signature}))


def test_a_key_is_read_from_pem_and_from_base64_and_no_other_kind_is() -> None:
    public_key = public_key_of(SEED)
    assert read_public_key(public_key) == read_public_key(pem_of(public_key)) == public_key
    other = generate_private_key(SECP256R1()).public_key()
    der = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    raw = base64.b64encode(PUBLIC).decode()
    for wrong in ("", "x", raw, base64.b64encode(der).decode(), pem, pem_of("AAAA"), "\u00e4"):
        with pytest.raises(InputError):
            read_public_key(wrong)


def test_a_file_is_verified_by_its_key_alone() -> None:
    public_key = public_key_of(SEED)
    signature = sign_file(b"network", SEED)
    assert signature.key_id == key_id_of(public_key)
    verify_file(b"network", public_key, signature.value)
    for data, key, value in (
        (b"networks", public_key, signature.value),
        (b"network", public_key_of(bytes(32)), signature.value),
        (b"network", public_key, signature.value[:-4]),
        (b"network", public_key, "?"),
    ):
        with pytest.raises(BrokenSignature):
            verify_file(data, key, value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_openssl_verifies_a_file_without_us(tmp_path: Path) -> None:
    data, key, signature = (tmp_path / name for name in ("a.onnx", "key.pem", "a.onnx.sig"))
    data.write_bytes(b"network")
    key.write_text(pem_of(public_key_of(SEED)))
    signature.write_bytes(base64.b64decode(sign_file(b"network", SEED).value))
    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in a.onnx -sigfile a.onnx.sig"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
