"""Functional groups of enhanced DICOM objects, such as Enhanced US Volume (PS3.3 C.7.6.16).

They state for the file or for each frame what other objects state once. One grey scale and one size
of pixels hold for a whole file here, so what differs between its frames is not used.
"""

from typing import Any

from pydicom import Dataset, Sequence

from service.imaging.formats.dicom_tags import number
from service.imaging.formats.frames import Correction

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# (sequence, tag) of each attribute that is used. A window is in units of the rescaling.
_GREY = (
    ("FrameVOILUTSequence", "WindowCenter"),
    ("FrameVOILUTSequence", "WindowWidth"),
    ("FrameVOILUTSequence", "VOILUTFunction"),
    ("FrameVOILUTSequence", "VOILUTSequence"),
    ("PixelValueTransformationSequence", "RescaleSlope"),
    ("PixelValueTransformationSequence", "RescaleIntercept"),
)
_SIZE = (("PixelMeasuresSequence", "PixelSpacing"),)


def lift(dataset: Dataset) -> tuple[Correction, ...]:
    """Move to the top of ``dataset`` what its functional groups state alike for all frames.

    The groups themselves are dropped. What the top states itself stays.

    Returns:
        ``window`` where windows or rescaling differ between the frames, and ``spacing`` where
        sizes of pixels do; with the number of the first frame that states one.
    """
    shared, frames = _groups(dataset, _SHARED), _groups(dataset, _PER_FRAME)
    is_alike = _lift(dataset, _GREY, shared, frames), _lift(dataset, _SIZE, shared, frames)
    window, spacing = (
        next((value for group in frames if (value := _number(group, *at)) is not None), None)
        for at in (_GREY[0], _SIZE[0])
    )
    stated = (Correction("window", window), Correction("spacing", spacing))
    return tuple(one for one, alike in zip(stated, is_alike, strict=True) if not alike)


def _groups(dataset: Dataset, name: str) -> list[Dataset]:
    value = dataset.get(name)
    if value is None:
        return []
    del dataset[name]
    return list(value) if isinstance(value, Sequence) else []


def _lift(
    dataset: Dataset,
    names: tuple[tuple[str, str], ...],
    shared: list[Dataset],
    frames: list[Dataset],
) -> bool:
    """Whether all frames state the same, or nothing has to be lifted; otherwise nothing is."""
    if any(dataset.get(tag) not in (None, "") for _, tag in names):
        return True
    lifted: dict[str, Any] = {}
    for sequence, tag in names:
        values = [_value(group, sequence, tag) for group in shared[:1]]
        if not values or values[0] is None:
            values = [_value(group, sequence, tag) for group in frames]
        if any(value != values[0] for value in values):
            return False
        if values and values[0] is not None:
            lifted[tag] = values[0]
    for tag, value in lifted.items():
        setattr(dataset, tag, value)
    return True


def _value(group: Dataset, sequence: str, tag: str) -> Any:
    """None where the group does not state it."""
    items = group.get(sequence)
    return items[0].get(tag) if isinstance(items, Sequence) and len(items) else None


def _number(group: Dataset, sequence: str, tag: str) -> float | None:
    items = group.get(sequence)
    return number(items[0], tag) if isinstance(items, Sequence) and len(items) else None
