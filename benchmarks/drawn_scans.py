"""Scans without a picture, for benchmarks that store vectors past HTTP."""

import hashlib

from service.catalog.records import ScanImage


def scan_image(number: int) -> ScanImage:
    """The facts of a picture that does not exist; its digests follow from the number."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return ScanImage(digest, "frame", "png", 640, 480, digest)
