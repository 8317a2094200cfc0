"""A small part of the long fuzzing run, on every change."""

import itertools

import numpy as np
import pytest
from fuzz_files import LIMITS, check_plain, corpus, fuzz, mutate, plain_corpus
from harness import memory_mb

from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.still import read_still
from service.imaging.sandbox.decoder_pool import DecoderPool


def test_mutated_files_decode_or_are_refused_and_the_parent_does_not_grow() -> None:
    with DecoderPool(1, LIMITS) as pool:
        run = fuzz(pool, 7, range(600))
        *_, half = itertools.islice(run, 200)
        before = memory_mb()
        *_, outcome = run
    assert outcome is half  # one running record
    assert outcome.failures == []
    assert outcome.counts["decoded"] > 50
    assert outcome.counts["corrupt_image"] > 50
    assert sum(outcome.counts.values()) == 600
    assert memory_mb() - before < 20


def test_a_still_decoded_without_pillow_has_the_pixels_that_pillow_gives() -> None:
    with DecoderPool(1, LIMITS) as pool:
        *_, outcome = fuzz(pool, 11, range(500), is_plain=True)
    assert outcome.failures == []
    assert outcome.plain > 50
    assert outcome.counts["corrupt_image"] > 50


@pytest.mark.parametrize("name", plain_corpus())
def test_every_plain_file_is_compared_with_pillow_before_it_is_changed(name: str) -> None:
    data = plain_corpus()[name]
    _, frame = read_still(data, LIMITS)
    assert check_plain(data, frame.pixels)
    with pytest.raises(AssertionError, match="other pixels"):
        check_plain(data, frame.pixels ^ np.uint8(1))


def test_every_file_of_the_corpus_decodes_before_it_is_changed() -> None:
    with DecoderPool(1, DecodeLimits()) as pool:
        for name, data in corpus().items():
            _, sampling = mutate([data], 0, 0)
            assert len(list(pool.open(data, sampling))) >= 1, name


def test_equal_seeds_give_equal_inputs() -> None:
    files = list(corpus().values())
    assert mutate(files, 3, 5) == mutate(files, 3, 5)
    assert mutate(files, 3, 5) != mutate(files, 4, 5)
