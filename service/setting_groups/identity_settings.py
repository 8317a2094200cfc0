"""Settings of OpenID Connect: which access tokens the service believes, and what they allow."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class IdentitySettings(BaseModel):
    """The part of ``Settings`` about the identity provider; ``service.access.tokens`` reads it."""

    model_config = ConfigDict(frozen=True)

    oidc_issuer: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Identity provider whose access tokens are accepted beside API keys, as it "
        "names itself, such as https://login.example.org; empty = API keys only.",
    )
    oidc_audience: str = Field(
        "", description="Name of this service in the aud of access tokens; needed with an issuer."
    )
    oidc_algorithms: str = Field(
        "ES256,ES384,ES512,PS256,PS384,PS512,RS256,RS384,RS512,Ed25519",
        description="Signature algorithms that are accepted, with commas; asymmetric ones only.",
    )
    oidc_token_types: str = Field(
        "at+jwt",
        description="Values of typ in the header of an access token, with commas; at+jwt is that "
        "of RFC 9068. JWT accepts providers that do not tell access tokens from ID tokens by it.",
    )
    oidc_roles_claim: str = Field(
        "",
        description="Claim with the roles of the caller, such as roles or realm_access.roles; "
        "empty = tokens have no roles.",
    )
    oidc_roles: str = Field(
        "",
        description="Roles of the service by the names in the claim, as a JSON object such as "
        '{"us-readers": ["reader"]}; names that are missing give nothing. Empty = the names are '
        "those of the service.",
    )
    oidc_scopes: str = Field(
        "",
        description="Further names in the scope claim and the scopes that they give, as a JSON "
        'object such as {"system/ImagingStudy.rs": ["scan.read", "search"]}.',
    )
    oidc_workspace_claim: str = Field(
        "", description="Claim with the name of the workspace; empty = SONOPROBE_OIDC_WORKSPACE."
    )
    oidc_workspace: str = Field(
        "", description="Workspace of all tokens, for providers without a claim for it."
    )
    oidc_keys_s: float = Field(
        300.0,
        gt=0,
        description="Time after which the public keys of the provider are fetched again, seconds.",
    )
    oidc_keep_keys_s: float = Field(
        3600.0,
        gt=0,
        description="Time for which fetched keys are used while the provider does not answer; "
        "then tokens get 503, seconds.",
    )
    oidc_clock_skew_s: float = Field(
        30.0,
        ge=0,
        le=300,
        description="Difference between the clocks of provider and service that is tolerated, "
        "seconds.",
    )
    oidc_console_client_id: str = Field(
        "",
        description="Public client of the web console at the provider, which people sign in with "
        "there (authorization code with PKCE); empty = the console takes keys only.",
    )
    oidc_console_scopes: str = Field(
        "openid",
        description="What the console asks the provider for, with spaces; offline_access lets it "
        "renew a token without a new sign-in where the provider allows that.",
    )
    oidc_console_audience_parameter: Literal["resource", "audience", "none"] = Field(
        "resource",
        description="Parameter by which the console asks for a token for SONOPROBE_OIDC_AUDIENCE: "
        "resource is that of RFC 8707, audience that of Auth0; none = the scopes say it, as at "
        "Microsoft Entra, or the provider knows it.",
    )
    oidc_ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) that the provider's own must lead to; empty = the public "
        "ones.",
    )
