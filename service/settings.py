"""Every knob of the service. One frozen object, read once from ``SONOPROBE_*``, passed down."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import InvalidSettings


class Settings(BaseSettings):
    """Facts about the model are not settings: they come from the bundle's manifest."""

    model_config = SettingsConfigDict(env_prefix="SONOPROBE_", frozen=True)

    data_dir: Path = Field(Path("sonoprobe-data"), description="Folder of the catalog.")
    bundle_dir: Path | None = Field(
        None, description="Encoder bundle; empty = the one shipped with the package."
    )
    precision: Literal["auto", "int8", "fp16", "fp32"] = Field(
        "auto", description="Network to load; auto = the bundle's default."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 = any free one.")
    require_key: bool = Field(
        True, description="Demand an API key; false only behind a gate that does."
    )
    max_upload_bytes: int = Field(
        64_000_000, gt=0, description="Longest accepted request body, bytes."
    )
    max_image_bytes: int = Field(20_000_000, gt=0, description="Longest accepted image, bytes.")
    max_pixels: int = Field(50_000_000, gt=0, description="Most pixels one image may declare.")
    max_items: int = Field(256, gt=0, description="Most images or examples in one request.")
    max_page: int = Field(500, gt=0, description="Most items on one page of a list.")
    max_k: int = Field(1000, gt=0, description="Most neighbours one search may ask for.")
    max_batch: int = Field(4, gt=0, description="Most frames in one forward pass.")
    batch_wait_s: float = Field(
        0.0, ge=0, description="Longest wait to fill a batch while the encoder is idle, seconds."
    )
    max_queue: int = Field(
        512, gt=0, description="Most frames that wait for the encoder; more answer 503."
    )
    decode_threads: int = Field(2, gt=0, description="Threads that decode and preprocess.")
    decode_processes: int = Field(
        2, gt=0, description="Processes that decode DICOM, clips, TIFF and GIF."
    )
    clip_frames: str = Field(
        "uniform:32",
        pattern=r"^(all|(uniform|different):[1-9][0-9]{0,3}|fps:[0-9]{1,4}(\.[0-9]{1,3})?)$",
        description="Frames used of a clip unless the request says: all, uniform:N, fps:F, "
        "different:N.",
    )
    max_clip_frames: int = Field(3000, gt=0, description="Most frames one file may hold.")
    max_clip_s: float = Field(300.0, gt=0, description="Longest clip, seconds.")
    max_decode_bytes: int = Field(
        1_500_000_000, gt=0, description="Memory that decoding one file may take, bytes."
    )
    max_decode_s: float = Field(
        60.0, gt=0, description="Time that decoding one file may take, seconds."
    )
    encoder_threads: int = Field(
        0, ge=0, description="Threads of one forward pass; 0 = every core."
    )
    fit_threads: int = Field(
        1, gt=0, description="Classifiers fitted at the same time, apart from embedding."
    )
    max_waiting_fits: int = Field(
        8, ge=0, description="Fits that may wait for a thread; more answer 503."
    )
    max_fit_examples: int = Field(
        120_000, gt=0, description="Most examples one classifier is fitted from."
    )
    search_threads: int = Field(
        4, gt=0, description="Searches at the same time; they wait for no other work."
    )
    exact_scans: int = Field(
        10_000, gt=0, description="Largest collection that is searched exactly, from memory."
    )
    recall_every_s: float = Field(
        60.0, gt=0, description="Pause between two measurements of approximate search, seconds."
    )
    retry_after_s: int = Field(1, gt=0, description="Retry-After of a 503, seconds.")
    graceful_timeout_s: int = Field(
        20, gt=0, description="Longest wait for requests in flight at a stop, seconds."
    )
    drain_s: float = Field(
        1.0, ge=0, description="How long readiness answers 503 before a stop begins, seconds."
    )
    region: Literal["auto", "none"] = Field(
        "auto", description="What of a frame is used unless a request says: the scan, or all."
    )
    thumbnail_side_px: int = Field(192, gt=0, description="Longer side of stored thumbnails.")
    idempotency_keep_s: int = Field(
        86_400, gt=0, description="How long an Idempotency-Key is remembered, seconds."
    )
    backup_dir: Path | None = Field(
        None, description="Folder of automatic backups; empty = none are made."
    )
    backup_every_s: int = Field(86_400, gt=0, description="Time between two backups, seconds.")
    backup_keep: int = Field(7, gt=0, description="Most backups that stay in the folder.")
    exchange_dir: Path | None = Field(
        None, description="Folder of exported collections; empty = no export over HTTP."
    )
    retention_sweep_s: int = Field(
        3600, gt=0, description="Time between two searches for scans past their retention, seconds."
    )
    operation_threads: int = Field(
        1, gt=0, description="Operations (long work) at the same time, of low priority."
    )
    max_waiting_operations: int = Field(
        100, gt=0, description="Operations that may wait for a thread; more answer 503."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe event that is logged."
    )


def read_settings() -> Settings:
    """The settings of the environment.

    Raises:
        InvalidSettings: a variable is wrong; it and its rule are named, its value is not.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = [(str(e["loc"][0]).upper(), e["msg"]) for e in error.errors()]
        said = "; ".join(f"SONOPROBE_{name}: {rule}" for name, rule in found)
        raise InvalidSettings(said) from error
