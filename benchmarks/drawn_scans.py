"""Scans without a picture, for benchmarks that store vectors past HTTP.

Shape suffixes: N scans, D embedding width.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from service.catalog.records import ScanImage


def scan_image(number: int) -> ScanImage:
    """The facts of a picture that does not exist; its digests follow from the number."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return ScanImage(digest, "frame", "png", 640, 480, digest)


def unit_rows(rows_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rows at unit length, float32."""
    norms_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return np.asarray(rows_ND / norms_N1, np.float32)
