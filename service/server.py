"""Runs the service under uvicorn: in the foreground, or beside a command in this process."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.access.keys import DEFAULT_WORKSPACE, create_key
from service.api.dependencies import Services
from service.app import create_app, open_encoder
from service.catalog.data_folder import owned
from service.catalog.interface import Catalog
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.embedding.encoder import Encoder
from service.jobs.threads import shorten_switch_interval
from service.settings import Settings

START_TIMEOUT_S = 60.0
EXIT_MARGIN_S = 8.0  # after the graceful time, to close everything
log = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """On the first signal readiness turns to 503; only after ``drain_s`` it stops listening.

    A load balancer learns of the stop before a connection is refused. A second signal ends that
    pause; a third one also stops waiting for running requests.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, drain_s: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Signal handler."""
        running = getattr(self._app.state, "running", None)
        if running is None or running.stopping or self._drain_s == 0:
            self.force_exit = self.should_exit
            self._end()
            return
        running.stopping = True
        timer = threading.Timer(self._drain_s, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        # uvicorn's own handler raises the signal again at the end, which would kill the process
        # before the catalog is closed.
        if not self.should_exit:
            grace_s = self.config.timeout_graceful_shutdown or 0
            leave = threading.Timer(grace_s + EXIT_MARGIN_S, _leave)
            leave.daemon = True
            leave.start()
        self.should_exit = True


def _leave() -> None:
    """End the process although a thread hangs; what was acknowledged is on disk."""
    log.error("stopped without an orderly end")
    os._exit(1)


def _server(
    settings: Settings, encoder: Encoder | None = None, catalog: Catalog | None = None
) -> DrainingServer:
    shorten_switch_interval()
    app = create_app(settings, encoder=encoder, catalog=catalog)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_timeout_s,
    )
    return DrainingServer(config, app, drain_s=settings.drain_s)


def serve(settings: Settings) -> bool:
    """Run until a signal; return whether the service had started.

    Bundle and catalog are opened first, so that their errors are raised as they are.

    Raises:
        ArtifactMismatch: the encoder bundle is damaged.
        FolderInUse: another service uses the data folder.
        CatalogFailure: the catalog cannot be opened.
    """
    encoder = open_encoder(settings)
    with owned(settings.data_dir), contextlib.closing(open_catalog(settings.data_dir)) as catalog:
        server = _server(settings, encoder, catalog)
        server.run()
        return server.started


@dataclass(frozen=True, slots=True)
class LocalService:
    """A service in this process, and a key for it."""

    url: str
    key: str
    running: Callable[[], Services]


@contextlib.contextmanager
def local_service(
    settings: Settings, *, encoder: Encoder | None = None, catalog: Catalog | None = None
) -> Iterator[LocalService]:
    """Run the service on a free port of this machine while the block runs.

    Args:
        encoder: used instead of the bundle.
        catalog: used instead of the SQLite file; the caller closes it.

    Raises:
        ArtifactMismatch: the encoder bundle is damaged.
        CatalogFailure: the catalog cannot be opened.
        RuntimeError: the service did not start; the log gives the reason.
    """
    settings = settings.model_copy(update={"host": "127.0.0.1", "port": 0})
    token = _local_key(settings, catalog)
    server = _server(settings, encoder or open_encoder(settings), catalog)

    def run() -> None:
        with contextlib.suppress(SystemExit):  # uvicorn exits when the start fails
            server.run()

    thread = threading.Thread(target=run, name="local-service", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the local service did not start")
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        app: Any = server.config.app
        yield LocalService(f"http://127.0.0.1:{port}", token, lambda: app.state.running)
    finally:
        server.should_exit = True
        thread.join(settings.graceful_timeout_s + 5)


def _local_key(settings: Settings, catalog: Catalog | None) -> str:
    if catalog is not None:
        return create_key(catalog, "local", DEFAULT_WORKSPACE)[1]
    with contextlib.closing(open_catalog(settings.data_dir)) as opened:
        return create_key(opened, "local", DEFAULT_WORKSPACE)[1]
