"""Views of the examples teach a head, and single embeddings ask it: in its scores as later."""

import numpy as np
import pytest

from service.fewshot.classifier_fit import fit_classifier
from service.fewshot.fit import fit, fit_head
from service.fewshot.forecast import forecast
from service.fewshot.head import TeachingViews
from service.fewshot.large_fits.samples import LARGE
from service.fewshot.portable import to_document
from service.fewshot.semi_supervision.semi_supervised import UnlabelledScans

VIEWS = 7
WIDTH = 24


def drawn(seed, shots, classes=3, spread=1.5):
    """(N, V, D) views around the frame, which is the first; labels; a group of two frames each."""
    rng = np.random.default_rng(seed)
    centres_CD = np.random.default_rng(0).normal(size=(classes, WIDTH))
    frames_ND = np.repeat(centres_CD, shots, axis=0)
    frames_ND = frames_ND + spread * rng.normal(size=frames_ND.shape)
    views_NVD = frames_ND[:, None] + 0.4 * rng.normal(size=(len(frames_ND), VIEWS, WIDTH))
    views_NVD[:, 0] = frames_ND
    labels = [f"c{c}" for c in range(classes) for _ in range(shots)]
    return views_NVD.astype(np.float32), labels, [f"g{n // 2}" for n in range(len(labels))]


def teaching(views_NVD):
    return TeachingViews(views_NVD[:, 0], views_NVD)


def test_the_head_is_that_of_the_views_as_examples_of_one_patient() -> None:
    views_NVD, labels, groups = drawn(1, 8)
    made = fit(teaching(views_NVD), labels, groups, encoder_id="e")
    flat = fit_head(
        views_NVD.reshape(-1, WIDTH),
        np.repeat(labels, VIEWS).tolist(),
        np.repeat(groups, VIEWS).tolist(),
        encoder_id="e",
    )
    np.testing.assert_allclose(made.head.weights_CD, flat.weights_CD, atol=1e-4)
    assert (made.report.groups, made.report.effective_examples) == (12, 12)


@pytest.mark.parametrize("scans", [0, 60])
def test_held_out_examples_are_asked_with_their_own_embedding_alone(scans: int) -> None:
    views_NVD, labels, groups = drawn(2, 8, spread=2.0)
    pool = None
    if scans:
        rows_UD = drawn(9, scans // 3, spread=2.0)[0][:, 0]
        pool = UnlabelledScans(rows_UD, [f"u{u}" for u in range(scans)])

    def scores(views_NVD: np.ndarray) -> np.ndarray:
        made = fit(teaching(views_NVD), labels, groups, encoder_id="e", unlabelled=pool)
        assert (made.report.unlabelled is not None) == bool(scans)
        if made.report.unlabelled is not None:
            assert made.report.unlabelled.used
        return made.scores.nested.logits_NC

    scored_NC = scores(views_NVD)
    # Views of a held-out patient cannot matter: neither the head of the fold nor the query has
    # seen them.
    same = [n for n, group in enumerate(groups) if group == groups[9]]
    other_NVD = views_NVD.copy()
    other_NVD[same, 1:] += np.random.default_rng(5).normal(size=(len(same), 6, WIDTH))
    changed_NC = scores(other_NVD)
    np.testing.assert_allclose(changed_NC[same], scored_NC[same], atol=1e-4)
    assert abs(changed_NC - scored_NC).max() > 1e-2


def test_an_example_of_one_view_teaches_as_a_plain_one() -> None:
    views_NVD, labels, groups = drawn(3, 6)
    rows_ND = views_NVD[:, 0]
    views = fit(TeachingViews(rows_ND, rows_ND[:, None]), labels, groups, encoder_id="e")
    plain = fit(rows_ND, labels, groups, encoder_id="e")
    np.testing.assert_allclose(views.head.weights_CD, plain.head.weights_CD, atol=1e-5)
    np.testing.assert_allclose(
        views.scores.nested.logits_NC, plain.scores.nested.logits_NC, atol=1e-5
    )


def test_so_many_views_that_a_sample_is_scored_still_teach() -> None:
    shots = LARGE // (2 * VIEWS) + 200
    views_NVD, labels, _ = drawn(4, shots, classes=2)
    groups = [f"g{n // 20}" for n in range(len(labels))]  # so few that C is not chosen
    made = fit(teaching(views_NVD), labels, groups, encoder_id="e")
    assert 0 < made.scores.nested.is_scored.sum() < len(labels)
    right_N = made.head.logits(views_NVD[:, 0]).argmax(1) == np.repeat([0, 1], shots)
    assert right_N.mean() > 0.9


def test_the_learning_curve_asks_with_single_embeddings() -> None:
    views_NVD, labels, groups = drawn(5, 20, classes=2, spread=2.5)
    nested = fit(teaching(views_NVD), labels, groups, encoder_id="e").scores.nested
    curve = forecast(teaching(views_NVD), nested, each_class=False).curve
    # Without a spread of the views they teach what the frames teach.
    repeated = TeachingViews(views_NVD[:, 0], np.repeat(views_NVD[:, :1], VIEWS, axis=1))
    plain = forecast(views_NVD[:, 0], nested, each_class=False).curve
    assert [p.balanced_accuracy for p in forecast(repeated, nested, each_class=False).curve] == (
        pytest.approx([p.balanced_accuracy for p in plain], abs=0.02)
    )
    assert curve != plain


@pytest.mark.parametrize("classes", [2, 5])
def test_a_fit_to_views_is_forecast(classes: int) -> None:
    views_NVD, labels, _ = drawn(6, 10, classes=classes)
    groups = [str(n) for n in range(len(labels))]
    made = fit_classifier(teaching(views_NVD), {None: labels}, groups, encoder_id="e")
    assert made.report.labels[0].forecast.curve


def test_a_version_fitted_to_views_is_exported_as_every_other() -> None:
    views_NVD, labels, groups = drawn(7, 6)
    made = fit_classifier(teaching(views_NVD), {None: labels}, groups, encoder_id="e")
    document = to_document(made.classifier)
    assert (document["format_version"], "asked_with" in document) == (1, False)
