"""The requests of operations, which the catalog keeps until they are done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from service.catalog.codec import from_json
from service.catalog.records import Author as Author
from service.errors import InputError

R = TypeVar("R", bound="JobRequest")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A request of one kind of operation; ``from_json`` reads what ``to_json`` wrote."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The request as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[R], document: Mapping[str, Any]) -> R:
        """Raises InputError: not what ``to_json`` wrote."""
        try:
            return from_json(cls, dict(document))
        except ValueError as error:
            raise InputError(f"the request of the operation cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class RefitRequest(JobRequest):
    """Classifiers to fit again without erased examples."""

    kind: ClassVar[str] = "refit"
    classifiers: tuple[str, ...]
    author: Author


@dataclass(frozen=True, slots=True)
class ReembedRequest(JobRequest):
    """A collection to embed again with the encoder that is loaded at the time of the request."""

    kind: ClassVar[str] = "reembed"
    collection: str
    encoder_id: str


@dataclass(frozen=True, slots=True)
class LayoutRequest(JobRequest):
    """A collection to lay out for its map."""

    kind: ClassVar[str] = "layout"
    collection: str


@dataclass(frozen=True, slots=True)
class BackupRequest(JobRequest):
    """One cycle of backups."""

    kind: ClassVar[str] = "backup"


@dataclass(frozen=True, slots=True)
class PseudonymizeRequest(JobRequest):
    """Give pseudonyms to the ids that the workspace stored before its policy demanded them."""

    kind: ClassVar[str] = "pseudonymize"


@dataclass(frozen=True, slots=True)
class WorkspaceDeletion(JobRequest):
    """A workspace to delete, and how much was in it when that was asked for."""

    kind: ClassVar[str] = "delete_workspace"
    workspace_id: str
    name: str
    collections: int
    scans: int
    classifiers: int
    keys: int
    operations: int


@dataclass(frozen=True, slots=True)
class ExportRequest(JobRequest):
    """A collection to write as the export ``to``."""

    kind: ClassVar[str] = "export"
    collection: str
    to: str


@dataclass(frozen=True, slots=True)
class ImportRequest(JobRequest):
    """A collection to read from the export ``source``."""

    kind: ClassVar[str] = "import"
    collection: str
    source: str
