"""How large the body of a request may be, and how many large ones are held at a time."""

from dataclasses import dataclass

from service.errors import Overloaded

_FILES = (b"multipart/form-data", b"application/dicom", b"application/octet-stream")
_FILE_FAMILIES = (b"image/", b"video/")


@dataclass(slots=True)
class BodyLimits:
    """See the settings of the same names. One object for the service, on the event loop.

    Attributes:
        held: bodies above ``max_json_bytes`` that are received or worked on.
    """

    max_upload_bytes: int
    max_json_bytes: int
    max_large_uploads: int
    held: int = 0

    def largest(self, content_type: bytes) -> int:
        """The limit for a body of this type: files may be larger than JSON, which is parsed."""
        kind = content_type.split(b";")[0].strip().lower()
        is_file = kind in _FILES or kind.startswith(_FILE_FAMILIES)
        return self.max_upload_bytes if is_file else min(self.max_json_bytes, self.max_upload_bytes)


class LargeBody:
    """The share of one request in the large bodies. Use as a context manager."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._is_large = False

    def __enter__(self) -> "LargeBody":
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_large:
            self._limits.held -= 1

    def received(self, length: int) -> None:
        """Count the body when it becomes large. Raises Overloaded: enough of them are held."""
        if self._is_large or length <= self._limits.max_json_bytes:
            return
        if self._limits.held >= self._limits.max_large_uploads:
            raise Overloaded(
                f"expected at most {self._limits.max_large_uploads} bodies above "
                f"{self._limits.max_json_bytes} bytes at a time"
            )
        self._is_large = True
        self._limits.held += 1
