"""The filter over scans: one language for lists, searches, counts and fits."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from service.access.audit.touched import touched
from service.access.workspace_rules import (
    sought_studies,
    sought_subjects,
    stored_study,
    stored_subject,
)
from service.api.shapes.base import (
    DISTINCT_NAMES,
    WRITTEN_TIME,
    Body,
    Identifier,
    JsonObject,
    Label,
    Value,
    example_of,
)
from service.errors import InputError
from service.gallery.gallery_records import Range, ScanFilter

MAX_FILTER_DEPTH = 8  # as the catalog's; refused here before anything recurses
MAX_FILTER_CONDITIONS = 100  # as the catalog's
MAX_FILTER_VALUES = 20_000  # of all lists together; each scan is compared with them
# fail_fast: one wrong value is told, not each of thousands.
Values = Annotated[list[Value], Field(max_length=1000, fail_fast=True)]
Identifiers = Annotated[list[Identifier], Field(max_length=10_000, fail_fast=True)]
# A condition without values would not be told from no condition, which all scans pass.
SomeValues = Annotated[Values, Field(min_length=1)]
SomeLabels = Annotated[list[Label], Field(min_length=1, max_length=1000, fail_fast=True)]
SomeIdentifiers = Annotated[Identifiers, Field(min_length=1)]
Moment = Annotated[datetime | date, WRITTEN_TIME]


class Presence(Body):
    """Whether a scan has the label or id at all."""

    exists: bool


class TimeRange(Body):
    """A range of times; a date means its first moment, a time without offset is UTC."""

    gte: Moment | None = None
    gt: Moment | None = None
    lte: Moment | None = None
    lt: Moment | None = None

    def range(self) -> Range:
        """The range as the catalog compares times."""
        return Range(_moment(self.gte), _moment(self.lte), _moment(self.gt), _moment(self.lt))


Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]  # no booleans
Bound = Annotated[str, StringConstraints(max_length=1000)] | Number


class AttributeTest(Body):
    """Every named test must pass. Bounds are all numbers or all text, such as ISO dates."""

    exists: bool | None = Field(None, description="Whether the scan has the attribute, even null.")
    any_of: SomeValues | None = Field(None, alias="in")
    none_of: Values | None = Field(None, alias="not_in")
    gte: Bound | None = None
    gt: Bound | None = None
    lte: Bound | None = None
    lt: Bound | None = None


LabelTests = Annotated[
    dict[Identifier, Label | SomeLabels | Presence], Field(max_length=64), DISTINCT_NAMES
]
AttributeTests = Annotated[
    dict[Identifier, Value | SomeValues | AttributeTest], Field(max_length=64), DISTINCT_NAMES
]


class FilterBody(Body):
    """Conditions that must all hold; a list of values means any of them, and has at least one.

    ``and``, ``or`` and ``not`` hold further filters: at most 8 deep, 100 conditions, 20,000 values.
    """

    model_config = example_of(
        {
            "labels": {"finding": ["benign", "malignant"]},
            "attributes": {"age": {"gte": 40, "lt": 60}, "device": {"exists": True}},
            "created_at": {"gte": "2026-01-01"},
            "not": {"or": [{"subject_id": "p1"}, {"study_id": {"exists": False}}]},
        }
    )

    labels: LabelTests = Field(default_factory=dict)
    attributes: AttributeTests = Field(default_factory=dict)
    subject_id: Identifier | SomeIdentifiers | Presence | None = None
    study_id: Identifier | SomeIdentifiers | Presence | None = None
    not_subject_id: Identifier | Identifiers | None = None
    not_study_id: Identifier | Identifiers | None = None
    created_at: TimeRange | None = None
    updated_at: TimeRange | None = None
    all_of: "list[FilterBody] | None" = Field(None, alias="and", min_length=1, max_length=100)
    any_of: "list[FilterBody] | None" = Field(None, alias="or", min_length=1, max_length=100)
    none_of: "FilterBody | None" = Field(None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _is_not_too_large(cls, document: Any) -> Any:
        level, depth, conditions, values = [document], 0, -1, 0  # the filter itself is none
        while level:
            depth += 1
            conditions += sum(_conditions_of(part) for part in level)
            values += sum(_values_in(part) for part in level)
            if depth > MAX_FILTER_DEPTH:
                raise ValueError(f"expected filters at most {MAX_FILTER_DEPTH} deep")
            if conditions > MAX_FILTER_CONDITIONS:
                raise ValueError(f"expected at most {MAX_FILTER_CONDITIONS} conditions, got more")
            if values > MAX_FILTER_VALUES:
                raise ValueError(f"expected at most {MAX_FILTER_VALUES} values, got more")
            level = [inner for outer in level for inner in _filters_in(outer)]
        return document

    def as_stored(self) -> "FilterBody":
        """The filter with the ids under which the workspace stores subjects and studies.

        For what is kept with a version or an operation: it has no id as it was given.
        """
        own = {
            name: _mapped(value, stored)
            for name, stored in _STORED.items()
            if (value := getattr(self, name)) is not None
        }
        inner: dict[str, Any] = {
            name: [part.as_stored() for part in parts]
            for name, parts in (("all_of", self.all_of), ("any_of", self.any_of))
            if parts is not None
        }
        if self.none_of is not None:
            inner["none_of"] = self.none_of.as_stored()
        return self.model_copy(update=own | inner)

    def written(self) -> JsonObject:
        """The filter as a request writes it."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def where(self) -> ScanFilter:
        """The filter as the gallery takes it; what it names stands in the audit log.

        Raises:
            InputError: a time is beyond the calendar.
        """
        touched("subject", self._named("subject_id", "not_subject_id"))
        touched("study", self._named("study_id", "not_study_id"))
        return self._where()

    def _named(self, *fields: str) -> Iterator[str]:
        """The ids in these fields, also of inner filters."""
        for name in fields:
            yield from _values(getattr(self, name))
        inner = (*(self.all_of or ()), *(self.any_of or ()), self.none_of)
        for part in inner:
            if part is not None:
                yield from part._named(*fields)

    def _where(self) -> ScanFilter:
        tests = {n: v for n, v in self.attributes.items() if isinstance(v, AttributeTest)}
        values = {n: _many(v) for n, v in self.attributes.items() if n not in tests}
        any_of = {n: tuple(v.any_of) for n, v in tests.items() if v.any_of}
        none_of = [
            ScanFilter(attributes={n: tuple(v.none_of)}) for n, v in tests.items() if v.none_of
        ]
        spans = {n: Range(v.gte, v.lte, v.gt, v.lt) for n, v in tests.items()}
        presence = {n: v.exists for n, v in self.labels.items() if isinstance(v, Presence)}
        return ScanFilter(
            labels={n: _many(v) for n, v in self.labels.items() if n not in presence},
            attributes=values | any_of,
            subject_ids=sought_subjects(_values(self.subject_id)),
            study_ids=sought_studies(_values(self.study_id)),
            not_subject_ids=sought_subjects(_values(self.not_subject_id)),
            not_study_ids=sought_studies(_values(self.not_study_id)),
            label_presence=presence,
            attribute_presence={n: v.exists for n, v in tests.items() if v.exists is not None},
            attribute_ranges={n: span for n, span in spans.items() if span != Range()},
            has_subject=_exists(self.subject_id),
            has_study=_exists(self.study_id),
            created=self.created_at.range() if self.created_at else Range(),
            updated=self.updated_at.range() if self.updated_at else Range(),
            all_of=tuple(inner._where() for inner in self.all_of or ()),
            any_of=tuple(inner._where() for inner in self.any_of or ()),
            none_of=(*none_of, *((self.none_of._where(),) if self.none_of else ())),
        )


_STORED = {
    "subject_id": stored_subject,
    "study_id": stored_study,
    "not_subject_id": stored_subject,
    "not_study_id": stored_study,
}


def _mapped(value: Any, stored: Callable[[str], str]) -> Any:
    if isinstance(value, Presence):
        return value
    return [stored(item) for item in value] if isinstance(value, list) else stored(value)


def _conditions_of(document: Any) -> int:
    """The filter itself, and its tests of labels and attributes."""
    if not isinstance(document, dict):
        return 1
    tests = (document.get("labels"), document.get("attributes"))
    return 1 + sum(len(test) for test in tests if isinstance(test, dict))


def _values_in(document: Any) -> int:
    """The values in the lists of a filter, without those of the filters in it."""
    if not isinstance(document, dict):
        return 0
    found = [document.get(name) for name in _STORED]
    for tests in (document.get("labels"), document.get("attributes")):
        for test in tests.values() if isinstance(tests, dict) else ():
            found += [test.get("in"), test.get("not_in")] if isinstance(test, dict) else [test]
    return sum(len(values) for values in found if isinstance(values, list))


def _filters_in(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        return []
    lists = [items for word in ("and", "or") if isinstance(items := document.get(word), list)]
    inner = [item for items in lists for item in items]
    return inner + ([document["not"]] if "not" in document else [])


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _values(value: Any) -> tuple[Any, ...]:
    return () if value is None or isinstance(value, Presence) else _many(value)


def _exists(value: Any) -> bool | None:
    return value.exists if isinstance(value, Presence) else None


def _moment(time: date | datetime | None) -> str | None:
    """The time as the catalog writes it: its text sorts by time. Raises InputError."""
    if time is None:
        return None
    moment = time if isinstance(time, datetime) else datetime(time.year, time.month, time.day)
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        utc = aware.astimezone(UTC)
    except OverflowError as error:
        raise InputError("expected a time between the years 1 and 9999") from error
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")
