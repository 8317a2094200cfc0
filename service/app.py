"""The wiring: from settings to the ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

from service.access.failed_keys import FailedKeys
from service.access.key_registry import KeyRegistry
from service.access.keys import DEFAULT_WORKSPACE, KeyRing
from service.access.saved_answers import AnswerStore
from service.access.tokens.access_tokens import access_tokens
from service.access.workspace_registry import WorkspaceRegistry
from service.access.workspace_rules import WorkspaceRules, workspace_rules
from service.api import openapi, problems
from service.api.body_limits import BodyLimits
from service.api.dependencies import Services
from service.api.gauges import watch
from service.api.middleware import Gate
from service.api.routers import ROUTERS
from service.catalog.data_folder import owned, tighten
from service.catalog.erasure_ledger import LEDGER
from service.catalog.erasure_records import SweepLimits
from service.catalog.interface import Catalog
from service.catalog.sqlite.backup import PREFIX
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.catalog.vector_search import VectorSearch
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import without_scores as without_scores
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.review import LabelReview
from service.classifiers.signing.signing_keys import SigningKeys
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import Encoder, load_encoder
from service.embedding.pipeline import Pipeline, PipelineLimits
from service.errors import InvalidSettings
from service.gallery.embedded_search import EmbeddedSearch
from service.gallery.gallery import Gallery
from service.imaging.formats.limits import DecodeLimits
from service.jobs.fit_queue import FitQueue
from service.jobs.operation_workers import OperationWatch
from service.jobs.scheduler import Schedule, operations_of, run_schedule
from service.observability import ServiceMetrics
from service.settings import Settings, program_version
from service.telemetry.stage_watch import StageWatch
from service.telemetry.tracing import NO_SPANS_OF_FASTAPI, tracing_of

if TYPE_CHECKING:  # psycopg is an extra
    from service.catalog.postgres.postgres_catalog import PostgresCatalog

INDEX_FOLDER = "index"  # in the data folder; holds nothing that the catalog does not


def create_app(
    settings: Settings, *, encoder: Encoder | None = None, catalog: Catalog | None = None
) -> FastAPI:
    """Build the service; bundle and catalog are opened when it starts, not here.

    Args:
        encoder: used instead of the bundle.
        catalog: used instead of that of the settings; the caller closes it.
    """
    metrics = ServiceMetrics()
    tracing = tracing_of(
        settings.otlp_endpoint, version=program_version(), share=settings.otlp_share
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            model = encoder
            if model is None:
                model = await asyncio.to_thread(open_encoder, settings)
            truth = catalog or await _own_catalog(stack, settings)
            if settings.metrics_port:
                stop = metrics.serve(settings.metrics_host, settings.metrics_port)
                stack.push_async_callback(asyncio.to_thread, stop)
            stack.push_async_callback(asyncio.to_thread, tracing.close)
            running = await _opened(
                stack, settings, metrics, StageWatch(tracing, metrics.stage_ended), model, truth
            )
            app.state.running = running
            watch(metrics, running)
            async with run_schedule(_schedule(settings, truth, running)):
                yield
            running.stopping = True

    app = FastAPI(
        title="Sonoprobe",
        openapi_url=None,  # docs.py serves it, as strictly as every other route
        version=program_version(),
        description="Few-shot classification and similarity search for ultrasound frames.",
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # FastAPI's pages load scripts from the internet
        redoc_url=None,
        telemetry=NO_SPANS_OF_FASTAPI,
    )
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app)
    problems.install(app, retry_after_s=settings.retry_after_s)
    body_limits = BodyLimits(
        settings.max_upload_bytes, settings.max_json_bytes, settings.max_large_uploads
    )
    app.add_middleware(
        Gate,
        body_limits=body_limits,
        metrics=metrics,
        tracing=tracing,
        allowed_hosts=settings.hosts(),
    )
    return app


async def _opened(
    stack: AsyncExitStack,
    settings: Settings,
    metrics: ServiceMetrics,
    watch: StageWatch,
    model: Encoder,
    truth: Catalog,
) -> Services:
    """Open everything in the order of its dependencies; ``stack`` closes it."""
    rules = workspace_rules(truth, settings, metrics, model.ultrasound)
    gallery = _gallery(settings, truth, model)
    stack.push_async_callback(asyncio.to_thread, gallery.close)
    await asyncio.to_thread(gallery.open)
    # A separate pool: a pool shared with writers could be full of writes.
    searchers = _threads(stack, settings.search_threads, "search")
    slow_lane = _threads(stack, 1, "failed-keys")
    threads, most = settings.fit_threads, settings.max_waiting_fits
    fits = FitQueue(threads=threads, max_waiting=most, timed=watch.timed)
    # It closes before the catalog, to which fits write.
    stack.push_async_callback(asyncio.to_thread, fits.close)
    pipeline = _pipeline(settings, model, metrics, watch, rules)
    await stack.enter_async_context(pipeline)
    classifiers = _classifiers(settings, truth, model)
    evaluator = ClassifierEvaluator(truth, classifiers)
    thresholds = Thresholds(truth, classifiers, evaluator)
    signing = SigningKeys(truth, requires_trust=settings.import_requires_signature)
    registry = ClassifierRegistry(truth, classifiers, evaluator, thresholds, signing)
    home_id = (await asyncio.to_thread(truth.ensure_workspace, DEFAULT_WORKSPACE)).workspace_id
    return Services(
        settings=settings,
        keys=_key_ring(stack, settings, truth, home_id),
        rules=rules,
        key_registry=KeyRegistry(truth),
        workspaces=WorkspaceRegistry(truth),
        answers=AnswerStore(truth, keep_s=float(settings.idempotency_keep_s)),
        check_catalog=truth.check,
        pipeline=pipeline,
        gallery=gallery,
        classifiers=classifiers,
        evaluator=evaluator,
        thresholds=thresholds,
        registry=registry,
        review=LabelReview(truth, classifiers, evaluator),
        fits=fits,
        metrics=metrics,
        timed=watch.timed,
        operations=operations_of(
            settings,
            truth,
            pipeline,
            gallery,
            classifiers,
            registry,
            without_scores,
            watch=OperationWatch(watch.timed, metrics.operation_ended),
        ),
        searchers=searchers,
        slow_lane=slow_lane,
        default_workspace_id=home_id,
    )


def _threads(stack: AsyncExitStack, count: int, name: str) -> ThreadPoolExecutor:
    threads = ThreadPoolExecutor(count, thread_name_prefix=name)
    stack.push_async_callback(asyncio.to_thread, threads.shutdown)
    return threads


def _gallery(settings: Settings, truth: Catalog, model: Encoder) -> Gallery:
    return Gallery(
        truth,
        _vector_search(settings, truth, model),
        exchange_dir=settings.exchange_dir,
        sweep_limits=SweepLimits(settings.retention_max_share, settings.retention_min_scans),
    )


def _classifiers(settings: Settings, truth: Catalog, model: Encoder) -> ClassifierStore:
    return ClassifierStore(
        truth, encoder_id=model.encoder_id, dim=model.dim, max_examples=settings.max_fit_examples
    )


def _pipeline(
    settings: Settings,
    model: Encoder,
    metrics: ServiceMetrics,
    watch: StageWatch,
    rules: WorkspaceRules,
) -> Pipeline:
    return Pipeline(
        model,
        pipeline_limits(settings),
        on_batch=metrics.batch_frames.observe,
        on_pass=partial(metrics.stage_ended, "encode"),
        timed=watch.timed,
        meter=rules.quotas,
    )


def _schedule(settings: Settings, catalog: Catalog, running: Services) -> Schedule:
    return Schedule(
        settings=settings,
        catalog=catalog,
        gallery=running.gallery,
        operations=running.operations,
        on_expired=running.forget_deleted,
        on_swept=running.classifiers.forget_older,
        backup_owner=None if catalog.file is None else running.default_workspace_id,
        store_key_uses=running.keys.store_uses,
    )


async def _own_catalog(stack: AsyncExitStack, settings: Settings) -> Catalog:
    """The catalog of the settings, locked against other services if it is a file."""
    stack.enter_context(alone(settings))
    truth = await asyncio.to_thread(catalog_of, settings, is_owner=True)
    stack.push_async_callback(asyncio.to_thread, truth.close)
    return truth


def _vector_search(settings: Settings, catalog: Catalog, encoder: Encoder) -> VectorSearch:
    """The search over the catalog: in its own database, else beside it in the data folder."""
    if catalog.file is None:
        with with_driver():
            from service.catalog.postgres.postgres_catalog import PostgresCatalog
            from service.catalog.postgres.search.postgres_search import PostgresSearch
        if isinstance(catalog, PostgresCatalog):
            return PostgresSearch(
                catalog.database,
                encoder_id=encoder.encoder_id,
                dim=encoder.dim,
                exact_rows=settings.exact_scans,
                build_memory_mb=settings.index_build_mb,
                recall_every_s=settings.recall_every_s,
            )
    return EmbeddedSearch(
        catalog,
        encoder_id=encoder.encoder_id,
        dim=encoder.dim,
        folder=settings.data_dir / INDEX_FOLDER,
        exact_rows=settings.exact_scans,
        recall_every_s=settings.recall_every_s,
    )


def _key_ring(
    stack: AsyncExitStack, settings: Settings, catalog: Catalog, default_workspace_id: str
) -> KeyRing:
    failed = FailedKeys(settings.max_failed_keys, settings.failed_keys_window_s)
    tokens = stack.enter_context(access_tokens(settings, catalog.find_workspace))
    required = settings.require_key
    return KeyRing(catalog, default_workspace_id, failed, require_key=required, tokens=tokens)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Lock the data folder while the block runs; replicas over PostgreSQL need no lock.

    Raises:
        FolderInUse: another service uses the folder.
        CatalogFailure: the folder cannot be created or opened.
    """
    with nullcontext() if settings.catalog is not None else owned(settings.data_dir):
        yield


def catalog_of(settings: Settings, *, is_owner: bool = False) -> Catalog:
    """The catalog of the settings, as the service and the commands open it.

    What others may read of its folders is taken from them.

    Args:
        is_owner: the caller holds the lock of the data folder.

    Raises:
        CatalogFailure, FolderInUse: as ``open_catalog`` and ``open_postgres``.
        InvalidSettings: as ``postgres_of``.
    """
    if settings.backup_dir is not None:
        tighten(settings.backup_dir, (f"{PREFIX}*", f".{PREFIX}*", f"{LEDGER}*"))
    if settings.exchange_dir is not None:
        tighten(settings.exchange_dir, ("ws_*",))
    if settings.catalog is not None:
        return postgres_of(settings)
    tighten(settings.data_dir, (f"{FILE_NAME}*", f".{FILE_NAME}*", INDEX_FOLDER, "in-use"))
    return open_catalog(
        settings.data_dir,
        is_owner=is_owner,
        backup_dir=settings.backup_dir,
        redact=without_scores,
    )


def postgres_of(settings: Settings) -> "PostgresCatalog":
    """The catalog in PostgreSQL that the settings name.

    Raises:
        CatalogFailure: as ``open_postgres``.
        InvalidSettings: they name none, an address is not valid, or the driver is not installed.
    """
    url = settings.catalog_url()
    if url is None:
        raise InvalidSettings("SONOPROBE_CATALOG: expected postgresql://..., got nothing")
    with with_driver():
        from service.catalog.postgres.postgres_catalog import open_postgres
    return open_postgres(
        url,
        shards=settings.shard_urls(),
        max_connections=settings.database_connections,
        backup_dir=settings.backup_dir,
        redact=without_scores,
    )


@contextmanager
def with_driver() -> Iterator[None]:
    """Raises InvalidSettings: the block imports the driver of PostgreSQL, which is missing."""
    try:
        yield
    except ImportError as error:
        raise InvalidSettings(
            "a catalog in PostgreSQL needs its driver: pip install 'sonoprobe[postgres]'"
        ) from error


def open_encoder(settings: Settings) -> Encoder:
    """The bundle that the settings name, else the shipped one. Raises ArtifactMismatch."""
    return load_encoder(
        settings.bundle_dir or SHIPPED_BUNDLE,
        precision=settings.precision,
        threads=settings.encoder_threads,
        with_lanes=True,
    )


def pipeline_limits(settings: Settings) -> PipelineLimits:
    """The limits of the pipeline, from the settings."""
    return PipelineLimits(
        max_image_bytes=settings.max_image_bytes,
        max_clip_bytes=settings.max_clip_bytes,
        max_batch=settings.max_batch,
        batch_wait_s=settings.batch_wait_s,
        max_queue=settings.max_queue,
        decode_threads=settings.decode_threads,
        decode_processes=settings.decode_processes,
        clip_frames=settings.clip_frames,
        region=settings.region,
        decoding=DecodeLimits(
            max_pixels=settings.max_pixels,
            max_clip_frames=settings.max_clip_frames,
            max_clip_s=settings.max_clip_s,
            max_decode_bytes=settings.max_decode_bytes,
            max_decode_s=settings.max_decode_s,
        ),
        thumbnail_side_px=settings.thumbnail_side_px,
    )
