"""Records of the keys that sign exported classifiers.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key that a workspace signs with, has signed with, or trusts.

    Attributes:
        key_id: digest of the public key, so it is the same in every workspace.
        public_key: SubjectPublicKeyInfo (DER) in base64, as between the lines of a PEM file.
        name: whose key it is.
        is_own: the workspace made it; else somebody added it, to trust it.
        retired_at: when another own key took its place; it still verifies.
    """

    key_id: str
    public_key: str
    name: str
    created_at: str
    is_own: bool
    retired_at: str | None = None


@dataclass(frozen=True, slots=True)
class SigningPair:
    """The own key that signs now, with its private part (32 bytes)."""

    key: SigningKey
    private_key: bytes = field(repr=False)
