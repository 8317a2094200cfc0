"""A folder of images -> a collection, resumable: the same bytes are not sent twice."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.client import ApiError, Client

_STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SUFFIXES = frozenset({*_STILLS, ".gif", ".dcm", ".dicom", ".mp4", ".avi"})
PER_REQUEST = 32
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the files; ``problems`` holds (path, code and detail)."""

    sent: int
    known: int
    problems: tuple[tuple[Path, str], ...]


def image_files(folder: Path) -> list[Path]:
    """Image files below a folder, sorted; hidden ones are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def ingest(
    client: Client,
    collection: str,
    files: Sequence[Path],
    metadata: Sequence[dict[str, Any]] | None = None,
    *,
    on_done: Callable[[int], None] = lambda count: None,
) -> Ingested:
    """Send the files that the collection does not hold; bad ones are reported, not fatal.

    Args:
        on_done: called with the number of files settled after each request.

    Raises:
        ApiError: the service refused a whole request, or stayed busy.
    """
    said = list(metadata) if metadata is not None else [{} for _ in files]
    sent, known = 0, 0
    problems: list[tuple[Path, str]] = []
    for start in range(0, len(files), PER_REQUEST):
        batch = list(files[start : start + PER_REQUEST])
        images = [path.read_bytes() for path in batch]
        digests = [hashlib.sha256(data).hexdigest() for data in images]
        there = client.known(collection, digests)
        fresh = [i for i, digest in enumerate(digests) if digest not in there]
        known += len(batch) - len(fresh)
        if fresh:
            items = _send(
                client, collection, [images[i] for i in fresh], [said[start + i] for i in fresh]
            )
            problems += [(batch[i], why) for i, why in _failed(fresh, items)]
            sent += sum("scan" in item for item in items)
        on_done(len(batch))
    return Ingested(sent, known, tuple(problems))


def _failed(fresh: Sequence[int], items: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    for index, item in zip(fresh, items, strict=True):
        if "problem" in item:
            yield index, f"{item['problem']['code']}: {item['problem']['detail']}"


def _send(
    client: Client, collection: str, images: list[bytes], metadata: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Try again while the service says that it is busy."""
    for attempt in range(ATTEMPTS):
        try:
            found: list[dict[str, Any]] = client.add_scans(collection, images, metadata)["items"]
            return found
        except ApiError as error:
            if error.status != 503 or attempt == ATTEMPTS - 1:
                raise
            time.sleep(error.retry_after_s or 1.0)
    raise AssertionError("unreachable")
