"""Runs the service under uvicorn: in the foreground, or beside a command in this process."""

import contextlib
import ipaddress
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.access.failed_keys import network_of
from service.access.keys import DEFAULT_WORKSPACE, create_key
from service.access.tokens.token_policy import policy_of
from service.api.dependencies import Services
from service.api.problems import raw_answer
from service.api.streams.frame_messages import HEADER_BYTES
from service.app import create_app
from service.catalog.interface import Catalog
from service.connections.connection_table import ConnectionLimits, ConnectionTable
from service.connections.guarded_protocol import Guard, GuardedProtocol
from service.connections.guarded_stream import GuardedStream
from service.connections.open_files import allow_files
from service.embedding.encoder import Encoder
from service.jobs.threads import shorten_switch_interval
from service.opening.catalog_opening import alone, catalog_of
from service.opening.encoder_opening import open_encoder
from service.settings import Settings, listed, unknown_variables

log = logging.getLogger(__name__)
START_TIMEOUT_S = 60.0
PING_S = 20.0  # between pings of a stream, and for its answer
FILES_BESIDE_CONNECTIONS = 256  # catalog, index, decoder processes, threads
EXIT_MARGIN_S = 8.0  # after the graceful time, to close everything


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
    policy_of(settings)  # here, where an invalid setting is explained in one line
    shorten_switch_interval()
    app = create_app(settings, encoder=encoder, catalog=catalog)
    proxies = listed(settings.trusted_proxies)
    http, websocket = _protocols(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http,
        ws=websocket,
        ws_max_size=settings.max_stream_frame_bytes + HEADER_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # pictures are compressed, and bombs are not
        proxy_headers=proxies != ["none"],
        forwarded_allow_ips=proxies,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=settings.graceful_timeout_s,
    )
    return DrainingServer(config, app, drain_s=settings.drain_s)


def _protocols(settings: Settings) -> tuple[Any, Any]:
    """The classes of connections for uvicorn, which calls them: of HTTP and of WebSockets."""
    limits = ConnectionLimits(
        max_connections=settings.max_connections,
        max_per_address=settings.max_connections_per_address,
        head_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        send_timeout_s=settings.send_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        min_rate_bytes_s=settings.min_rate_bytes_s,
    )
    table = ConnectionTable(limits, group=network_of)
    answer = partial(raw_answer, retry_after_s=settings.retry_after_s)
    return (
        partial(GuardedProtocol, guard=Guard(table, limits, answer)),
        partial(GuardedStream, table=table, limits=limits),
    )


def _warn(settings: Settings) -> None:
    """Say at the start what an operator may not have meant."""
    for variable, nearest in unknown_variables().items():
        known = {} if nearest is None else {"nearest": nearest}
        log.warning("unknown setting, ignored", extra={"variable": variable, **known})
    if not settings.require_key:
        log.warning("no API key is required: every client may read, change and delete everything")
        if not _is_loopback(settings.host):
            log.critical("no API key is required, and other machines can reach this service")
    if not allow_files(settings.max_connections + FILES_BESIDE_CONNECTIONS):
        log.warning("the limit of open files is lower than max_connections needs: raise it")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def serve(settings: Settings) -> bool:
    """Run until a signal; return whether the service had started.

    Bundle and catalog are opened first, so that their errors are raised as they are.

    Raises:
        ArtifactMismatch: the encoder bundle is damaged.
        FolderInUse: another service uses the data folder.
        CatalogFailure: the catalog cannot be opened.
        InvalidSettings: those of access tokens contradict each other.
    """
    _warn(settings)
    encoder = open_encoder(settings)
    with (
        alone(settings),
        contextlib.closing(catalog_of(settings, is_owner=True)) as catalog,
    ):
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
        catalog: used instead of that of the settings; the caller closes it.

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
    with contextlib.closing(catalog_of(settings)) as opened:
        return create_key(opened, "local", DEFAULT_WORKSPACE)[1]
