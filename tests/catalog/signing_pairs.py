"""Signing keys for tests of the catalog, which does not look into them."""

from itertools import count

from service.catalog.signing.signing_records import SigningKey, SigningPair

_numbers = count()


def new_key(*, is_own: bool = False) -> SigningKey:
    number = next(_numbers)
    created_at = f"2026-01-01T00:00:00.{number:06}Z"
    return SigningKey(f"sig_{number}", f"public {number}", "someone", created_at, is_own)


def new_pair() -> SigningPair:
    key = new_key(is_own=True)
    return SigningPair(key, f"private part of {key.key_id:>15}".encode())
