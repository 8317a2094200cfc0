"""The embeddings of the views of an uploaded example lie behind its own."""

import numpy as np
import pytest

from service.catalog.records import Author, NewExample, NewVersion

DIM = 4
PLAIN_D = np.array([1, 0, 0, 0], np.float32)
VIEWS_VD = np.stack([PLAIN_D, *np.eye(6, DIM, 1, dtype=np.float32)])


def version_of(*examples: NewExample) -> NewVersion:
    return NewVersion(
        encoder_id="enc_a",
        classes=("a", "b"),
        artifact=b"{}",
        out_of_fold=b"",
        report={},
        settings={},
        examples=examples,
        author=Author(),
        kind="single_label",
    )


@pytest.fixture
def uploads() -> tuple[NewExample, NewExample]:
    both = NewExample("a", 0, sha256="1" * 64, subject_id="p1", embedding_D=VIEWS_VD.ravel())
    return both, both._replace(
        label="b", group=1, sha256="2" * 64, subject_id="p2", embedding_D=PLAIN_D
    )


def test_the_embeddings_of_an_upload_are_read_apart(catalog, ours, uploads) -> None:
    catalog.create_classifier(ours, "k", version_of(*uploads))
    rows_ND = catalog.version_embeddings(ours, "k", 1, dim=DIM)
    np.testing.assert_array_equal(rows_ND, [PLAIN_D, PLAIN_D])
    first, second = catalog.version_views(ours, "k", 1, dim=DIM)
    np.testing.assert_array_equal(first, VIEWS_VD)
    assert second is None


def test_an_erasure_takes_them_all(catalog, ours, uploads) -> None:
    catalog.create_classifier(ours, "k", version_of(*uploads))
    catalog.erase_subject(ours, "p1")
    assert catalog.version_views(ours, "k", 1, dim=DIM) == (None,)
    assert len(catalog.version_embeddings(ours, "k", 1, dim=DIM)) == 1
