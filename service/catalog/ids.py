"""Ids, times and digests in the one form that every engine of the catalog writes."""

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

from service.errors import InputError


def new_id(prefix: str) -> str:
    """``prefix`` and 20 random hexadecimal digits (80 bits), joined by an underscore."""
    return f"{prefix}_{secrets.token_hex(10)}"


def new_ids(prefix: str, count: int) -> list[str]:
    """Many new ids from one call to the system's random source, which is slow."""
    digits = secrets.token_hex(10 * count)
    return [f"{prefix}_{digits[start : start + 20]}" for start in range(0, 20 * count, 20)]


def timestamp(moment: datetime) -> str:
    """The moment in UTC, ISO 8601 with microseconds and a trailing ``Z``: sorts by time.

    Raises:
        InputError: in UTC it is not between the years 1 and 9999.
    """
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise InputError("expected a time between the years 1 and 9999") from error
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> str:
    """The ``timestamp`` of the present."""
    return timestamp(datetime.now(UTC))


def content_hash(sha256: str) -> int:
    """64 bits of a file's digest, by which an index checks which scan a row id stands for."""
    try:
        return int(sha256[:16], 16) & (2**64 - 1)
    except ValueError:  # a catalog accepts any text as a digest
        return int.from_bytes(hashlib.sha256(sha256.encode()).digest()[:8])


def subject_digest(workspace_id: str, subject_id: str) -> str:
    """SHA-256 hex that is kept of an erased subject; only someone who knows the id can match it."""
    return hashlib.sha256(f"{workspace_id}\n{subject_id}".encode()).hexdigest()


def digest_of(*parts: str | int) -> str:
    """SHA-256 hex of a few ids, each on a line."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 hex of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
