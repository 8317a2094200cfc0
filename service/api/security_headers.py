"""Headers of every answer that tell browsers what not to do with it."""

import base64
import hashlib
from functools import cache

# An answer of the API is data: it may load, run and frame nothing.
API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Nothing is cached, thumbnails included: a cache on a shared workstation outlives an erasure.
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": API_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
RAW_SECURITY_HEADERS = tuple(
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
)


@cache
def page_policy(script: str) -> str:
    """The policy of a page that runs this service's files and one script of its own text."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def with_security_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those of ``SECURITY_HEADERS`` that it does not set itself."""
    own = {name.lower() for name, _ in headers}
    return headers + [(name, value) for name, value in RAW_SECURITY_HEADERS if name not in own]
