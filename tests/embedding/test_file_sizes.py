"""The size of a file is judged before its content, which the event loop looks at."""

import asyncio

import pytest

from service.embedding.pipeline import Pipeline
from service.errors import ServiceError, UnsupportedFormat, UploadTooLarge
from service.opening.encoder_opening import pipeline_limits
from service.settings import Settings
from tests.embedding.test_readiness import FILE, FakeEncoder

SETTINGS = Settings(max_image_bytes=len(FILE), max_clip_bytes=2 * len(FILE))


def outcome(data: bytes) -> object:
    async def act() -> object:
        async with Pipeline(FakeEncoder(), pipeline_limits(SETTINGS)) as running:
            (found,) = await running.embed_all([data])
        return found

    return asyncio.run(act())


def test_a_file_above_every_limit_is_too_large_whatever_it_holds() -> None:
    assert isinstance(outcome(bytes(2 * len(FILE) + 1)), UploadTooLarge)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(FILE + b"0", UploadTooLarge), (bytes(len(FILE) + 1), UnsupportedFormat)],
)
def test_a_still_has_a_limit_of_its_own(data: bytes, expected: type[ServiceError]) -> None:
    assert isinstance(outcome(data), expected)
    assert not isinstance(outcome(FILE), ServiceError)
