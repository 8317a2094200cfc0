"""A ScanFilter as an SQL condition over the columns of ``scans``.

The SQL text is made of the constants below alone. Names and values, which may hold any
character, travel as bound variables; a whole list of values is one variable, so no list is too
long for SQLite.
"""

from collections.abc import Sequence

from service.catalog.records import Scalar, ScanFilter
from service.catalog.rows import is_storable, json_list
from service.errors import TooManyItems

# SQLite refuses expressions deeper than 1000; nobody means a hundred conditions.
MAX_CONDITIONS = 100

_LABEL = """
    EXISTS (
        SELECT 1 FROM json_each(labels) AS entry
        WHERE entry.key = ? AND entry.value IN (SELECT value FROM json_each(?))
    )
"""
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
_SUBJECT = "subject_id IN (SELECT value FROM json_each(?))"
_STUDY = "study_id IN (SELECT value FROM json_each(?))"
# Without the first half a scan of nobody would vanish: NULL NOT IN (...) is not true.
_NOT_SUBJECT = "(subject_id IS NULL OR subject_id NOT IN (SELECT value FROM json_each(?)))"
_NOT_STUDY = "(study_id IS NULL OR study_id NOT IN (SELECT value FROM json_each(?)))"


def condition(where: ScanFilter) -> tuple[str, list[str]]:
    """SQL to follow a WHERE, and its variables; ``TRUE`` for the empty filter.

    Numbers compare by value (1 equals 1.0), never with booleans; None equals JSON null and not
    an attribute that is absent.

    Raises:
        TooManyItems: conditions on more than 100 labels and attributes.
    """
    named = len(where.labels) + len(where.attributes)
    if named > MAX_CONDITIONS:
        raise TooManyItems(f"a filter may name {MAX_CONDITIONS} labels and attributes, got {named}")
    parts: list[str] = []
    variables: list[str] = []
    for name, texts in where.labels.items():
        if texts:
            parts.append(_LABEL if is_storable(name) else "FALSE")
            variables += [name, json_list(texts)] if is_storable(name) else []
    for name, scalars in where.attributes.items():
        if scalars:
            parts.append(_ATTRIBUTE if is_storable(name) else "FALSE")
            variables += [name, *_by_type(scalars)] if is_storable(name) else []
    for sql, ids in (
        (_SUBJECT, where.subject_ids),
        (_STUDY, where.study_ids),
        (_NOT_SUBJECT, where.not_subject_ids),
        (_NOT_STUDY, where.not_study_ids),
    ):
        if ids:
            parts.append(sql)
            variables.append(json_list(ids))
    return " AND ".join(parts) or "TRUE", variables


def _by_type(scalars: Sequence[Scalar]) -> tuple[str, str, str]:
    texts = [value for value in scalars if isinstance(value, str)]
    numbers = [
        value for value in scalars if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    words = [
        "null" if value is None else str(value).lower()
        for value in scalars
        if value is None or isinstance(value, bool)
    ]
    return json_list(texts), json_list(numbers), json_list(words)
