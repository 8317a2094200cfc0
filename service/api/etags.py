"""Responses that carry the ETag of their document."""

from fastapi.responses import JSONResponse

from service.api.shapes.base import JsonObject


def created(document: JsonObject, location: str) -> JSONResponse:
    """201 with the ETag of the document."""
    return JSONResponse(document, 201, {"ETag": document["etag"], "Location": location})


def read(document: JsonObject) -> JSONResponse:
    """200 with the ETag of the document."""
    return JSONResponse(document, 200, {"ETag": document["etag"]})
