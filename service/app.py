"""The wiring: from settings to the ASGI application."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from fastapi import FastAPI

from service.access.audit.audit_log import AuditLog
from service.access.audit.service_events import before_operation_ends, on_swept, running_audit
from service.access.failed_keys import FailedKeys
from service.access.key_registry import KeyRegistry
from service.access.keys import DEFAULT_WORKSPACE, KeyRing
from service.access.saved_answers import AnswerStore
from service.access.stream_places import stream_places
from service.access.tokens.access_tokens import access_tokens
from service.access.workspace_registry import WorkspaceRegistry
from service.access.workspace_rules import WorkspaceRules, workspace_rules
from service.api import openapi, problems, routers
from service.api.body_limits import BodyLimits
from service.api.dependencies import Services
from service.api.gauges import watch
from service.api.middleware import Gate
from service.api.streams.stream_table import stream_table
from service.catalog.erasure_records import SweepLimits
from service.catalog.interface import Catalog
from service.catalog.vector_search import VectorSearch
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.monitoring.classifier_monitor import ClassifierMonitor
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.review import LabelReview
from service.classifiers.signing.signing_keys import SigningKeys
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.classifiers.views.kept_views import ViewMaker
from service.embedding.bundle import near_duplicate_cosine
from service.embedding.encoder import Encoder
from service.embedding.pipeline import Pipeline
from service.fairness.turn_executor import TurnExecutor
from service.gallery.embedded_search import EmbeddedSearch
from service.gallery.gallery import Gallery
from service.jobs.fit_queue import FitQueue
from service.jobs.operation_workers import OperationWatch
from service.jobs.scheduler import Schedule, operations_of, run_schedule
from service.observability import ServiceMetrics
from service.opening.catalog_opening import INDEX_FOLDER, alone, catalog_of, with_driver
from service.opening.encoder_opening import open_encoder, pipeline_limits
from service.settings import Settings, program_version
from service.telemetry.stage_watch import StageWatch
from service.telemetry.tracing import NO_SPANS_OF_FASTAPI, tracing_of

E = TypeVar("E", bound=Executor)
MAX_CALL_THREADS = 32
MAX_HELD_READS = 256  # searches, counts and pages of one workspace that is alone
DOOR_THREADS = 4
LEASE_THREADS = 2


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
            asyncio.get_running_loop().set_default_executor(_threads_of_calls(settings))
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
    routers.install(app)
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
    audit = await _running_audit(stack, settings, truth)
    rules = workspace_rules(truth, settings, metrics, model.ultrasound)
    gallery = await _opened_gallery(stack, settings, truth, model)
    # A separate pool: a pool shared with writers could be full of writes.
    searchers = _ending(
        stack, TurnExecutor(settings.search_threads, "search", max_held=MAX_HELD_READS)
    )
    leases = _ending(stack, TurnExecutor(LEASE_THREADS, "leases"))
    places = stream_places(truth, settings, metrics.limited)
    fits = _fit_queue(stack, settings, watch)
    pipeline = _pipeline(settings, model, metrics, watch, rules)
    await stack.enter_async_context(pipeline)
    classifiers = _classifiers(settings, truth, pipeline)
    evaluator = ClassifierEvaluator(truth, classifiers)
    gate, every_s = model.ultrasound, settings.monitor_store_s
    monitor = ClassifierMonitor(truth, classifiers, evaluator, metrics, gate, every_s)
    stack.push_async_callback(asyncio.to_thread, monitor.close)
    thresholds = Thresholds(truth, classifiers, evaluator)
    signing = SigningKeys(truth, requires_trust=settings.import_requires_signature)
    registry = ClassifierRegistry(truth, classifiers, evaluator, thresholds, signing)
    home_id = (await asyncio.to_thread(truth.ensure_workspace, DEFAULT_WORKSPACE)).workspace_id
    ends = _operation_watch(settings, metrics, watch, audit)
    parts = (pipeline, gallery, classifiers, registry)
    return Services(
        settings=settings,
        keys=_key_ring(stack, settings, truth, home_id),
        rules=rules,
        key_registry=KeyRegistry(truth),
        workspaces=WorkspaceRegistry(truth),
        answers=AnswerStore(truth, keep_s=float(settings.idempotency_keep_s), threads=leases),
        check_catalog=truth.check,
        pipeline=pipeline,
        gallery=gallery,
        classifiers=classifiers,
        evaluator=evaluator,
        monitor=monitor,
        thresholds=thresholds,
        registry=registry,
        review=LabelReview(truth, classifiers, evaluator),
        fits=fits,
        metrics=metrics,
        timed=watch.timed,
        operations=operations_of(settings, truth, *parts, rules.paying_for, watch=ends),
        searchers=searchers,
        doors=_threads(stack, DOOR_THREADS, "doors"),
        health=_threads(stack, 1, "health"),
        slow_lane=_threads(stack, 1, "failed-keys"),
        default_workspace_id=home_id,
        streams=stream_table(places, settings, metrics, leases),
        audit=audit,
    )


def _fit_queue(stack: AsyncExitStack, settings: Settings, watch: StageWatch) -> FitQueue:
    fits = FitQueue(
        threads=settings.fit_threads, max_waiting=settings.max_waiting_fits, timed=watch.timed
    )
    # It closes before the catalog, to which fits write.
    stack.push_async_callback(asyncio.to_thread, fits.close)
    return fits


def _operation_watch(
    settings: Settings, metrics: ServiceMetrics, watch: StageWatch, audit: AuditLog | None
) -> OperationWatch:
    before_end = before_operation_ends(audit, settings.backup_dir)
    return OperationWatch(watch.timed, metrics.operation_ended, before_end)


async def _running_audit(
    stack: AsyncExitStack, settings: Settings, truth: Catalog
) -> AuditLog | None:
    audit = running_audit(truth, settings.heads_dir(), is_on=settings.audit)
    return await stack.enter_async_context(audit)


def _threads_of_calls(settings: Settings) -> TurnExecutor:
    """The threads of ``asyncio.to_thread``; they leave connections for searches, fits and keys."""
    most = min(MAX_CALL_THREADS, (os.cpu_count() or 1) + 4)  # as asyncio's own
    if settings.catalog is not None:
        most = min(most, settings.database_connections // 2)
    return TurnExecutor(most, "calls")


def _threads(stack: AsyncExitStack, number: int, name: str) -> ThreadPoolExecutor:
    return _ending(stack, ThreadPoolExecutor(number, thread_name_prefix=name))


def _ending(stack: AsyncExitStack, threads: E) -> E:
    """The same executor, which the stack shuts down."""
    stack.push_async_callback(asyncio.to_thread, threads.shutdown)
    return threads


async def _opened_gallery(
    stack: AsyncExitStack, settings: Settings, truth: Catalog, model: Encoder
) -> Gallery:
    gallery = Gallery(
        truth,
        _vector_search(settings, truth, model),
        exchange_dir=settings.exchange_dir,
        sweep_limits=SweepLimits(settings.retention_max_share, settings.retention_min_scans),
    )
    stack.push_async_callback(asyncio.to_thread, gallery.close)
    await asyncio.to_thread(gallery.open)
    return gallery


def _classifiers(settings: Settings, truth: Catalog, pipeline: Pipeline) -> ClassifierStore:
    return ClassifierStore(
        truth,
        encoder_id=pipeline.encoder.encoder_id,
        dim=pipeline.encoder.dim,
        near_duplicate_cosine=near_duplicate_cosine(pipeline.encoder.manifest),
        max_examples=settings.max_fit_examples,
        view_maker=ViewMaker(pipeline.views_of_kept, pipeline.admit_views),
        max_default_views=settings.max_default_views,
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
        tell_expired=on_swept(running.audit),
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
    tokens = stack.enter_context(access_tokens(settings, catalog.workspace_at_door))
    required = settings.require_key
    return KeyRing(catalog, default_workspace_id, failed, require_key=required, tokens=tokens)
