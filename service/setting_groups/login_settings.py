"""Settings of commands that talk to a running service and sign in as a machine."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class LoginSettings(BaseModel):
    """Who a command is at the identity provider; no setting of the service."""

    model_config = ConfigDict(frozen=True)

    issuer: str = Field("", description="Identity provider that gives commands access tokens.")
    client_id: str = Field("", description="Name of this machine at the provider.")
    key_file: Path | None = Field(
        None, description="Private key of this machine: PEM or JWK, on P-384 or RSA."
    )
    scope: str = Field("", description="Scopes to ask for, with spaces between.")
    resource: str = Field("", description="Service that the token is for, where providers ask.")
