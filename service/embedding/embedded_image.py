"""The options of a request to the pipeline, and the result for one file.

Shape suffixes: H W frame, D embedding width, V views, h w places of a feature map.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from service.arrays import Floats
from service.embedding.pooling import FrameEmbedding
from service.imaging.analysis.boxes import Box, grown
from service.imaging.analysis.frame_analysis import FrameAnalysis, RegionMode, parse_region_mode
from service.imaging.analysis.heatmap_overlay import overlay
from service.imaging.formats.frames import ImageInfo
from service.imaging.formats.sampling import Sampling, parse_sampling


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """Options of embedding, and results beside the embedding.

    Attributes:
        sampling: which frames of a clip are used; None = the default of the settings.
        region_mode: which part of each frame is used; None = the default of the settings.
        with_thumbnail: return a small JPEG.
        with_map: return the feature map of a file of one frame and one region.
        with_png: return the used pixels of a file of one frame and one region.
        with_views: embed seven views of each used region as well, at seven times the cost;
            ``stills`` = only of a file of one frame.
    """

    sampling: Sampling | None = None
    region_mode: RegionMode | None = None
    with_thumbnail: bool = False
    with_map: bool = False
    with_png: bool = False
    with_views: bool | Literal["stills"] = False

    def choosing(self, frames: str | None, region: str | None) -> "EmbedOptions":
        """These options with sampling and region mode from a request. Raises InputError."""
        return replace(
            self,
            sampling=None if frames is None else parse_sampling(frames),
            region_mode=None if region is None else parse_region_mode(region),
        )


@dataclass(frozen=True, slots=True)
class MappedImage:
    """The feature map of one region of a frame, for heat maps.

    Attributes:
        map_Dhw: float32; its places tile ``box``, and its mean over them has the direction of the
            embedding.
        region_box: x0, y0, x1, y1 in pixels of the frame, half open.
        frame_px: width and height of the frame.
        border: of the encoder's input, see ``PreprocessSpec``.
    """

    map_Dhw: Floats
    region_box: Box
    frame_px: tuple[int, int]
    border: float = 0.0

    @property
    def box(self) -> Box:
        """The region with its border, in pixels of the frame; it may reach outside the frame."""
        return grown(self.region_box, self.border)

    def picture(self, heat_hw: npt.NDArray[np.floating]) -> bytes:
        """A heat map of the frame's size, PNG. Raises InputError: not finite, not two axes."""
        return overlay(heat_hw, self.box, self.frame_px)


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """One embedded file.

    Attributes:
        sha256: hex digest of the file.
        info: format, size, timing and device, as the file declares them.
        analysis: regions, masked text and quality.
        embedding_D: float32, unit length; the pooled embedding when ``used`` has several.
        content_sha256: hex digest of the pixels that the encoder received: equal for equal
            pixels in any file format. Files without anything to see have one each.
        used: the used frames of a clip in order, or the regions of a still; empty for a still
            of one region.
        thumbnail_jpeg: empty unless requested.
        mapped: None unless requested, and for files of several frames or regions.
        used_png: the pixels that the encoder received, without loss or metadata; with the region
            mode ``none`` they give the same embedding. None as ``mapped``.
        views_D: the mean embedding of all views, pooled as ``embedding_D``; None unless requested.
        views_VD: the embedding of each view, pooled so; None as ``views_D``.
    """

    sha256: str
    info: ImageInfo
    analysis: FrameAnalysis
    embedding_D: Floats
    content_sha256: str
    used: tuple[FrameEmbedding, ...] = ()
    thumbnail_jpeg: bytes = b""
    mapped: MappedImage | None = None
    used_png: bytes | None = None
    views_D: Floats | None = None
    views_VD: Floats | None = None

    @property
    def format(self) -> str:
        """Lower-case name of the file format."""
        return self.info.format

    @property
    def width_px(self) -> int:
        """Columns of the upright frame."""
        return self.info.width_px

    @property
    def height_px(self) -> int:
        """Rows of the upright frame."""
        return self.info.height_px

    @property
    def regions_used(self) -> int:
        """Number of embedded regions of each frame."""
        return 1 + max((frame.region for frame in self.used), default=0)

    @property
    def frames_used(self) -> int:
        """Number of embedded frames of the file."""
        return max(1, len({frame.index for frame in self.used}))

    def analysis_json(self) -> dict[str, Any]:
        """The analysis and what the file declares, for responses and the catalog."""
        spacing = self.info.spacing_mm
        return self.analysis.to_json() | {
            "spacing_mm": None if spacing is None else list(spacing),
            "device": self.info.device.to_json(),
            "corrections": [asdict(correction) for correction in self.info.corrections],
        }
