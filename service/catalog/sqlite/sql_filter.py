"""A ScanFilter as an SQL condition over the columns of ``scans``.

The SQL text consists of the constants below. Names and values, which may hold any character, are
bound variables; a whole list of values is one variable, so no list is too long for SQLite. Every
part is true or false and never NULL, so that NOT means the opposite.

Thousands of scans have the same labels. So conditions on labels are evaluated once for each
different text of a collection, which the index over its labels lists without reading a scan.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from service.catalog.filter_records import Range, ScanFilter
from service.catalog.plain_text import name_of, value_of
from service.catalog.records import Scalar
from service.catalog.sqlite.rows import json_list
from service.catalog.validation import require_filter

Variable: TypeAlias = str | int | float
Part: TypeAlias = tuple[str, list[Variable]]

# Each step looks up the next text; DISTINCT would read the index of all scans.
_LABELS = """
    labels IN (
        WITH RECURSIVE texts (text) AS (
            SELECT min(labels) FROM scans WHERE workspace_id = ?1 AND collection_id = ?2
            UNION ALL
            SELECT (
                SELECT min(labels) FROM scans
                WHERE workspace_id = ?1 AND collection_id = ?2 AND labels > texts.text
            ) FROM texts WHERE texts.text IS NOT NULL
        )
        SELECT text FROM texts WHERE text IS NOT NULL AND EXISTS (
            SELECT 1 FROM json_each(text) AS entry WHERE entry.key = ? {value}
        )
    )
"""
_LABEL = _LABELS.format(value="AND entry.value IN (SELECT value FROM json_each(?))")
_HAS_LABEL = _LABELS.format(value="")
# json_each gives true as the integer 1 and null as SQL NULL; only its type tells them apart.
_ATTRIBUTE = """
    EXISTS (
        SELECT 1 FROM json_each(attributes) AS entry
        WHERE entry.key = ? AND (
            (entry.type = 'text' AND entry.value IN (SELECT value FROM json_each(?)))
            OR (
                entry.type IN ('integer', 'real')
                AND entry.value IN (SELECT value FROM json_each(?))
            )
            OR entry.type IN (SELECT value FROM json_each(?))
        )
    )
"""
_HAS_ATTRIBUTE = "EXISTS (SELECT 1 FROM json_each(attributes) AS entry WHERE entry.key = ?)"
_RANGE = """
    EXISTS (
        SELECT 1 FROM json_each(attributes) AS entry
        WHERE entry.key = ? AND entry.type IN (SELECT value FROM json_each(?)) AND {bounds}
    )
"""
# Of an IS NOT NULL that it may use, SQLite makes a walk through the index of all subjects.
_SUBJECT = "(+subject_id IS NOT NULL AND subject_id IN (SELECT value FROM json_each(?)))"
_STUDY = "(+study_id IS NOT NULL AND study_id IN (SELECT value FROM json_each(?)))"
# Without the first half a scan without a subject would not pass: NULL NOT IN (...) is not true.
_NOT_SUBJECT = "(subject_id IS NULL OR subject_id NOT IN (SELECT value FROM json_each(?)))"
_NOT_STUDY = "(study_id IS NULL OR study_id NOT IN (SELECT value FROM json_each(?)))"
_BOUNDS = (("least", ">="), ("above", ">"), ("most", "<="), ("below", "<"))


def condition(where: ScanFilter) -> tuple[str, list[Variable]]:
    """The SQL after WHERE, and its variables; ``TRUE`` for the empty filter.

    Numbers compare by value (1 equals 1.0), never with booleans; None equals JSON null and not
    an attribute that is absent.

    The first two variables of the statement must be those of ``of_collection``.

    Raises:
        InputError: over 100 conditions, filters in filters more than 10 deep, a range between a
            number and a text, or over 64 bits.
    """
    require_filter(where)
    return _joined(where)


def of_collection(where: ScanFilter, *, is_page: bool = False) -> str:
    """The SQL that binds workspace and collection, and of a page the row that it follows.

    SQLite keeps no statistics of the file, and would read a whole collection by its index to find
    the few scans of a subject or a study. The plus leaves it theirs.
    """
    plus = "+" if where.subject_ids or where.study_ids else ""
    after = f" AND {plus}row_id > ?" if is_page else ""
    return f"workspace_id = ? AND {plus}collection_id = ?{after}"


def _joined(where: ScanFilter) -> Part:
    parts = [*_named(where), *_identities(where), *_times(where)]
    parts += [_joined(inner) for inner in where.all_of]
    if where.any_of:
        parts.append(_all_or_any([_joined(inner) for inner in where.any_of], " OR "))
    for inner in where.none_of:
        sql, variables = _joined(inner)
        parts.append((f"NOT ({sql})", variables))
    return _all_or_any(parts, " AND ") if parts else ("TRUE", [])


def _all_or_any(parts: Sequence[Part], word: str) -> Part:
    sql = word.join(sql for sql, _ in parts)
    variables = [variable for _, inner in parts for variable in inner]
    return f"({sql})", variables


def _named(where: ScanFilter) -> Iterator[Part]:
    """Conditions on labels and attributes, whose text is compared in its stored form."""
    for name, texts in where.labels.items():
        if texts:
            yield _LABEL, [name_of(name), json_list(map(name_of, texts))]
    for name, scalars in where.attributes.items():
        if scalars:
            yield _ATTRIBUTE, [name_of(name), *_by_type(scalars)]
    yield from _present(_HAS_LABEL, where.label_presence)
    yield from _present(_HAS_ATTRIBUTE, where.attribute_presence)
    for name, span in where.attribute_ranges.items():
        if span != Range():
            yield _between(name, span)


def _present(sql: str, presence: Mapping[str, bool]) -> Iterator[Part]:
    for name, is_present in presence.items():
        yield (sql if is_present else f"NOT {sql}"), [name_of(name)]


def _between(name: str, span: Range) -> Part:
    bounds, variables = _bounds("entry.value", span)
    texts = [value_of(variable) for variable in variables if isinstance(variable, str)]
    types = json_list(["text"] if texts else ["integer", "real"])
    return _RANGE.format(bounds=bounds), [name_of(name), types, *(texts or variables)]


def _bounds(column: str, span: Range) -> Part:
    values = [(sign, getattr(span, bound)) for bound, sign in _BOUNDS]
    bounds = [(sign, value) for sign, value in values if value is not None]
    return " AND ".join(f"{column} {sign} ?" for sign, _ in bounds), [value for _, value in bounds]


def _identities(where: ScanFilter) -> Iterator[Part]:
    for sql, ids in (
        (_SUBJECT, where.subject_ids),
        (_STUDY, where.study_ids),
        (_NOT_SUBJECT, where.not_subject_ids),
        (_NOT_STUDY, where.not_study_ids),
    ):
        if ids:
            yield sql, [json_list(map(name_of, ids))]
    for column, known in (("subject_id", where.has_subject), ("study_id", where.has_study)):
        if known is not None:
            yield f"{column} IS {'NOT ' if known else ''}NULL", []


def _times(where: ScanFilter) -> Iterator[Part]:
    for column, span in (("created_at", where.created), ("updated_at", where.updated)):
        if span != Range():
            yield _bounds(column, span)


def _by_type(scalars: Sequence[Scalar]) -> tuple[str, str, str]:
    texts = [value_of(value) for value in scalars if isinstance(value, str)]
    numbers = [
        value for value in scalars if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    words = [
        "null" if value is None else str(value).lower()
        for value in scalars
        if value is None or isinstance(value, bool)
    ]
    return json_list(texts), json_list(numbers), json_list(words)
