"""Signing keys on the wire, and what is known of a signature."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from service.api.shapes.base import TIME, Answer, Body, PageAnswer, example_of
from service.classifiers.registry import ClassifierVersion
from service.classifiers.signing.signatures import MAX_KEY_TEXT, SIGNATURE
from service.classifiers.signing.signing_keys import MAX_NAME, SigningKey

KEY_ID = "sig_0f7f7ea2c1d94b5b8e1f0a9b3c4d5e6f"
PUBLIC_KEY = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="  # of RFC 8032


class SignatureAnswer(Answer):
    """Who signed an imported classifier, as the workspace knew when it was imported."""

    state: Literal["unsigned", "trusted", "unknown_key"]
    key_id: str | None = Field(description="Null: unsigned.", examples=[KEY_ID])

    @classmethod
    def of(cls, version: ClassifierVersion) -> Self | None:
        """The answer for a version; null if it is no import, or one of release 0.1.0."""
        stored = version.settings.get(SIGNATURE)
        return None if stored is None else cls.model_validate(stored)


class TrustedKeyBody(Body):
    """The public key of somebody whose classifiers are trusted from now on."""

    model_config = example_of({"name": "university hospital", "public_key": PUBLIC_KEY})

    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] = Field(
        description="Whose key it is."
    )
    public_key: Annotated[str, StringConstraints(max_length=MAX_KEY_TEXT)] = Field(
        description="For Ed25519: PEM, or base64 of its DER (SubjectPublicKeyInfo)."
    )


class SigningKeyAnswer(Answer):
    """A public key that the workspace trusts; its own keys have `own`."""

    key_id: str = Field(description="A digest of the public key.", examples=[KEY_ID])
    name: str
    public_key: str = Field(
        description="Base64 of its DER, as between the lines of a PEM file.", examples=[PUBLIC_KEY]
    )
    own: bool = Field(description="The workspace signs with it, or did.")
    signs: bool = Field(description="The workspace signs with it now.")
    created_at: str = Field(examples=[TIME])
    retired_at: str | None = Field(description="Since when another own key signs.")

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        """The answer for a key."""
        signs = key.is_own and key.retired_at is None
        return cls.of_record(key, own=key.is_own, signs=signs)


class SigningKeyPage(PageAnswer):
    """The signing keys of the workspace, oldest first."""

    items: list[SigningKeyAnswer]
