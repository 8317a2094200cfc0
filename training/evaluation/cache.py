"""A cache of features on disk, so that a second evaluation only fits heads.

Shape suffixes: N frames, D feature width.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.catalogue.manifest import ManifestRow, load_frames
from training.evaluation.encoders import FrameEncoder, embed
from training.evaluation.protocol import Floats
from training.evaluation.sets import content_of

log = logging.getLogger(__name__)


def features(encoder: FrameEncoder, rows: Sequence[ManifestRow], folder: Path) -> Floats:
    """features_ND of the rows' frames, computed once per encoder and content of the files.

    The file is named by both, so a changed weight file or frame is computed anew. Raw: neither
    centred nor at unit length.

    Raises:
        InputError: a file is missing or does not decode.
    """
    path = folder / f"{encoder.key}-{content_of(rows)}.npy"
    if path.exists():
        stored: Floats = np.load(path, allow_pickle=False)
        return stored
    rows_ND = embed(encoder, load_frames(rows))
    folder.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: an interrupted run leaves no half file under the name.
    partial = path.with_suffix(".partial.npy")
    np.save(partial, rows_ND, allow_pickle=False)
    partial.replace(path)
    log.info("embedded", extra={"encoder": encoder.name, "frames": len(rows)})
    return rows_ND
