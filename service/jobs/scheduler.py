"""Scheduled work of a running service: resume operations, expire scans, make backups."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from service.catalog.interface import Catalog
from service.catalog.sqlite.backup import newest_age_s
from service.classifiers.fitting import without_scores
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.store import ClassifierStore
from service.embedding.pipeline import EmbeddedImage, EmbedOptions, Pipeline
from service.errors import ServiceError
from service.gallery.gallery import Gallery
from service.jobs.handlers import JobHandlers, PayingFor
from service.jobs.job_requests import BackupRequest
from service.jobs.operation_workers import OperationWatch
from service.jobs.operations import Operations
from service.settings import Settings

log = logging.getLogger(__name__)
FINISH_EVERY_S = 10.0  # erasures are collected so long before one VACUUM for all of them
FINISH_AGAIN_S = 300.0
STORE_KEY_USES_EVERY_S = 60.0
CLOSE_TIMEOUT_S = 4.0  # what has not ended is resumed by the next start


def operations_of(
    settings: Settings,
    catalog: Catalog,
    pipeline: Pipeline,
    gallery: Gallery,
    classifiers: ClassifierStore,
    registry: ClassifierRegistry,
    paying_for: PayingFor,
    *,
    watch: OperationWatch,
) -> Operations:
    """The operations of one service; call it in the event loop, before ``run_schedule``."""
    loop = asyncio.get_running_loop()

    def embed(images: Sequence[bytes]) -> list[EmbeddedImage | ServiceError]:
        # The kept pixels are what the encoder saw, so no region must be cut out.
        work = pipeline.embed_all(images, EmbedOptions(region_mode="none"))
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    handlers = JobHandlers(
        gallery=gallery,
        classifiers=classifiers,
        embed=embed,
        catalog_file=catalog.file,
        backup_dir=settings.backup_dir,
        backup_keep=settings.backup_keep,
        registry=registry,
        redact=without_scores,
        paying_for=paying_for,
    )
    return Operations(
        catalog,
        handlers.kinds(),
        threads=settings.operation_threads,
        max_waiting=settings.max_waiting_operations,
        watch=watch,
    )


@dataclass(frozen=True, slots=True)
class Schedule:
    """What scheduled work needs.

    Attributes:
        on_expired: called after scans were deleted.
        on_swept: called after each sweep, also if another process deleted the scans.
        backup_owner: workspace of the backup operations; None = no backups are made here.
        store_key_uses: called once a minute and at the end.
        tell_expired: called with each workspace and the number of its scans that expired.
    """

    settings: Settings
    catalog: Catalog
    gallery: Gallery
    operations: Operations
    on_expired: Callable[[], None]
    on_swept: Callable[[], None]
    backup_owner: str | None
    store_key_uses: Callable[[], None]
    tell_expired: Callable[[str, int], None]


@asynccontextmanager
async def run_schedule(schedule: Schedule) -> AsyncIterator[None]:
    """Run the schedule while the block runs; unfinished operations wait for the next start."""
    await asyncio.to_thread(schedule.operations.open)
    sweeps = [
        asyncio.create_task(_expire_for_ever(schedule)),
        asyncio.create_task(_store_key_uses_for_ever(schedule)),
    ]
    if schedule.catalog.file is None:  # a catalog in a file finishes an erasure at once
        sweeps.append(asyncio.create_task(_finish_erasures_for_ever(schedule)))
    if schedule.settings.backup_dir is not None and schedule.backup_owner is not None:
        backups = _back_up_for_ever(schedule, schedule.backup_owner)
        sweeps.append(asyncio.create_task(backups))
    try:
        yield
    finally:
        for sweep in sweeps:
            sweep.cancel()
        await asyncio.gather(*sweeps, return_exceptions=True)
        await _store_key_uses(schedule)
        await asyncio.to_thread(schedule.operations.close, timeout_s=CLOSE_TIMEOUT_S)


async def _expire_for_ever(schedule: Schedule) -> None:
    while True:
        try:
            removed = await asyncio.to_thread(_expire_once, schedule)
        except ServiceError as error:  # such as a full disk: the next sweep tries again
            log.error("retention failed", extra={"code": error.code})
        else:
            if removed:
                schedule.on_expired()
                log.info("scans expired", extra={"scans": removed})
        await asyncio.sleep(schedule.settings.retention_sweep_s)


def _expire_once(schedule: Schedule) -> int:
    """The number of scans that this process deleted; 0 if another one sweeps now."""
    with schedule.catalog.once("retention") as is_mine:
        removed = schedule.gallery.expire(schedule.tell_expired) if is_mine else 0
    schedule.on_swept()
    return removed


async def _store_key_uses_for_ever(schedule: Schedule) -> None:
    while True:
        await asyncio.sleep(STORE_KEY_USES_EVERY_S)
        await _store_key_uses(schedule)


async def _store_key_uses(schedule: Schedule) -> None:
    try:
        await asyncio.to_thread(schedule.store_key_uses)
    except ServiceError as error:
        log.error("use of keys not stored", extra={"code": error.code})


async def _finish_erasures_for_ever(schedule: Schedule) -> None:
    while True:
        owed = 0
        try:
            owed = await asyncio.to_thread(schedule.catalog.finish_erasures)
        except ServiceError as error:
            owed = 1
            log.error("erased rows not vacuumed", extra={"code": error.code})
        # What is owed still waits for another transaction, which may take hours.
        await asyncio.sleep(FINISH_AGAIN_S if owed else FINISH_EVERY_S)


async def _back_up_for_ever(schedule: Schedule, owner: str) -> None:
    while True:
        await asyncio.sleep(await asyncio.to_thread(_until_next_backup_s, schedule.settings))
        try:
            begin = partial(schedule.operations.begin, for_service=True)
            await asyncio.to_thread(begin, owner, BackupRequest())
        except ServiceError as error:
            log.error("backup not begun", extra={"code": error.code})
        await asyncio.sleep(schedule.settings.backup_every_s)


def backup_age_s(settings: Settings) -> float:
    """Time since the newest backup was made; infinite when there is none. Blocks."""
    return math.inf if settings.backup_dir is None else newest_age_s(settings.backup_dir)


def _until_next_backup_s(settings: Settings) -> float:
    """Time until the next backup is due; a restart does not change the cycle."""
    age_s = backup_age_s(settings)
    return 0.0 if math.isinf(age_s) else max(0.0, settings.backup_every_s - age_s)
