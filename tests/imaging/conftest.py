"""The detector of burned-in text, opened once."""

import pytest

from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.text import TextFinder


@pytest.fixture(scope="session")
def finder() -> TextFinder:
    return open_text_finder()
