"""News of stored work: a connection to each database that listens, beside those of the pool."""

import selectors
import threading
import time
from contextlib import ExitStack

from service.catalog.postgres.postgres_database import Connection, PostgresDatabase, translated

CHANNEL = "sonoprobe_operations"
SLICE_S = 0.5  # after which a closed catalog is noticed


class PostgresNews:
    """Waits for operations that any replica stores.

    The connections stay open between two calls, so that what is stored meanwhile is told by the
    next one. A pool between service and database that lends connections by the transaction lets
    no news through; workers then find work when they look for it.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._one = threading.Lock()
        self._opened = ExitStack()
        self._listening: list[Connection] = []

    def wait(self, timeout_s: float) -> None:
        """Return when there is news or the time is over. Raises CatalogFailure: a lost database."""
        deadline = time.monotonic() + timeout_s
        if not self._one.acquire(timeout=timeout_s):
            return
        try:
            with translated(), ExitStack() as broken:
                broken.callback(self._hang_up)
                self._listen()
                while not self._has_news(min(SLICE_S, max(0.0, deadline - time.monotonic()))):
                    self._database.require_open()
                    if time.monotonic() >= deadline:
                        break
                broken.pop_all()
        finally:
            self._one.release()

    def close(self) -> None:
        """Close the connections, once nobody waits."""
        with self._one:
            self._hang_up()

    def _listen(self) -> None:
        if self._listening:
            return
        for shard in self._database.shards:
            connection = self._opened.enter_context(self._database.apart(shard))
            connection.execute(f"LISTEN {CHANNEL}")
            self._listening.append(connection)

    def _has_news(self, timeout_s: float) -> bool:
        with selectors.DefaultSelector() as selector:
            for connection in self._listening:
                selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.select(timeout_s)
        # Of all: one may have been read from its socket already, with an earlier answer.
        news = [list(connection.notifies(timeout=0)) for connection in self._listening]
        return any(news)

    def _hang_up(self) -> None:
        self._listening.clear()
        self._opened.close()
        self._opened = ExitStack()
