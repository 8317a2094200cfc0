"""A cache of features on disk, so that a second evaluation only fits heads.

Shape suffixes: N frames, D feature width.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.catalogue.contents import content_of
from training.catalogue.manifest import ManifestRow, load_frames
from training.evaluation.encoders import FrameEncoder, embed
from training.evaluation.protocol import Floats
from training.evaluation.served import Way, file_rows, used_pixels

log = logging.getLogger(__name__)


def features(
    encoder: FrameEncoder, rows: Sequence[ManifestRow], folder: Path, way: Way = "whole"
) -> Floats:
    """features_ND of the rows' frames, computed once per encoder, way and content of the files.

    The file is named by all three, so a changed weight file or frame is computed anew; a changed
    analysis is not noticed: use another folder after that. Raw: neither centred nor at unit length.

    Args:
        way: ``whole`` frames, or what the service uses of them.

    Raises:
        InputError: a file is missing or does not decode.
    """
    part = "" if way == "whole" else f"-{way}"
    path = folder / f"{encoder.key}-{content_of(rows)}{part}.npy"
    if path.exists():
        stored: Floats = np.load(path, allow_pickle=False)
        return stored
    rows_ND = _embedded(encoder, rows, way)
    folder.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: an interrupted run leaves no half file under the name.
    partial = path.with_suffix(".partial.npy")
    np.save(partial, rows_ND, allow_pickle=False)
    partial.replace(path)
    log.info("embedded", extra={"encoder": encoder.name, "frames": len(rows), "way": way})
    return rows_ND


def _embedded(encoder: FrameEncoder, rows: Sequence[ManifestRow], way: Way) -> Floats:
    if way == "whole":
        return embed(encoder, load_frames(rows))
    used = [used_pixels(row.path, way) for row in rows]
    rows_RD = embed(encoder, [region for regions in used for region in regions])
    return file_rows(rows_RD, [len(regions) for regions in used])
