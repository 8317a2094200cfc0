"""The client: every call of the parts, over one connection."""

from sonoprobe_client.asynchronous.access_calls import AsyncAccessCalls
from sonoprobe_client.asynchronous.collection_calls import AsyncCollectionCalls
from sonoprobe_client.asynchronous.scan_calls import AsyncScanCalls
from sonoprobe_client.asynchronous.search_calls import AsyncSearchCalls
from sonoprobe_client.asynchronous.service_calls import AsyncServiceCalls
from sonoprobe_client.asynchronous.version_calls import AsyncVersionCalls


class AsyncClient(
    AsyncCollectionCalls,
    AsyncScanCalls,
    AsyncSearchCalls,
    AsyncVersionCalls,
    AsyncAccessCalls,
    AsyncServiceCalls,
):
    """Talks to one service with one API key, or with a ``MachineLogin`` as ``login``.

    Use it as a context manager, or close it.

    Args:
        base_url: address of the service.
        key: an API key or a token, or a function that gives the one of now.
        login: signs in instead of a key.
        timeout_s: longest wait for a connection, and for each part of an answer.
        retries: repetitions of what the service declines with 429 or 503, and of reads and
            requests with an Idempotency-Key after a broken connection; 0 = none.
        max_wait_s: longest wait before one repetition.
        verify: an ``ssl.SSLContext`` for a service with certificates of its own.
        transport: of httpx, for tests.
    """
