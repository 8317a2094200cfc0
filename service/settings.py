"""The settings of the service: one frozen object, read once from ``SONOPROBE_*``."""

import difflib
import json
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import InvalidSettings
from service.setting_groups.connection_settings import ConnectionSettings
from service.setting_groups.connection_settings import listed as listed
from service.setting_groups.identity_settings import IdentitySettings
from service.setting_groups.login_settings import LoginSettings
from service.setting_groups.stream_settings import StreamSettings

PREFIX = "SONOPROBE_"
_ADDRESS = re.compile(r"postgres(ql)?://")
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RateName: TypeAlias = Literal["requests_per_minute", "images_per_minute", "decode_s_per_minute"]
StoredName: TypeAlias = Literal["stored_bytes", "scans", "collections", "classifiers"]
Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Read by commands that talk to a running service, and by tests and benchmarks.
OTHER_VARIABLES = frozenset(
    {"URL", "KEY", "PSEUDONYM_KEY_FILE", "SHARED"}
    | {f"LOGIN_{name.upper()}" for name in LoginSettings.model_fields}
)


class Settings(ConnectionSettings, IdentitySettings, StreamSettings, BaseSettings):
    """Facts about the model are not settings: they come from the bundle's manifest.

    Fields of the rooms that have many are in ``service.setting_groups``.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(
        Path("sonoprobe-data"), description="Folder of the catalog and the index."
    )
    catalog: SecretStr | None = Field(
        None,
        description="Database of the catalog, postgresql://user@host/name, which replicas share; "
        "empty = a SQLite file in the data folder.",
    )
    shards: SecretStr | None = Field(
        None,
        description="Further databases for workspaces: a JSON object of names and addresses, or "
        "the path of a file that holds one.",
    )
    database_connections: int = Field(
        16,
        ge=2,
        description="Maximum number of connections of one process to each database.",
    )
    bundle_dir: Path | None = Field(
        None,
        description="Folder of the encoder bundle; empty = the bundle that ships with the package.",
    )
    precision: Literal["auto", "int8", "fp16", "fp32"] = Field(
        "auto",
        description="Precision of the network to load; auto = the default of the bundle. The "
        "package holds int8; others need a bundle folder that has them.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of its own for /metrics, which then answers 404 on the other one; 0 = "
        "/metrics is on the port of the service.",
    )
    metrics_need_key: bool = Field(
        False,
        description="Whether /metrics on the port of the service asks for a key with the scope "
        "metrics.read; the port of its own never does.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address to listen on for SONOPROBE_METRICS_PORT."
    )
    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Address to which spans are sent by OTLP over HTTP, such as "
        "http://collector:4318/v1/traces; empty = none are made. Needs the extra otel.",
    )
    otlp_share: float = Field(
        1.0, ge=0, le=1, description="Share of the requests of which spans are sent."
    )
    require_key: bool = Field(
        True, description="Require an API key; set false only behind a gateway that authenticates."
    )
    import_requires_signature: bool = Field(
        False,
        description="Import only classifiers that a key of the workspace signed, or one that it "
        "trusts (/v1/signing-keys).",
    )
    max_failed_keys: int = Field(
        20,
        ge=0,
        description="Unknown API keys that one client address may send within failed_keys_window_s "
        "before further ones get 429; known keys go on working; 0 = any number.",
    )
    failed_keys_window_s: float = Field(
        60.0, gt=0, description="Time for which an unknown API key counts, seconds."
    )
    key_limits: Annotated[dict[RateName | StoredName, Limit], NoDecode] = Field(
        {},
        description="Rates of one key, and what it may store, a JSON object: requests_per_minute, "
        "images_per_minute, decode_s_per_minute, stored_bytes, scans, collections, classifiers; "
        "what is not named is not limited.",
    )
    workspace_limits: Annotated[dict[RateName | StoredName, Limit], NoDecode] = Field(
        {},
        description="Rates of one workspace, and what it may store, a JSON object: those of "
        "key_limits.",
    )
    pseudonym_key_dir: Path | None = Field(
        None,
        description="Folder with the key of each workspace whose policy makes pseudonyms, "
        "WORKSPACE.key, as sonoprobe pseudonyms create-key writes it; empty = there are none.",
    )
    max_upload_bytes: int = Field(
        320_000_000, gt=0, description="Largest accepted request body, bytes."
    )
    max_json_bytes: int = Field(
        64_000_000, gt=0, description="Largest accepted body that is no file, such as JSON, bytes."
    )
    max_large_uploads: int = Field(
        3,
        gt=0,
        description="Number of bodies above max_json_bytes that are held at a time; further ones "
        "get 503.",
    )
    max_image_bytes: int = Field(
        20_000_000, gt=0, description="Largest accepted PNG, JPEG, WebP or BMP file, bytes."
    )
    max_clip_bytes: int = Field(
        300_000_000,
        gt=0,
        description="Largest accepted file of another format (DICOM, video, TIFF, GIF), bytes; its "
        "frames are limited by their number and size.",
    )
    max_pixels: int = Field(50_000_000, gt=0, description="Maximum number of pixels of one frame.")
    max_items: int = Field(
        256, gt=0, description="Maximum number of images or examples in one request."
    )
    max_page: int = Field(500, gt=0, description="Maximum number of items on one page of a list.")
    max_k: int = Field(1000, gt=0, description="Maximum number of neighbours in one search.")
    max_batch: int = Field(4, gt=0, description="Maximum number of frames in one forward pass.")
    batch_wait_s: float = Field(
        0.0, ge=0, description="Maximum wait to fill a batch while the encoder is idle, seconds."
    )
    max_queue: int = Field(
        512,
        gt=0,
        description="Maximum number of images under way of one workspace; further requests get 503."
        " A quarter more is kept for others.",
    )
    decode_threads: int = Field(
        2,
        gt=0,
        description="Threads that decode ordinary stills and preprocess frames; one more for a "
        "workspace that has none.",
    )
    decode_processes: int = Field(
        2,
        gt=0,
        description="Processes that decode all other files; one more for a workspace that has "
        "none.",
    )
    clip_frames: str = Field(
        "uniform:32",
        pattern=r"^(all|(uniform|different):[1-9][0-9]{0,3}|fps:[0-9]{1,4}(\.[0-9]{1,3})?)$",
        description="Frames used of a clip unless the request chooses: all, uniform:N, fps:F, "
        "different:N.",
    )
    max_clip_frames: int = Field(3000, gt=0, description="Maximum number of frames in one file.")
    max_clip_s: float = Field(300.0, gt=0, description="Maximum length of a clip, seconds.")
    max_decode_bytes: int = Field(
        1_500_000_000, gt=0, description="Maximum memory to decode one file, bytes."
    )
    max_decode_s: float = Field(60.0, gt=0, description="Maximum time to decode one file, seconds.")
    encoder_threads: int = Field(
        0, ge=0, description="Threads of one forward pass; 0 = one per core."
    )
    fit_threads: int = Field(
        1,
        gt=0,
        description="Number of classifiers fitted at the same time; one more for a workspace that "
        "has none.",
    )
    max_waiting_fits: int = Field(
        8,
        ge=0,
        description="Maximum number of fits of one workspace that wait for a thread; further ones "
        "get 503. A quarter more is kept for others.",
    )
    max_fit_examples: int = Field(
        120_000, gt=0, description="Maximum number of examples in one fit."
    )
    max_default_views: int = Field(
        0, ge=0, description="Maximum number of examples of a fit that learns views unasked."
    )
    search_threads: int = Field(4, gt=0, description="Number of searches and counts at a time.")
    exact_scans: int | None = Field(
        None,
        gt=0,
        description="Size of the largest collection that is searched exactly, scans. Unset: "
        "10,000, in PostgreSQL 5,000.",
    )
    index_build_mb: int = Field(
        1024,
        gt=0,
        description="Memory of PostgreSQL while it builds the index of a large collection, MB.",
    )
    recall_every_s: float = Field(
        60.0,
        gt=0,
        description="Time between two recall measurements of approximate search, seconds.",
    )
    retry_after_s: int = Field(
        1, gt=0, description="Value of Retry-After in a 503 response, seconds."
    )
    graceful_timeout_s: int = Field(
        20, gt=0, description="Maximum wait for running requests when the service stops, seconds."
    )
    drain_s: float = Field(
        1.0,
        ge=0,
        description="Time for which readiness answers 503 before the service stops, seconds.",
    )
    region: Literal["auto", "none"] = Field(
        "auto",
        description="Part of a frame that is used unless the request chooses: auto = the "
        "ultrasound region, none = the whole frame.",
    )
    thumbnail_side_px: int = Field(
        192, gt=0, description="Longer side of stored thumbnails, pixels."
    )
    idempotency_keep_s: int = Field(
        86_400, gt=0, description="Time for which an Idempotency-Key is remembered, seconds."
    )
    monitor_store_s: float = Field(
        5.0,
        gt=0,
        le=300,
        description="Time between two stores of what classifiers answered, seconds; a kill loses "
        "the counts since the last one.",
    )
    backup_dir: Path | None = Field(
        None, description="Folder of automatic backups; empty = no automatic backups."
    )
    backup_every_s: int = Field(
        86_400, gt=0, description="Time between two automatic backups, seconds."
    )
    backup_keep: int = Field(7, gt=0, description="Maximum number of backups kept in the folder.")
    audit: bool = Field(True, description="Keep an audit log of the requests.")
    audit_heads_dir: Path | None = Field(
        None,
        description="Folder of audit-heads.jsonl, best on another disk than the audit log; empty = "
        "the folder of backups, else the data folder, and with a database no file but the log.",
    )
    exchange_dir: Path | None = Field(
        None,
        description="Folder for exports and imports of collections over HTTP; empty = disabled.",
    )
    retention_sweep_s: int = Field(
        3600, gt=0, description="Time between two deletions of expired scans, seconds."
    )
    retention_max_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest share of a collection that a sweep deletes on a clock that it cannot "
        "prove; if more is due, it deletes none and waits for a confirmation.",
    )
    retention_min_scans: int = Field(
        5,
        ge=0,
        description="Number of scans of a collection that such a sweep may delete whatever their "
        "share.",
    )
    operation_threads: int = Field(
        1,
        gt=0,
        description="Number of operations (long work) that run at the same time, at low priority; "
        "one more for a workspace that has none.",
    )
    max_waiting_operations: int = Field(
        100,
        gt=0,
        description="Maximum number of operations of one workspace that wait for a thread; further "
        "ones get 503. A quarter more is kept for others.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest severity that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: Any) -> Any:
        """Files of variables often leave a space or a pair of quotes for nothing."""
        if not isinstance(values, dict):
            return values
        return {
            name: value
            for name, value in values.items()
            if not (isinstance(value, str) and value.strip() in ("", '""', "''"))
        }

    @field_validator("key_limits", "workspace_limits", mode="before")
    @classmethod
    def _is_object(cls, value: Any) -> Any:
        """Parsed here and not by the library, which would refuse a blank variable."""
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("catalog")
    @classmethod
    def _is_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _ADDRESS.match(value.get_secret_value()):
            raise ValueError("expected postgresql://...")
        return value

    def catalog_url(self) -> str | None:
        """The address of the database, with its password; None = the catalog is a SQLite file."""
        return None if self.catalog is None else self.catalog.get_secret_value()

    def shard_urls(self) -> dict[str, str]:
        """Name -> address of the further databases.

        Raises:
            InvalidSettings: not JSON, or no file; a name or an address is not valid.
        """
        if self.shards is None:
            return {}
        text = self.shards.get_secret_value()
        try:
            urls = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
        except (OSError, ValueError):
            # Without its cause, which quotes the text.
            raise InvalidSettings("SONOPROBE_SHARDS: expected JSON, or a file of it") from None
        is_named = isinstance(urls, dict) and all(map(_SHARD.fullmatch, urls))
        if not is_named or not all(isinstance(u, str) and _ADDRESS.match(u) for u in urls.values()):
            raise InvalidSettings(
                'SONOPROBE_SHARDS: expected {"name": "postgresql://...", ...} with names of 1 to '
                "64 letters, digits, dots, dashes"
            )
        return dict(urls)

    def heads_dir(self) -> Path | None:
        """The folder in which the heads of the audit log are noted; None = they are logged only.

        Replicas over a database keep nothing in a folder that nobody gave them.
        """
        own = self.data_dir if self.catalog is None else None
        return self.audit_heads_dir or self.backup_dir or own


def unknown_variables() -> dict[str, str | None]:
    """{variable: the setting with the nearest name} of SONOPROBE_* that are no setting."""
    known = [name.upper() for name in Settings.model_fields]
    nearest: dict[str, str | None] = {}
    for variable in sorted(os.environ):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in (*known, *OTHER_VARIABLES):
            found = difflib.get_close_matches(name, known, n=1)
            nearest[variable] = PREFIX + found[0] if found else None
    return nearest


def read_settings() -> Settings:
    """The settings of the environment.

    Raises:
        InvalidSettings: a variable has an invalid value; the message names its rule, not the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        failures = [(str(e["loc"][0]).upper(), e["msg"]) for e in error.errors()]
        rules = "; ".join(f"SONOPROBE_{name}: {rule}" for name, rule in failures)
        raise InvalidSettings(rules) from error


class EnvironmentLogin(LoginSettings, BaseSettings):
    """``LoginSettings`` as ``SONOPROBE_LOGIN_*`` of the environment has them."""

    model_config = SettingsConfigDict(
        env_prefix=f"{PREFIX}LOGIN_", frozen=True, env_ignore_empty=True
    )


def program_version() -> str:
    """The version of the installed distribution."""
    return version("sonoprobe")
