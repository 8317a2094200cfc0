"""What every engine does with a new scan, or with changes of a scan, before it stores them.

Shape suffixes: D embedding width.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.catalog.codec import (
    encode_json,
    encode_vector,
    plain_attributes,
    plain_labels,
    to_columns,
)
from service.catalog.ids import new_id
from service.catalog.plain_text import name_of, require_name, require_optional_name
from service.catalog.policies.intake_rules import NO_RULES, IntakeRules
from service.catalog.records import IgnoredField, NewScan, Scalar, Scan, ScanPatch
from service.catalog.validation import require_optional_text, require_text
from service.errors import Conflict, EncoderMismatch, NameTaken

PATCHABLE = frozenset({"subject_id", "study_id"})
MAX_COPIES = 100  # that an answer names


@dataclass(frozen=True, slots=True)
class PreparedScan:
    """A NewScan that passed every check, with its encoded columns.

    Attributes:
        vector, frames: little-endian float32.
    """

    new: NewScan
    columns: dict[str, Any]
    labels: Mapping[str, str]
    attributes: Mapping[str, Scalar]
    vector: bytes
    frames: tuple[bytes, ...]

    def stored_bytes(self, *, keep_image: bool) -> int:
        """What the scan counts for in the quota of its workspace."""
        parts = (self.vector, self.new.thumbnail_jpeg, *self.frames)
        image = self.new.image_png if keep_image else None
        return sum(len(part) for part in (*parts, image) if part)


def prepare(new: NewScan, dim: int, rules: IntakeRules = NO_RULES) -> PreparedScan:
    """Check a scan. Raises InputError: it cannot be stored. PolicyRefused: it may not be."""
    new = rules.let_in(new)
    require_text(new.image.sha256, "a sha256")
    require_text(new.image.content_sha256, "a content_sha256")
    require_optional_text(new.created_at, "a time")
    labels, attributes = plain_labels(new.labels), plain_attributes(new.attributes)
    scan_id = new_id("scn") if new.scan_id is None else require_name(new.scan_id, "a scan id")
    columns = to_columns(new.image) | {
        "scan_id": scan_id,
        "subject_id": require_optional_name(new.subject_id, "a subject id"),
        "study_id": require_optional_name(new.study_id, "a study id"),
        "labels": encode_json(labels),
        "attributes": encode_json(attributes),
    }
    vector = encode_vector(new.embedding_D, dim)
    frames = tuple(encode_vector(frame.embedding_D, dim) for frame in new.frames)
    return PreparedScan(new, columns, labels, attributes, vector, frames)


def ignored(prepared: PreparedScan, scan: Scan) -> Iterator[IgnoredField]:
    """What a repeated upload says otherwise than the stored scan."""
    new, columns = prepared.new, prepared.columns
    if new.image.content_sha256 != scan.image.content_sha256:  # other frames or another region
        sent, kept = new.image.content_sha256, scan.image.content_sha256
        yield IgnoredField("image.content_sha256", sent, kept)
    if new.scan_id is not None and columns["scan_id"] != scan.scan_id:
        yield IgnoredField("scan_id", columns["scan_id"], scan.scan_id)
    if new.study_id is not None and columns["study_id"] != scan.study_id:
        yield IgnoredField("study_id", columns["study_id"], scan.study_id)
    for field, sent_values, kept_values in (
        ("labels", prepared.labels, scan.labels),
        ("attributes", prepared.attributes, scan.attributes),
    ):
        for name, value in sent_values.items():
            # 1 and true are equal in Python, and not in JSON.
            known = name in kept_values and encode_json(kept_values[name]) == encode_json(value)
            if not known:
                yield IgnoredField(f"{field}.{name}", value, kept_values.get(name))


def patched(scan: Scan, patch: ScanPatch) -> dict[str, Any]:
    """The new values of all fields that can change, in their stored form."""
    owners = {
        field: require_optional_name(getattr(patch, field), f"a {field.removesuffix('_id')} id")
        if field in patch.set_fields
        else getattr(scan, field)
        for field in sorted(PATCHABLE)
    }
    labels: dict[str, str] = dict(scan.labels)
    _apply(labels, patch.labels, plain_labels)
    # Only a None of the patch removes an attribute; a stored null stays.
    attributes: dict[str, Scalar] = dict(scan.attributes)
    _apply(attributes, patch.attributes, plain_attributes)
    return owners | {"labels": labels, "attributes": attributes}


def _apply(stored: dict[str, Any], changes: Mapping[str, Any], plain: Any) -> None:
    for name in [name_of(name) for name, value in changes.items() if value is None]:
        stored.pop(name, None)
    stored |= plain({name: value for name, value in changes.items() if value is not None})


def encoded(patched: Mapping[str, Any]) -> tuple[str | None, str | None, str, str]:
    """The columns subject_id, study_id, labels and attributes."""
    labels, attributes = encode_json(patched["labels"]), encode_json(patched["attributes"])
    return patched["subject_id"], patched["study_id"], labels, attributes


def removes(scan: Scan, patched: Mapping[str, Any]) -> bool:
    """Whether something that was stored is replaced or removed."""
    for field in PATCHABLE:
        if getattr(scan, field) not in (None, patched[field]):
            return True
    pairs = ((scan.labels, patched["labels"]), (scan.attributes, patched["attributes"]))
    return any(
        name not in after or encode_json(after[name]) != encode_json(value)
        for before, after in pairs
        for name, value in before.items()
    )


def require_encoder(bound_to: str, encoder_id: str) -> None:
    """Raises EncoderMismatch: the collection is bound to another encoder."""
    if bound_to != encoder_id:
        raise EncoderMismatch(f"the collection is bound to encoder {bound_to}, got {encoder_id}")


def name_taken() -> NameTaken:
    """The answer to a new scan whose id another one has."""
    return NameTaken("another image, or this one of another subject, has this scan id")


def has_copy() -> Conflict:
    """The error of a scan that would become a second scan of one image and one subject."""
    return Conflict(
        "the collection has this image under this subject already: delete one of the two"
    )
