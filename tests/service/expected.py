"""What many tests of the service start from and expect."""

from pathlib import Path

import pytest

from service.client.client import ApiError

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"  # small: its accuracy is no matter


def refused(code: str, status: int):
    """The block raises ApiError with this code and status."""
    return pytest.raises(ApiError, match=rf"^{code} \({status}\)")
