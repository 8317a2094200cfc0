"""Opening the encoder that the settings name, and the limits of the pipeline around it."""

from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import Encoder, load_encoder
from service.embedding.pipeline import PipelineLimits
from service.imaging.formats.limits import DecodeLimits
from service.settings import Settings


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
