"""Stored rows that cannot be right are a CatalogFailure, never an answer."""

import pytest

from service.errors import CatalogFailure
from tests.catalog.vectors import all_vectors


@pytest.fixture
def damaged(catalog, ours, add, opened, edit):
    """A catalog with the scan ``a`` whose rows were changed."""

    def run(damage, *variables):
        add(1, scan_id="a")
        catalog.close()
        edit(damage, *variables)
        return opened()

    return run


def test_a_missing_vector_is_a_catalog_failure(damaged, ours):
    catalog = damaged("DELETE FROM scan_vectors")
    with pytest.raises(CatalogFailure, match="a stored vector has nothing, expected"):
        all_vectors(catalog, ours, "lungs")
    with pytest.raises(CatalogFailure, match="a stored vector has nothing, expected"):
        catalog.embeddings(ours, "lungs", ["a"])


def test_damaged_labels_are_a_catalog_failure(damaged, ours):
    catalog = damaged("UPDATE scans SET labels = '[]'")
    with pytest.raises(CatalogFailure, match="a stored JSON column"):
        catalog.get_scan(ours, "lungs", "a")


@pytest.mark.sqlite  # PostgreSQL itself refuses text that is no JSON
@pytest.mark.parametrize("text", ["{", ""])
def test_labels_that_are_no_json_are_a_catalog_failure(damaged, ours, text):
    catalog = damaged("UPDATE scans SET labels = ?", text)
    with pytest.raises(CatalogFailure, match="a stored JSON column"):
        catalog.get_scan(ours, "lungs", "a")


def test_a_missing_thumbnail_is_a_catalog_failure(damaged, ours):
    catalog = damaged("DELETE FROM scan_thumbnails")
    with pytest.raises(CatalogFailure):
        catalog.thumbnail(ours, "lungs", "a")
