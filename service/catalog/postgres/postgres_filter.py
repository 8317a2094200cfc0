"""A ScanFilter as a condition over the columns of ``scans`` in PostgreSQL.

The SQL text consists of the constants below. Names and values are bound variables; a whole list of
values is one. Every part is true or false and never NULL, so that NOT means the opposite.

Numbers are compared in ``attributes_b``, where a float of the range of 64-bit integers has all its
digits (``exact_numbers`` in the schema), so that it equals the integer of the same value.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from service.catalog.codec import encode_json
from service.catalog.filter_records import Range, ScanFilter
from service.catalog.plain_text import name_of, value_of
from service.catalog.postgres.postgres_rows import comparable
from service.catalog.records import Scalar
from service.catalog.validation import INT64_MAX, is_comparable, require_filter
from service.errors import InputError

Variable: TypeAlias = str | list[str]
Part: TypeAlias = tuple[str, list[Variable]]
FEW = 16  # values that the index looks up one by one; more are one hashed set
_DIGITS_FROM = 1e16  # where Python writes floats with an exponent

# Not ANY: the index over collection and value is searched with both only for a single operator.
_AMONG_FEW = "{column} @> %s::jsonb"
_AMONG_MANY = "coalesce({column} -> %s::text = ANY(%s::jsonb[]), false)"
_PRESENT = "{column} ? %s::text"
# CASE, because PostgreSQL may evaluate the parts of an AND in any order.
_NUMBERS = """
    CASE WHEN jsonb_typeof(attributes_b -> %s::text) = 'number'
    THEN {bounds} ELSE false END
"""
_TEXTS = """
    CASE WHEN jsonb_typeof(attributes_b -> %s::text) = 'string'
    THEN {bounds} ELSE false END
"""
_NUMBER = "(attributes_b -> %s::text)::numeric {sign} %s::numeric"
_TEXT = '(attributes_b ->> %s::text) COLLATE "C" {sign} %s::text COLLATE "C"'
_IS = "({column} IS NOT NULL AND {column} = ANY(%s::text[]))"
# Without the first half a scan without a subject would not pass: NULL <> ALL is not true.
_IS_NOT = "({column} IS NULL OR {column} <> ALL(%s::text[]))"
_BOUNDS = (("least", ">="), ("above", ">"), ("most", "<="), ("below", "<"))


def condition(where: ScanFilter) -> tuple[str, list[Variable]]:
    """The SQL after WHERE, and its variables; ``TRUE`` for the empty filter.

    Numbers compare by value (1 equals 1.0), never with booleans; None equals JSON null and not
    an attribute that is absent.

    Execute it with ``prepare=False``, because its plan depends on the values, and with
    ``collection_id = %s::bigint`` beside it: the driver sends a small number as another type, with
    which the index over collection and value cannot be searched.

    Raises:
        InputError: over 100 conditions, filters in filters more than 10 deep, a range between a
            number and a text, or over 64 bits.
    """
    require_filter(where)
    return _joined(where)


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
            yield _among("labels_b", name_of(name), [encode_json(name_of(text)) for text in texts])
    for name, scalars in where.attributes.items():
        if scalars:
            yield _among("attributes_b", name_of(name), list(_json_values(scalars)))
    for column, presence in (
        ("labels_b", where.label_presence),
        ("attributes_b", where.attribute_presence),
    ):
        yield from _present(column, presence)
    for name, span in where.attribute_ranges.items():
        if span != Range():
            yield _between(name_of(name), span)


def _among(column: str, name: str, values: Sequence[str]) -> Part:
    """Whether the value of a name is one of these, given as JSON."""
    if not values:
        return "FALSE", []  # no stored value can equal one of those asked for
    if len(values) > FEW:
        return _AMONG_MANY.format(column=column), [name, list(values)]
    key = encode_json(name)
    sql = _AMONG_FEW.format(column=column)
    return _all_or_any([(sql, [f"{{{key}: {value}}}"]) for value in values], " OR ")


def _json_values(scalars: Sequence[Scalar]) -> Iterator[str]:
    for value in scalars:
        if value is None or isinstance(value, bool):
            yield encode_json(value)
        elif isinstance(value, str):
            yield encode_json(value_of(value))
        elif is_comparable(value):
            yield exact_number(value)


def exact_number(value: int | float) -> str:
    """A finite number as ``attributes_b`` has it."""
    if isinstance(value, float) and abs(value) >= _DIGITS_FROM and _is_int64(value):
        return str(int(value))
    return repr(value)


def _is_int64(value: float) -> bool:
    return -INT64_MAX - 1 <= int(value) <= INT64_MAX


def _present(column: str, presence: Mapping[str, bool]) -> Iterator[Part]:
    sql = _PRESENT.format(column=column)
    for name, is_present in presence.items():
        yield (sql if is_present else f"NOT ({sql})"), [name_of(name)]


def _between(name: str, span: Range) -> Part:
    bounds = _bounds(span)
    if any(isinstance(value, str) for _, value in bounds):
        texts = [(sign, value_of(str(value))) for sign, value in bounds]
        return _compared(_TEXTS, _TEXT, name, texts)
    numbers: list[tuple[str, str]] = []
    for sign, value in bounds:
        if isinstance(value, int) and not is_comparable(value):
            raise InputError("an integer must fit in 64 bits")
        if isinstance(value, float) and math.isnan(value):
            return "FALSE", []  # nothing compares with it
        is_finite = not isinstance(value, float) or math.isfinite(value)
        numbers.append((sign, exact_number(value) if is_finite else str(value)))  # type: ignore[arg-type]
    return _compared(_NUMBERS, _NUMBER, name, numbers)


def _compared(when: str, part: str, name: str, bounds: Sequence[tuple[str, str]]) -> Part:
    sql = when.format(bounds=" AND ".join(part.format(sign=sign) for sign, _ in bounds))
    return sql, [name, *(text for _, value in bounds for text in (name, value))]


def _bounds(span: Range) -> list[tuple[str, str | int | float]]:
    values = [(sign, getattr(span, bound)) for bound, sign in _BOUNDS]
    return [(sign, value) for sign, value in values if value is not None]


def _identities(where: ScanFilter) -> Iterator[Part]:
    for sql, column, ids in (
        (_IS, "subject_id", where.subject_ids),
        (_IS, "study_id", where.study_ids),
        (_IS_NOT, "subject_id", where.not_subject_ids),
        (_IS_NOT, "study_id", where.not_study_ids),
    ):
        if ids:
            yield sql.format(column=column), [comparable(map(name_of, ids))]
    for column, known in (("subject_id", where.has_subject), ("study_id", where.has_study)):
        if known is not None:
            yield f"{column} IS {'NOT ' if known else ''}NULL", []


def _times(where: ScanFilter) -> Iterator[Part]:
    for column, span in (("created_at", where.created), ("updated_at", where.updated)):
        for sign, value in _bounds(span):
            yield f"{column} {sign} %s::text", [str(value)]
