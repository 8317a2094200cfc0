"""A real service with the small encoder for the tests of the client."""

from collections.abc import Iterator

import pytest

from service.server import LocalService, local_service
from service.settings import Settings
from tests.service.expected import BUNDLE


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """It accepts 5 images of 200 kB in a request, so that batches of the client are too large."""
    folder = tmp_path_factory.mktemp("tiny")
    limits = {"max_items": 5, "max_image_bytes": 200_000}
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0, audit=False, **limits)
    with local_service(settings) as running:
        yield running
