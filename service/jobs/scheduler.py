"""What a running service does unasked: take up operations, let scans expire, back up."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from service.api.state import Services
from service.catalog.interface import Catalog
from service.catalog.sqlite.backup import PREFIX, backups_in
from service.catalog.sqlite.sqlite_catalog import FILE_NAME
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.store import ClassifierStore
from service.embedding.pipeline import EmbeddedImage, Pipeline
from service.errors import ServiceError
from service.gallery.gallery import Gallery
from service.jobs.fit_job import fit_job
from service.jobs.handlers import JobHandlers
from service.jobs.operations import Operations
from service.settings import Settings

log = logging.getLogger(__name__)
CLOSE_TIMEOUT_S = 10.0


def operations_of(
    settings: Settings,
    catalog: Catalog,
    pipeline: Pipeline,
    gallery: Gallery,
    classifiers: ClassifierStore,
    registry: ClassifierRegistry,
) -> Operations:
    """The operations of one service; call within its event loop, and ``run_schedule`` after it."""
    loop = asyncio.get_running_loop()

    def embed(files: Sequence[bytes]) -> list[EmbeddedImage | ServiceError]:
        # What was kept is what the encoder saw: nothing is left to be cut off.
        work = pipeline.embed_all(files, region_mode="none")
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    work = JobHandlers(
        catalog=catalog,
        gallery=gallery,
        classifiers=classifiers,
        embed=embed,
        encoder_id=pipeline.encoder.encoder_id,
        catalog_file=settings.data_dir / FILE_NAME,
        backup_dir=settings.backup_dir,
        backup_keep=settings.backup_keep,
        exchange_dir=settings.exchange_dir,
    )
    return Operations(
        catalog,
        work.kinds() | {"fit": fit_job(registry)},
        threads=settings.operation_threads,
        max_waiting=settings.max_waiting_operations,
    )


@asynccontextmanager
async def run_schedule(service: Services) -> AsyncIterator[None]:
    """Do it while the block runs; at its end operations are left for the next start."""
    going_on = await asyncio.to_thread(service.operations.resume)
    if going_on:
        log.info("operations resumed", extra={"operations": going_on})
    sweeps = [asyncio.create_task(_expire_for_ever(service))]
    if service.settings.backup_dir is not None:
        sweeps.append(asyncio.create_task(_back_up_for_ever(service)))
    try:
        yield
    finally:
        for sweep in sweeps:
            sweep.cancel()
        await asyncio.gather(*sweeps, return_exceptions=True)
        await asyncio.to_thread(service.operations.close, timeout_s=CLOSE_TIMEOUT_S)


async def _expire_for_ever(service: Services) -> None:
    while True:
        try:
            removed = await asyncio.to_thread(service.gallery.expire)
        except ServiceError as error:  # a full disk, say: the next sweep tries again
            log.error("retention failed", extra={"code": error.code})
        else:
            if removed:
                service.forget_deleted()
                log.info("scans expired", extra={"scans": removed})
        await asyncio.sleep(service.settings.retention_sweep_s)


async def _back_up_for_ever(service: Services) -> None:
    while True:
        await asyncio.sleep(await asyncio.to_thread(_until_next_backup_s, service.settings))
        try:
            begin = service.operations.start
            await asyncio.to_thread(begin, service.default_workspace_id, "backup", {})
        except ServiceError as error:
            log.error("backup not begun", extra={"code": error.code})
        await asyncio.sleep(service.settings.backup_every_s)


def _until_next_backup_s(settings: Settings) -> float:
    """A restart must not make the cycle longer or shorter."""
    made = [] if settings.backup_dir is None else backups_in(settings.backup_dir)
    if not made:
        return 0.0
    written = datetime.strptime(made[-1].name, f"{PREFIX}%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    return max(0.0, settings.backup_every_s - (time.time() - written.timestamp()))
