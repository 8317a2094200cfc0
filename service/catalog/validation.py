"""Checks that every engine of the catalog applies to text, numbers, versions and filters.

No message quotes a value.
"""

import math

from service.catalog.filter_records import Range, ScanFilter
from service.catalog.plain_text import require_value
from service.catalog.records import Scalar
from service.errors import InputError, InvalidCursor, NoThumbnail, PreconditionFailed

INT64_MAX = 2**63 - 1
MAX_CONDITIONS = 100  # of one filter; SQLite refuses expressions deeper than 1000
MAX_DEPTH = 10  # of filters in filters
POLICY = frozenset({"description", "keep_images", "retention_days"})  # what a patch may set
MAX_TASKS = 64  # label names that are counted when none is named
MAX_DAYS = 100_000  # Python's calendar ends in the year 9999


def is_storable(text: str) -> bool:
    """Whether every engine can store the text: valid Unicode, no NUL (it ends SQLite's JSON)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def is_comparable(value: str | int | float) -> bool:
    """Whether a stored value can equal this one."""
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return -INT64_MAX - 1 <= value <= INT64_MAX


def require_text(text: object, what: str) -> str:
    """Return the text. Raises InputError: not a string, or not storable; ``what`` names it."""
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {type(text).__name__}")
    if not is_storable(text):
        raise InputError(f"{what} must be valid Unicode without NUL characters")
    return text


def require_optional_text(text: object, what: str) -> None:
    """As ``require_text``, unless the text is None."""
    if text is not None:
        require_text(text, what)


def require_scalar(value: object) -> Scalar:
    """An attribute's value as it is stored. Raises InputError: not a scalar, NaN, over 64 bits."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return require_value(value, "an attribute value")
    if isinstance(value, int | float) and is_comparable(value):
        return value
    raise InputError(
        "an attribute value must be text, a boolean, null, a 64-bit integer or a finite number, "
        f"got {type(value).__name__}"
    )


def require_limit(limit: int) -> int:
    """Return the page size. Raises InputError: smaller than 1."""
    if limit < 1:
        raise InputError(f"a page must hold at least 1 item, got {limit}")
    return limit


def row_of_cursor(after: str) -> int:
    """The row id that a cursor is. Raises InvalidCursor: not a decimal row id."""
    # The length comes first: int() raises ValueError for texts of many thousand digits.
    if after.isascii() and after.isdecimal() and len(after) <= 19 and int(after) <= INT64_MAX:
        return int(after)
    raise InvalidCursor("the cursor of a list of scans must be a decimal row id")


def require_thumbnail(jpeg: bytes) -> bytes:
    """Return the stored bytes. Raises NoThumbnail: they are empty."""
    if not jpeg:
        raise NoThumbnail(
            "no thumbnail was stored, because the picture has a high burned-in risk; a "
            "collection whose intake has high_risk_thumbnails stores it"
        )
    return bytes(jpeg)


def require_version(current: int, if_version: int | None) -> None:
    """Raises PreconditionFailed: ``if_version`` is set and is not the current version."""
    if if_version is not None and if_version != current:
        raise PreconditionFailed(f"expected version {if_version}, the current one is {current}")


def require_days(days: float | None) -> float | None:
    """Return the age. Raises InputError: not above 0, or beyond the calendar."""
    if days is not None and not 0 < days <= MAX_DAYS:
        raise InputError(f"an age must be above 0 and at most {MAX_DAYS} days, got {days}")
    return days


def require_fields(named: frozenset[str], known: frozenset[str]) -> None:
    """Raises InputError: ``set_fields`` of a patch names an unknown field."""
    unknown = len(named - known)
    if unknown:
        raise InputError(f"set_fields may name {sorted(known)}, got {unknown} others")


def require_filter(where: ScanFilter) -> None:
    """Raises InputError: over 100 conditions or 10 levels, or a range that mixes types."""
    total, level, depth = 0, [where], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"filters may be nested {MAX_DEPTH} deep at most, got more")
        inner = [f for parent in level for f in (*parent.all_of, *parent.any_of, *parent.none_of)]
        total += sum(_size(parent) for parent in level) + len(inner)
        if total > MAX_CONDITIONS:
            raise InputError(f"a filter may hold {MAX_CONDITIONS} conditions, got more")
        for parent in level:
            for span in parent.attribute_ranges.values():
                _require_range(span)
        level = inner


def _size(where: ScanFilter) -> int:
    values = len(where.labels) + len(where.attributes) + len(where.attribute_ranges)
    return values + len(where.label_presence) + len(where.attribute_presence)


def _require_range(span: Range) -> None:
    bounds = [b for b in (span.least, span.most, span.above, span.below) if b is not None]
    if len({isinstance(b, str) for b in bounds}) > 1 or any(isinstance(b, bool) for b in bounds):
        raise InputError("the bounds of a range must be numbers alone, or text alone")
