"""Who opens a live stream: the key in a WebSocket's request, the page it comes from, the caller.

Browsers cannot set headers of a WebSocket. So a key comes in ``Authorization``, or among the
subprotocols that the client offers, which no proxy logs and no address holds (decision 0061).
"""

import base64
import binascii
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from service.api.problems import MEDIA_TYPE, STATUS, headers_of, problem
from service.errors import InputError, OriginNotAllowed, ServiceError, Stopping

SUBPROTOCOL = "sonoprobe.v1"
BEARER = "sonoprobe.bearer."  # and behind it the key in base64url without padding
MAX_REASON_BYTES = 120  # of a close frame (RFC 6455, 5.5.1)
RESTART, TRY_AGAIN, INTERNAL = 1012, 1013, 1011  # RFC 6455, 7.4.1 and its registry
PRIVATE = 4000  # close codes from here on are those of the application


def token_of(connection: HTTPConnection) -> str | None:
    """The key or token of a request for a stream; None without one. Raises InputError."""
    offered = subprotocols_of(connection)
    secrets = [name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)]
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        secrets.append("")
        found: str | None = given.strip()
    else:
        found = _decoded(secrets[0]) if secrets else None
    if len(secrets) > 1:
        raise InputError("expected one key, in Authorization or among the subprotocols")
    return found


def _decoded(text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"expected the key in base64url behind {BEARER}") from error


def subprotocols_of(connection: HTTPConnection) -> list[str]:
    """What the client offers."""
    offered: list[str] = connection.scope.get("subprotocols") or []
    return offered


def require_origin(connection: HTTPConnection, allowed: list[str]) -> None:
    """Hold browsers to pages of this service, and of ``allowed`` origins.

    Without a key that a page must know, every page of the internet could open streams of a service
    on the machine of its reader. Programs that are no browsers send no Origin.

    Raises:
        OriginNotAllowed: a page of another origin.
    """
    origin = connection.headers.get("origin")
    if origin is None or origin.lower() in allowed:
        return
    # A proxy in front may speak TLS, so the schemes may differ; the names may not.
    if urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower():
        raise OriginNotAllowed("expected a page of this service, got one of another origin")


def refusal(error: ServiceError, request_id: str, retry_after_s: int) -> JSONResponse:
    """The answer of HTTP in the place of a WebSocket."""
    headers = headers_of(error, retry_after_s)
    document = problem(error, request_id)
    return JSONResponse(document, STATUS[type(error)], headers, MEDIA_TYPE)


def close_code(error: ServiceError) -> int:
    """4000 and the status that the same refusal has over HTTP, or a code of WebSockets."""
    status = STATUS[type(error)]
    if isinstance(error, Stopping):
        return RESTART
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return TRY_AGAIN
    return INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else PRIVATE + status
