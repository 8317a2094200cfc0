"""A fit that does not mention views learns them where the operator lets it, and says why."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage
from service.classifiers.examples import Changes, Reference, key_of
from service.classifiers.fitting import MULTI, FitOptions, fitted_version
from service.classifiers.loaded import load_classifier, support_of
from service.classifiers.store import ClassifierStore
from service.classifiers.views.chosen_views import CHOSEN_BY, DEFAULT_HEADS, VIEWS, ViewsChoice
from service.classifiers.views.kept_views import ViewMaker
from service.errors import RateLimited, Stopping, ViewsMissing

DIM, KEPT, MAX_DEFAULT = 8, 8, 10
EVERY = ScanFilter()


def drawn(number: int, views: int) -> np.ndarray:
    """(views, DIM) around the direction of one of two classes; the first is the frame itself."""
    rng = np.random.default_rng(number)
    rows_VD = rng.standard_normal(DIM) + 0.5 * rng.standard_normal((views, DIM))
    rows_VD[:, 0] += 2 * (number % 2) - 1
    return (rows_VD / np.linalg.norm(rows_VD, axis=1, keepdims=True)).astype(np.float32)


def views_of(images):
    return [drawn(int(image), 7) for image in images]


def new_scan(number: int, *, keep: bool = True) -> NewScan:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return NewScan(
        f"s{number}",
        ScanImage(digest, "frame", "png", 64, 48, digest[::-1]),
        drawn(number, 7)[0],
        b"",
        subject_id=f"P-{number}",
        labels={"task": "ab"[number % 2]},
        image_png=b"%d" % number if keep else None,
    )


@pytest.fixture
def owner(catalog):
    """``kept`` has the pixels of its 8 scans, ``bare`` has two scans without."""
    owner = catalog.ensure_workspace("ours").workspace_id
    for name, keeps, numbers in (("kept", True, range(KEPT)), ("bare", False, range(90, 92))):
        catalog.create_collection(owner, name, encoder_id="e", dim=DIM, keep_images=keeps)
        scans = [new_scan(number, keep=keeps) for number in numbers]
        catalog.add_scans(owner, name, scans, encoder_id="e")
    return owner


def store_of(catalog, embed=views_of, max_default=MAX_DEFAULT):
    return ClassifierStore(
        catalog,
        encoder_id="e",
        dim=DIM,
        near_duplicate_cosine=0.9,
        view_maker=embed and ViewMaker(embed),
        max_default_views=max_default,
    )


@pytest.fixture
def store(catalog):
    return store_of(catalog)


def fitted(store, owner, name="k", views=None, collection="kept"):
    examples = store.sources.of_task(owner, collection, "task", EVERY)
    return store.fit(owner, name, examples, Author(), FitOptions(views=views)).published


def changed(store, owner, changes, views=None):
    return store.extend(owner, "k", changes, Author(), options=FitOptions(views=views))[1]


def weights(version):
    loaded = load_classifier(None, version, support_of([], np.empty((0, DIM), np.float32)))
    return loaded.model.heads[None].head.weights_CD


def test_a_fit_learns_the_views_of_kept_pixels_unless_it_is_told_not_to(store, owner) -> None:
    chosen = fitted(store, owner, "chosen")
    assert chosen.settings[VIEWS] == "examples"
    assert chosen.settings[CHOSEN_BY] == "default: every example has views"
    told = fitted(store, owner, "told", "examples")
    np.testing.assert_array_equal(weights(chosen), weights(told))
    plain = fitted(store, owner, "plain", views=False)
    assert abs(weights(plain) - weights(told)).max() > 1e-3
    assert [CHOSEN_BY in version.settings for version in (told, plain)] == [False, False]
    assert plain.settings[VIEWS] is False


def test_a_fit_to_scans_without_pixels_is_a_plain_one_and_says_so(store, owner) -> None:
    version = fitted(store, owner, collection="bare")
    assert version.settings[VIEWS] is False
    assert version.settings[CHOSEN_BY] == "default: 2 of 2 examples have no views"


@pytest.mark.parametrize(("limit", "views"), [(KEPT, "examples"), (KEPT - 1, False), (0, False)])
def test_a_fit_to_more_examples_than_the_limit_is_a_plain_one(catalog, owner, limit, views) -> None:
    version = fitted(store_of(catalog, max_default=limit), owner)
    assert version.settings[VIEWS] == views


@pytest.mark.parametrize(("labels", "views"), [(DEFAULT_HEADS, "examples"), (12, False)])
def test_each_label_of_a_multi_label_fit_counts(catalog, owner, labels, views) -> None:
    store = store_of(catalog, max_default=KEPT)
    names = [[f"l{n}" for n in range(labels) if (i + n) % 2] for i in range(KEPT)]
    scans = [(f"s{i}", key_of(names[i])) for i in range(KEPT)]
    examples = store.sources.of_scans(owner, "kept", scans)
    version = store.fit(owner, "k", examples, Author(), FitOptions(MULTI)).published
    assert version.settings[VIEWS] == views


def test_a_fit_does_without_views_that_cannot_be_made_now(catalog, owner) -> None:
    def used_up(images):
        raise RateLimited("at most 6 images per minute")

    limited = store_of(catalog, used_up)
    version = fitted(limited, owner)
    assert version.settings[VIEWS] is False
    assert version.settings[CHOSEN_BY].endswith("could not be made (rate_limited)")
    with pytest.raises(RateLimited):
        fitted(limited, owner, "told", "examples")


def test_views_that_take_too_long_are_given_up(catalog, owner) -> None:
    examples = store_of(catalog).sources.of_task(owner, "kept", "task", EVERY)
    rules = {"max_examples": 1000, "max_default": MAX_DEFAULT}
    hurried = ViewsChoice(catalog, ViewMaker(views_of), default_max_s=0.0, **rules)
    chosen = hurried.of(owner, "auto", examples)
    assert (chosen.views, chosen.rows_NVD) == (False, None)
    assert chosen.chosen_by == "default: the views could not be made (overloaded)"
    assert hurried.of(owner, "examples", examples).rows_NVD.shape == (KEPT, 7, DIM)


def test_a_fit_of_a_service_that_stops_fails_and_stores_nothing(catalog, owner) -> None:
    def stopping(images):
        raise Stopping("the service is shutting down")

    with pytest.raises(Stopping):
        fitted(store_of(catalog, stopping), owner)
    assert not catalog.list_classifiers(owner, limit=5, after=None).items


def test_a_scan_without_pixels_ends_a_default_and_not_a_request(store, owner) -> None:
    fitted(store, owner)
    added = store.sources.of_scans(owner, "bare", [("s90", "a")])
    plain = changed(store, owner, Changes(added))
    assert (plain.settings[VIEWS], plain.examples) == (False, KEPT + 1)
    again = changed(store, owner, Changes(drop=(Reference(scan=("bare", "s90")),)))
    assert again.settings[VIEWS] == "examples"
    told = changed(store, owner, Changes(), views="examples")
    assert told.settings.get(CHOSEN_BY) is None
    with pytest.raises(ViewsMissing):
        changed(store, owner, Changes(added))
    assert changed(store, owner, Changes(added), views="auto").settings[VIEWS] is False


def test_a_version_from_before_the_default_is_refitted_as_it_was_made(
    store, catalog, owner
) -> None:
    examples = store.sources.of_task(owner, "kept", "task", EVERY)
    made = fitted_version(examples, FitOptions(), {}, Author(), "e", 0.9)
    settings = {name: value for name, value in made.settings.items() if name != VIEWS}
    catalog.create_classifier(owner, "k", replace(made, settings=settings))
    catalog.erase_subject(owner, "P-3")
    _, version = store.refit(owner, "k", Author())
    assert (version.settings[VIEWS], CHOSEN_BY in version.settings) == (False, False)


def test_an_erasure_refits_with_the_views_of_those_who_are_left(store, catalog, owner) -> None:
    first = fitted(store, owner)
    catalog.erase_subject(owner, "P-3")
    _, version = store.refit(owner, "k", Author())
    assert (version.settings[VIEWS], version.examples) == ("examples", KEPT - 1)
    assert abs(weights(version) - weights(first)).max() > 1e-4
