"""Ed25519 signatures (RFC 8032) of exported classifiers.

The signature of a JSON document is its member ``signature``. It covers every other member but
``sha256``, in the form that ``service.fewshot.portable.digest_of`` hashes. ``sha256`` covers the
signature too, so that release 0.1.0 reads a signed document. A file, such as ONNX, is signed as
it is, so that any program that knows Ed25519 can verify it.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from service.errors import BrokenSignature, InputError
from service.fewshot.portable import digest_of

ALGORITHM = "ed25519"
MEMBER = "signature"  # of a document
SIGNATURE = "signature"  # in the settings of a version: the state of that when it was imported
MAX_KEY_TEXT = 1000  # characters; a key has 60, in a PEM file 113
# Before what is signed of a document, so that the signature fits nothing else.
_PURPOSE = b"sonoprobe-classifier signature 1\n"
State: TypeAlias = Literal["unsigned", "trusted", "unknown_key"]


@dataclass(frozen=True, slots=True)
class SignatureState:
    """What is known of the signature of an imported classifier.

    Attributes:
        key_id: None = it is not signed.
    """

    state: State
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class DetachedSignature:
    """A signature that travels beside its file; ``value`` is base64."""

    key_id: str
    value: str


def new_private_key() -> bytes:
    """A random private key, 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> str:
    """The public key of a private one, in the form that is stored and shown."""
    return _shown(Ed25519PrivateKey.from_private_bytes(private_key).public_key())


def key_id_of(public_key: str) -> str:
    """The id of a public key: a digest, so nobody can choose that of another key."""
    return f"sig_{hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:32]}"


def read_public_key(text: str) -> str:
    """The stored form of a public key from a PEM file, or from base64 of its DER.

    Raises:
        InputError: it is neither, or no key for Ed25519.
    """
    expected = "expected a public key for Ed25519, as PEM or as base64 of its DER"
    if len(text) > MAX_KEY_TEXT or not text.isascii():
        raise InputError(expected)
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode(text.strip(), validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(expected) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(expected)
    return _shown(key)


def sign_document(document: Mapping[str, Any], private_key: bytes) -> dict[str, Any]:
    """The document with a signature; an earlier one is replaced."""
    public_key = public_key_of(private_key)
    facts = _signed_part(document)
    signature = {
        "algorithm": ALGORITHM,
        "key_id": key_id_of(public_key),
        "public_key": public_key,
        "value": _signed(private_key, _PURPOSE + digest_of(facts).encode()),
    }
    facts[MEMBER] = signature
    return facts | {"sha256": digest_of(facts)}


def verify_document(document: Mapping[str, Any]) -> str | None:
    """The public key whose signature the document has; None = it has no signature.

    Raises:
        BrokenSignature: the document was changed, or the signature cannot be read.
    """
    if MEMBER not in document:
        return None
    try:
        signature = document[MEMBER]
        is_whole = set(signature) == {"algorithm", "key_id", "public_key", "value"}
        if not is_whole or signature["algorithm"] != ALGORITHM:
            raise BrokenSignature(f"expected a signature by {ALGORITHM} with its public key")
        public_key = read_public_key(signature["public_key"])
        if signature["key_id"] != key_id_of(public_key):
            raise BrokenSignature("the signature names another key than it holds")
        message = _PURPOSE + digest_of(_signed_part(document)).encode()
        _verify(public_key, signature["value"], message)
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BrokenSignature):
            raise
        raise BrokenSignature("the signature cannot be read") from error
    return public_key


def sign_file(data: bytes, private_key: bytes) -> DetachedSignature:
    """The signature of a whole file."""
    return DetachedSignature(key_id_of(public_key_of(private_key)), _signed(private_key, data))


def verify_file(data: bytes, public_key: str, value: str) -> None:
    """Raises BrokenSignature: the file was changed, or another key signed it."""
    _verify(public_key, value, data)


def _signed_part(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in document.items() if name not in (MEMBER, "sha256")}


def _signed(private_key: bytes, message: bytes) -> str:
    signature = Ed25519PrivateKey.from_private_bytes(private_key).sign(message)
    return base64.b64encode(signature).decode()


def _verify(public_key: str, value: str, message: bytes) -> None:
    key = load_der_public_key(base64.b64decode(public_key))
    if not isinstance(key, Ed25519PublicKey):
        raise BrokenSignature("the key is none for Ed25519")
    try:
        key.verify(base64.b64decode(value, validate=True), message)
    except (InvalidSignature, binascii.Error, ValueError, TypeError) as error:
        raise BrokenSignature("the classifier was changed after it was signed") from error


def _shown(key: Ed25519PublicKey) -> str:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
