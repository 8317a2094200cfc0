"""Values that one engine may treat otherwise than another, drawn often enough to meet."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from service.catalog.filter_records import Range, ScanFilter
from service.catalog.records import ClipFrame, NewScan, ScanImage

DIM = 3
# Names in stored and in other forms, in the order of no locale; what SQL, LIKE, JSON paths and
# regular expressions read otherwise; what is refused: controls, NUL, surrogates, blanks, length.
PLAIN = ["a", "b", "A", "Z", "é", "zz", "10", "9"]
ODD = [
    "e\u0301",
    " a\t",
    "a\u00a0b",
    "\uff5e",
    "😀",
    "\U0010fffd",
    "ß",
    "ẞ",
    "ı",
    "İ",
    "I",
    "ﬀ",
    "日本",
    "👨‍👩‍👧",
    "%",
    "_",
    "a%",
    ".*",
    "^a$",
    "[0]",
    "$.a",
    "a.b",
    'a"b',
    "it's",
    "\\",
    "\\u0041",
    "{}",
    "null",
    "true",
    "1",
    "1.0",
    "-",
    "é" * 1024,
]
REFUSED = ["", " ", ".", "nul\0", "\ud800", "a\udfff", "a\nb", "\u200b", "\ufffd", "x" * 1025]
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    7,
    10,
    0.0,
    -0.0,
    1.0,
    1.5,
    0.1,
    0.1 + 0.2,
    1e-7,
    1e21,
    1e22,
    1e23,
    1.7976931348623157e308,
    5e-324,
    2.2250738585072014e-308,
    2**53,
    2**53 + 1,
    float(2**53),
    2**63 - 1,
    -(2**63),
    float(2**63),
]
REFUSED_NUMBERS: list[Any] = [2**63, -(2**63) - 1, 10**400, float("nan"), float("inf")]
LONG = "日é😀 " * 2500


def mostly(usual: Any, odd: Any, of: int = 6) -> Any:
    """One value in ``of`` is odd. ``one_of`` would weigh by the alternatives inside both."""
    return st.integers(1, of).flatmap(lambda n: odd if n == of else usual)


few_names = st.sampled_from(["a", "A", "é", "😀", "$.a", "%"])
spellings = st.sampled_from(["a", " a\t", "A", "é", "e\u0301", "😀", "$.a", "%"])
good_names = st.sampled_from([*PLAIN, *PLAIN, *ODD])
odd_names = mostly(st.sampled_from(REFUSED), st.text(max_size=4), of=3)
names = mostly(mostly(spellings, good_names, of=2), odd_names, of=6)
numbers = mostly(
    st.sampled_from(NUMBERS),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)),
    of=3,
)
words = st.sampled_from([None, True, False, "", LONG, *PLAIN, *ODD])
scalars = mostly(words, numbers, of=2)
any_scalars = mostly(scalars, st.sampled_from([*REFUSED_NUMBERS, *REFUSED, LONG * 3]))
few_classes = st.sampled_from(["a", "é"])  # so few that renaming one finds scans
labels = st.dictionaries(few_names, mostly(few_classes, good_names, of=3), max_size=3)
attributes = st.dictionaries(few_names, scalars, max_size=3)
owners = mostly(st.sampled_from([None, "a", "A", "é", "😀"]), names, of=8)
digests = mostly(
    st.sampled_from([f"{n:x}" * 64 for n in range(16)]), st.sampled_from(["", "ü"]), of=20
)
json_objects = st.dictionaries(
    good_names,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    max_size=3,
)
any_json = mostly(
    json_objects, st.sampled_from([{"x": float("nan")}, {"\ud800": 1}, {"a": "\0"}]), of=8
)


@st.composite
def vectors(draw: Any, dim: int = DIM) -> np.ndarray:
    """float32, sometimes zero, tiny or huge; never NaN."""
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    small = st.sampled_from([1.0, 0.5, 0.0, -0.0, -1.0, 3.0, 1e-30, 1e30])
    row = draw(st.lists(mostly(small, numbers), min_size=dim, max_size=dim))
    return np.array(row, np.float32)


frames = st.lists(
    st.builds(
        ClipFrame,
        st.integers(0, 3),
        st.sampled_from([None, 0.0, 0.25, 1e-9]),
        st.integers(1, 3),
        vectors(),
    ),
    max_size=3,
    unique_by=lambda frame: frame.place,
).map(tuple)
images = st.builds(
    ScanImage,
    sha256=digests,
    kind=st.sampled_from(["image", "cine"]),
    format=st.just("png"),
    width_px=st.sampled_from([1, 640, 2**40]),
    height_px=st.just(480),
    content_sha256=digests,
    frames=st.integers(1, 3),
    frame_rate_hz=st.sampled_from([None, 30.0, 29.97]),
    analysis=json_objects,
)
good_scans = st.builds(
    NewScan,
    scan_id=st.one_of(st.none(), st.none(), good_names),
    image=images,
    embedding_D=vectors(),
    thumbnail_jpeg=st.sampled_from([b"\xff\xd8 jpeg", b"\0", b""]),
    subject_id=owners,
    study_id=owners,
    labels=labels,
    attributes=attributes,
    image_png=st.sampled_from([b"png", b"png", None]),
    created_at=st.sampled_from([None, None, "2001-02-03T04:05:06.000007Z"]),
    frames=frames,
)
_odd_fields = st.one_of(
    st.fixed_dictionaries({"embedding_D": vectors(dim=2)}),
    st.just({"embedding_D": np.full(DIM, np.nan, np.float32)}),
    st.fixed_dictionaries({"scan_id": names}),
    st.fixed_dictionaries({"subject_id": names}),
    st.fixed_dictionaries({"labels": st.dictionaries(names, names, max_size=2)}),
    st.fixed_dictionaries({"attributes": st.dictionaries(names, any_scalars, max_size=2)}),
)
odd_scans = st.builds(lambda scan, fields: replace(scan, **fields), good_scans, _odd_fields)
scans = mostly(good_scans, odd_scans)

_numbers_or_bad = mostly(numbers, st.sampled_from([2**63, True, None]))
ranges = st.one_of(
    st.builds(Range, least=_numbers_or_bad, below=st.one_of(st.none(), numbers)),
    st.builds(Range, above=numbers, most=st.one_of(st.none(), numbers)),
    st.builds(Range, least=good_names, most=st.one_of(st.none(), good_names)),
    st.builds(Range, above=st.one_of(good_names, st.just("")), below=good_names),
    st.builds(Range, least=_numbers_or_bad, most=good_names),
    st.just(Range()),
)
times = st.sampled_from(
    [Range(), Range(least="2001"), Range(below="2002-01-01"), Range(above="2002", most="9")]
)


def _tuples(values: Any) -> Any:
    return st.lists(values, max_size=3).map(tuple)


_conditions = st.sampled_from(
    [
        *[("labels", st.dictionaries(spellings, _tuples(names), max_size=2))] * 2,
        *[("attributes", st.dictionaries(spellings, _tuples(any_scalars), max_size=2))] * 3,
        *[("attribute_ranges", st.dictionaries(spellings, ranges, max_size=2))] * 3,
        ("subject_ids", _tuples(names)),
        ("study_ids", _tuples(names)),
        ("not_subject_ids", _tuples(names)),
        ("not_study_ids", _tuples(names)),
        ("label_presence", st.dictionaries(names, st.booleans(), max_size=2)),
        ("attribute_presence", st.dictionaries(names, st.booleans(), max_size=2)),
        ("has_subject", st.booleans()),
        ("has_study", st.booleans()),
        ("created", times),
        ("updated", times),
    ]
).flatmap(lambda condition: st.fixed_dictionaries({condition[0]: condition[1]}))
_leaves = st.lists(_conditions, max_size=2).map(
    lambda parts: ScanFilter(**{name: value for part in parts for name, value in part.items()})
)
filters = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(ScanFilter, all_of=_tuples(inner)),
        st.builds(ScanFilter, any_of=_tuples(inner), has_study=st.sampled_from([None, True])),
        st.builds(ScanFilter, none_of=_tuples(inner)),
    ),
    max_leaves=4,
)
