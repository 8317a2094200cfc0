"""Keyed pseudonyms of the ids of patients and studies.

Whoever has the files makes them from DICOM headers (``sonoprobe ingest``), or the service makes
them of the ids that it is given, where the policy of a workspace says so. Under one key both make
the same.

They are HMAC-SHA256 (RFC 2104) under a secret key, so equal patients have equal pseudonyms and
nobody without the key finds a patient by trying ids. A plain hash would not do: ids have few
digits, and all of them are hashed within a second.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from service.errors import InputError

KEY_BYTES = 32
_PREFIX = "sonoprobe-pseudonym-key-"
SUBJECT, STUDY = "p", "s"  # how pseudonyms begin
_HEX_DIGITS = 32  # 128 bits of the code: two patients never share one
_CODE = re.compile(rf"[0-9a-f]{{{_HEX_DIGITS}}}")
# What devices write where nobody typed an id: not one patient.
_PLACEHOLDER = re.compile(
    r"([0x*?._\-]+|n/?a|none|null|unknown|anon(ymous|ymized|ymised)?|no ?id|test)", re.IGNORECASE
)


class Pseudonyms:
    """Pseudonyms under one key; ``key_name`` identifies the key and reveals nothing of it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise InputError(f"expected a key of {KEY_BYTES} bytes, got {len(key)}")
        self._key = key
        self.key_name = self._code("key")[:6]

    def subject(self, patient_id: str, issuer: str = "") -> str | None:
        """The pseudonym of a patient; None without an id that can name one patient.

        An id is unique only within its issuer (PS3.3 C.7.1.1), so both enter it.
        """
        if not patient_id or _PLACEHOLDER.fullmatch(patient_id):
            return None
        return self._subject(patient_id, issuer)

    def study(self, study_uid: str) -> str | None:
        """The pseudonym of a StudyInstanceUID; None without one."""
        return f"{STUDY}-{self.key_name}-{self._code('study', study_uid)}" if study_uid else None

    def of_given_subject(self, subject_id: str) -> str:
        """The pseudonym of an id that a client gives; one under this key is returned as it is.

        A pseudonym under another key is an id like any other. Nothing is a placeholder here:
        the client says that the id names one patient.
        """
        if is_own(SUBJECT, self.key_name, subject_id):
            return subject_id
        return self._subject(subject_id, "")

    def of_given_study(self, study_id: str) -> str:
        """As ``of_given_subject``, of an id of a study."""
        own = is_own(STUDY, self.key_name, study_id)
        return study_id if own else f"{STUDY}-{self.key_name}-{self._code('study', study_id)}"

    def _subject(self, patient_id: str, issuer: str) -> str:
        return f"{SUBJECT}-{self.key_name}-{self._code('patient', issuer, patient_id)}"

    def _code(self, *parts: str) -> str:
        message = b"".join(len(raw).to_bytes(4) + raw for raw in (p.encode() for p in parts))
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_HEX_DIGITS]


def is_own(mark: str, key_name: str, given: str) -> bool:
    """Whether an id has the form of a pseudonym of this kind under the key of this name."""
    start = f"{mark}-{key_name}-"
    return given.startswith(start) and _CODE.fullmatch(given, len(start)) is not None


def write_key(file: Path) -> None:
    """Write a new random key, which only its owner can read.

    Raises:
        InputError: the file exists; another key would give every patient another pseudonym.
    """
    text = _PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InputError("expected a new file: an existing key is never replaced") from error
    with os.fdopen(handle, "w") as stream:
        stream.write(text)


def read_pseudonyms(file: Path) -> Pseudonyms:
    """Pseudonyms under the key in a file.

    Raises:
        InputError: the file holds no key, or its group or others can read it.
        OSError: it cannot be read.
    """
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise InputError("expected a key file that only its owner can read: chmod 600")
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    try:
        if not text.startswith(_PREFIX):
            raise InputError("expected the key that 'sonoprobe pseudonyms create-key' writes")
        return Pseudonyms(base64.b64decode(text.removeprefix(_PREFIX), b"-_", validate=True))
    except binascii.Error as error:
        raise InputError("the key in the file is damaged") from error
