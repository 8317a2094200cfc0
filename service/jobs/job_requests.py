"""What operations are asked with, as the catalog keeps it until they are done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from service.catalog.records import Author as Author
from service.errors import InputError

R = TypeVar("R", bound="JobRequest")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A request of one kind of operation; ``from_json`` reads what ``to_json`` wrote."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[R], document: Mapping[str, Any]) -> R:
        """Raises InputError: fields are missing, unknown or of another type."""
        names = {field.name for field in fields(cls)}
        if document.keys() != names:
            raise InputError(f"expected a request with {sorted(names)}")
        request = cls(**document)
        for field in fields(cls):
            if field.type is str and not isinstance(getattr(request, field.name), str):
                raise InputError(f"expected text in {field.name}")
        return request


@dataclass(frozen=True, slots=True)
class RefitRequest(JobRequest):
    """Classifiers to fit anew without what was erased."""

    kind: ClassVar[str] = "refit"
    classifiers: tuple[str, ...]
    author: Author

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RefitRequest":
        """Raises InputError: not what ``to_json`` wrote."""
        try:
            names, author = document["classifiers"], Author(**document["author"])
        except (KeyError, TypeError) as error:
            raise InputError("expected a request with ['author', 'classifiers']") from error
        if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
            raise InputError("expected names of classifiers")
        return cls(tuple(names), author)


@dataclass(frozen=True, slots=True)
class ReembedRequest(JobRequest):
    """A collection to embed anew by the encoder that is loaded when it is asked for."""

    kind: ClassVar[str] = "reembed"
    collection: str
    encoder_id: str


@dataclass(frozen=True, slots=True)
class BackupRequest(JobRequest):
    """One cycle of backups."""

    kind: ClassVar[str] = "backup"


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
