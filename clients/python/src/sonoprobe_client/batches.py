"""Many images as several requests: which images go together, and what is split again."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from sonoprobe_client.images import Image, image_bytes
from sonoprobe_client.problems import ApiError
from sonoprobe_client.requests import JsonObject

MAX_FILES = 16
MAX_BYTES = 16_000_000  # of one request, unless one image alone is larger

# The service refuses the request for its size; a smaller one may pass.
TOO_MUCH = frozenset({"too_many_items", "upload_too_large"})
# Problems that speak of a file and not of the request: all files of a request failed alike, or its
# only file is too large. The service then answers with that one problem.
FILE_CODES = frozenset(
    {
        "clip_too_long",
        "conflict",
        "corrupt_image",
        "decode_limit",
        "frame_refused",
        "image_too_large",
        "name_taken",
        "policy_refused",
        "unsupported_format",
        "upload_too_large",
    }
)

Images: TypeAlias = Iterable[Image]
OnProgress: TypeAlias = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Batch:
    """The images of one request, and what is sent beside each."""

    start: int
    images: list[bytes]
    extras: list[Any] | None
    is_whole: bool

    def key(self, base: str | None) -> str | None:
        """The Idempotency-Key: other images under the same key would be refused."""
        if base is None or self.is_whole:
            return base
        return f"{base}.{self.start}.{len(self.images)}"


def is_one_image(images: object) -> bool:
    """Whether it is an image itself, although some images can be walked through as lists can.

    A file has lines, and a NumPy frame has rows, which of a colour frame would pass as small grey
    frames. A stack of grey frames is a list.
    """
    if isinstance(images, str | bytes | bytearray | memoryview | os.PathLike):
        return True
    if hasattr(images, "dtype") and hasattr(images, "shape"):
        shape = tuple(images.shape)
        return len(shape) < 3 or (len(shape) == 3 and shape[2] == 3)
    return hasattr(images, "read")


class ImageQueue:
    """Reads images when their turn comes, so that few are in memory at a time.

    Args:
        extras: one entry per image, or None.

    Raises:
        TypeError: one image instead of several.
        ValueError: another number of entries.
    """

    def __init__(self, images: Images, extras: Sequence[Any] | None = None) -> None:
        if is_one_image(images):
            raise TypeError("expected a list of images, found one")
        self.total = len(images) if isinstance(images, Sized) else None
        self.extras = extras
        if extras is not None and self.total is not None:
            self._check_number(self.total)
        self._images = iter(images)
        self._held: deque[bytes] = deque()
        self._position = 0

    def take(self, max_files: int, max_bytes: int = MAX_BYTES) -> Batch:
        """The next batch; without images when all were taken."""
        start, size = self._position, 0
        images: list[bytes] = []
        while len(images) < max_files and self._is_left():
            if images and size + len(self._held[0]) > max_bytes:
                break
            size += len(self._held[0])
            images.append(self._held.popleft())
        self._position += len(images)
        is_over = not self._is_left()
        if is_over and self.extras is not None:
            self._check_number(self._position)
        extras = None if self.extras is None else list(self.extras[start : self._position])
        return Batch(start, images, extras, is_whole=start == 0 and is_over)

    def all(self) -> Batch:
        """Everything as one batch, for requests that cannot be split."""
        images = [*self._held, *map(image_bytes, self._images)]
        return Batch(0, images, None if self.extras is None else list(self.extras), is_whole=True)

    def give_back(self, batch: Batch) -> None:
        """Let a batch be taken again, in smaller parts."""
        self._held.extendleft(reversed(batch.images))
        self._position = batch.start

    def _is_left(self) -> bool:
        if not self._held:
            self._held.extend(map(image_bytes, islice(self._images, 1)))
        return bool(self._held)

    def _check_number(self, images: int) -> None:
        entries = len(self.extras or ())
        if entries != images:
            raise ValueError(f"expected one entry per image, found {entries} for {images} images")


class JoinedAnswer:
    """The answers to several requests as one, with the items in the order of the images."""

    def __init__(self, queue: ImageQueue, on_progress: OnProgress | None, max_files: int) -> None:
        self.max_files = max_files
        self._queue = queue
        self._on_progress = on_progress
        self._first: JsonObject | None = None
        self._error: ApiError | None = None
        self._items: list[Any] = []

    def add(self, answer: JsonObject) -> None:
        """Take the answer to the next batch."""
        self._first = self._first or answer
        self._grow(answer["items"])

    def add_failure(self, batch: Batch, error: ApiError) -> None:
        """Take the refusal of a batch: split it, or take it as that of each image, or raise it."""
        if error.code in TOO_MUCH and len(batch.images) > 1:
            self.max_files = len(batch.images) // 2
            self._queue.give_back(batch)
            return
        if error.code not in FILE_CODES:
            raise error
        self._error = self._error or error
        self._grow([{"problem": error.problem} for _ in batch.images])

    def document(self) -> JsonObject:
        """The joined answer. Raises ApiError: every image failed; ValueError: there was none."""
        if self._first is None:
            raise self._error or ValueError("expected at least one image")
        return {**self._first, "items": self._items}

    def _grow(self, items: Sequence[Any]) -> None:
        self._items.extend(items)
        if self._on_progress is not None:
            self._on_progress(len(self._items), self._queue.total)
