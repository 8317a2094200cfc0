"""Values that one engine may treat otherwise than another, drawn often enough to meet."""

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

names = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN),
    st.sampled_from(ODD),
    st.sampled_from(REFUSED),
    st.text(max_size=4),
)
good_names = st.one_of(st.sampled_from(PLAIN), st.sampled_from(ODD))
few_names = st.sampled_from(["a", "A", "é", "e\u0301", "😀", "$.a", "%"])
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.sampled_from([*PLAIN, *ODD, "", LONG]), good_names
)
any_scalars = st.one_of(scalars, scalars, st.sampled_from([*REFUSED_NUMBERS, *REFUSED, LONG * 3]))
labels = st.dictionaries(few_names, good_names, max_size=3)
attributes = st.dictionaries(few_names, scalars, max_size=3)
owners = st.one_of(st.none(), few_names, few_names, names)
digests = st.one_of(
    st.sampled_from([f"{n:x}" * 64 for n in range(6)]), st.sampled_from(["", "ü", "no digest"])
)
json_objects = st.dictionaries(
    good_names,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    max_size=3,
)
any_json = st.one_of(
    json_objects, json_objects, st.sampled_from([{"x": float("nan")}, {"\ud800": 1}, {"a": "\0"}])
)


@st.composite
def vectors(draw: Any, dim: int = DIM) -> np.ndarray:
    """float32, sometimes zero, tiny or huge; never NaN."""
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    small = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e-30, 1e30])
    row = draw(st.lists(st.one_of(small, small, numbers), min_size=dim, max_size=dim))
    return np.array(row, np.float32)


odd_vectors = st.one_of(
    vectors(), vectors(), vectors(), vectors(dim=2), st.just(np.full(DIM, np.nan, np.float32))
)
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
scans = st.builds(
    NewScan,
    scan_id=st.one_of(st.none(), few_names, names),
    image=images,
    embedding_D=odd_vectors,
    thumbnail_jpeg=st.sampled_from([b"", b"\xff\xd8 jpeg", b"\0"]),
    subject_id=owners,
    study_id=owners,
    labels=st.one_of(labels, labels, st.dictionaries(names, names, max_size=2)),
    attributes=st.one_of(attributes, st.dictionaries(names, any_scalars, max_size=2)),
    image_png=st.one_of(st.none(), st.just(b"png"), st.just(b"png")),
    created_at=st.sampled_from([None, None, "2001-02-03T04:05:06.000007Z"]),
    frames=frames,
)

_numbers_or_bad = st.one_of(numbers, numbers, st.sampled_from([2**63, True, None]))
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


def _few(name: str, values: Any) -> Any:
    return st.fixed_dictionaries({name: values})


_conditions = st.one_of(
    _few("labels", st.dictionaries(few_names, _tuples(names), max_size=2)),
    _few("attributes", st.dictionaries(few_names, _tuples(any_scalars), max_size=2)),
    _few("subject_ids", _tuples(names)),
    _few("study_ids", _tuples(names)),
    _few("not_subject_ids", _tuples(names)),
    _few("not_study_ids", _tuples(names)),
    _few("label_presence", st.dictionaries(names, st.booleans(), max_size=2)),
    _few("attribute_presence", st.dictionaries(names, st.booleans(), max_size=2)),
    _few("attribute_ranges", st.dictionaries(few_names, ranges, max_size=2)),
    _few("has_subject", st.booleans()),
    _few("has_study", st.booleans()),
    _few("created", times),
    _few("updated", times),
)
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
