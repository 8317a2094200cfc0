"""Responses that carry the ETag of their resource."""

from typing import Annotated, TypeAlias, TypeVar

from fastapi import Depends, Header, Response
from fastapi.responses import JSONResponse

from service.api.shapes.base import ResourceAnswer
from service.errors import InputError

R = TypeVar("R", bound=ResourceAnswer)


def with_etag(response: Response, answer: R) -> R:
    """The answer, after its ETag was set on the response."""
    response.headers["ETag"] = answer.etag
    return answer


def created(answer: ResourceAnswer, location: str) -> JSONResponse:
    """201 with the place and the ETag of a new resource."""
    return JSONResponse(answer.to_json(), 201, {"ETag": answer.etag, "Location": location})


async def _version_of(
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
) -> int | None:
    """The version that an If-Match header names; None for ``*`` or no header.

    Raises:
        InputError: not one of our entity tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("expected If-Match to hold one ETag of this service")
    return int(text)


IfMatch: TypeAlias = Annotated[int | None, Depends(_version_of)]
