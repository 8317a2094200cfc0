"""The gauges of ``/metrics`` that are read from the running service."""

from service.api.dependencies import Services
from service.embedding.pipeline import Pipeline
from service.gallery.gallery import Gallery
from service.jobs.scheduler import backup_age_s
from service.observability import ServiceMetrics


def watch(metrics: ServiceMetrics, running: Services) -> None:
    """Report the state of the parts whenever the metrics are read."""
    pipeline = running.pipeline
    metrics.watch_in_flight(lambda: pipeline.in_flight)
    metrics.watch_indexes(lambda: index_figures(running.gallery))
    gallery = running.gallery
    metrics.watch_records(
        gallery.retention_held, gallery.erasures_owed, gallery.erasures_unvacuumed
    )
    metrics.watch_queues(
        lambda: {
            name: {
                "waiting": state.waiting,
                "running": state.running,
                "oldest_seconds": state.oldest_s,
            }
            for name, state in running.queues.items()
        }
    )
    metrics.watch_decoders(
        lambda: {name: {"confined": float(holds)} for name, holds in pipeline.confined.items()}
    )
    if running.settings.backup_dir is not None and running.settings.catalog is None:
        metrics.watch_backups(lambda: backup_age_s(running.settings))
    if running.keys.tokens is not None:
        metrics.watch_identity(running.keys.tokens.keys_age_s)
    if (audit := running.audit) is not None:
        metrics.watch_audit(lambda: audit.head_age_s, lambda: audit.failures)
    metrics.watch_encoder(lambda: {pipeline.encoder.encoder_id: _encoder_figures(pipeline)})


def _encoder_figures(pipeline: Pipeline) -> dict[str, float]:
    age_s = pipeline.last_pass_s
    return {} if age_s is None else {"last_pass_seconds": age_s}


def index_figures(gallery: Gallery) -> dict[str, dict[str, float]]:
    """{index_id: {figure: value}} for the metrics; an unmeasured recall is left out."""
    by_index: dict[str, dict[str, float]] = {}
    for figures in gallery.all_statistics():
        state = figures.state
        by_index[figures.index_id] = {
            "rows": state.rows,
            "compressed_rows": state.compressed_rows,
            "recall_samples": figures.recall_samples,
        }
        if figures.recall is not None:
            by_index[figures.index_id]["recall"] = figures.recall
    return by_index
