"""A catalog of its own for each test of classifiers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.catalog.interface import Catalog
from service.catalog.sqlite.sqlite_catalog import open_catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(tmp_path)
    yield catalog
    catalog.close()
