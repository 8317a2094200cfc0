"""How requests are sent, answers read, and pages and batches walked through."""

import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Self, TypeVar

import httpx

from sonoprobe_client.answer import Answer
from sonoprobe_client.asynchronous.waiting import in_thread, sleep
from sonoprobe_client.batches import Batch, ImageQueue, Images, JoinedAnswer, OnProgress
from sonoprobe_client.problems import ApiError, NoAnswer, error_of
from sonoprobe_client.requests import JsonObject, KeyOfNow, files, without_none
from sonoprobe_client.retries import RetryRule

TIMEOUT_S = 120.0
RETRIES = 4
MAX_WAIT_S = 30.0
Model = TypeVar("Model", bound=Answer)


class AsyncTransport:
    """The connection of one client to one service."""

    _is_plain: ClassVar[bool] = False

    def __init__(
        self,
        base_url: str,
        *,
        key: str | Callable[[], str] | None = None,
        login: httpx.Auth | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        max_wait_s: float = MAX_WAIT_S,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # The caller names the service; a proxy from the environment must not see patients.
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"} if isinstance(key, str) and key else {},
            auth=KeyOfNow(key) if callable(key) else login,
            timeout=timeout_s,
            verify=verify,
            transport=transport,
            trust_env=False,
        )
        self._rule = RetryRule(retries, max_wait_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connections."""
        await self._http.aclose()

    async def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send any request; what httpx takes for it.

        Raises:
            ApiError: the service refused it, or could not do it.
            NoAnswer: no connection, or a broken one.
        """
        attempt = 0
        while True:
            try:
                response = await self._http.request(method, path, **request)
            except httpx.TransportError as error:
                headers = request.get("headers") or {}
                wait_s = self._rule.wait_after_break(attempt, error, method, headers)
                if wait_s is None:
                    if self._is_plain:
                        raise
                    raise NoAnswer(f"no answer: {type(error).__name__}: {error}") from error
            else:
                if response.is_success:
                    return response
                wait_s = self._rule.wait_after_answer(attempt, response)
                if wait_s is None:
                    raise error_of(response)
            await sleep(wait_s)
            attempt += 1

    def _read(self, model: type[Model], document: JsonObject) -> Model:
        """The answer as its model."""
        return model.model_validate(document)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        prefer: str | None = None,
        **request: Any,
    ) -> JsonObject:
        headers = {"If-Match": if_match, "Idempotency-Key": idempotency_key, "Prefer": prefer}
        response = await self.request(method, path, headers=without_none(headers), **request)
        try:
            answer = response.json()
        except ValueError as error:
            raise error_of(response) from error  # the page of a proxy, for example
        if not isinstance(answer, dict):
            raise error_of(response)
        return answer

    async def _pages(
        self, model: type[Model], path: str, params: JsonObject | None = None
    ) -> AsyncIterator[Model]:
        params = dict(params or {})
        while True:
            page = await self._json("GET", path, params=params)
            for item in page["items"]:
                yield self._read(model, item)
            if page["next_cursor"] is None:
                return
            params["cursor"] = page["next_cursor"]

    async def _in_batches(
        self,
        queue: ImageQueue,
        send: Callable[[Batch], Awaitable[JsonObject]],
        on_progress: OnProgress | None,
        max_files: int | None,
    ) -> JsonObject:
        """The joined answer of as many requests as there must be; None = one request."""
        if max_files is None or self._is_plain:
            return await send(await in_thread(queue.all))
        joined = JoinedAnswer(queue, on_progress, max_files)
        while (batch := await in_thread(queue.take, joined.max_files)).images:
            try:
                joined.add(await send(batch))
            except ApiError as error:
                joined.add_failure(batch, error)
        return joined.document()

    def _repeatable(self, idempotency_key: str | None) -> str | None:
        """The key of the caller, or a new one if requests may be sent again."""
        if idempotency_key is not None or self._rule.retries == 0:
            return idempotency_key
        return uuid.uuid4().hex

    async def _upload(
        self, path: str, images: Images, form: dict[str, str], **request: Any
    ) -> JsonObject:
        """POST images as one form."""
        batch = await in_thread(ImageQueue(images).all)
        return await self._json("POST", path, files=files(batch.images), data=form, **request)
