"""Which uploads a collection accepts, and how an accepted one becomes a scan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.catalog.records import ClipFrame, NewScan, ScanImage
from service.embedding.analysis_terms import RISKS, FrameAnalysis
from service.embedding.pipeline import EmbeddedImage
from service.embedding.pooling import place_of, without_repeats
from service.errors import FrameRefused, ServiceError
from service.gallery.gallery_records import ScanFacts


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """Which uploads a collection refuses, and what it stores of those it accepts.

    Attributes:
        refuse_burned_in: lowest burned-in risk that is refused; None = any risk is accepted.
        refuse_quality: quality findings that are refused.
        high_risk_thumbnails: store thumbnails in which names may be legible. Images are kept at
            any risk, because ``keep_images`` is an explicit wish for the pixels.
    """

    refuse_burned_in: str | None = None
    refuse_quality: frozenset[str] = frozenset()
    high_risk_thumbnails: bool = False

    @classmethod
    def from_json(cls, policy: Mapping[str, Any]) -> "AcceptancePolicy":
        """The policy in the ``intake`` field of a collection."""
        quality = frozenset(policy.get("refuse_quality", ()))
        risky = bool(policy.get("high_risk_thumbnails", False))
        return cls(policy.get("refuse_burned_in"), quality, risky)

    def stores_thumbnail(self, analysis: FrameAnalysis) -> bool:
        """Whether a thumbnail of the file is stored."""
        return self.high_risk_thumbnails or analysis.risk != "high"

    def refusal(self, analysis: FrameAnalysis) -> FrameRefused | None:
        """The reason to refuse a file; None when the collection accepts it."""
        findings = [finding.reason for finding in analysis.findings]
        return self._refusal(analysis.risk, analysis.risk_reasons, findings)

    def accepted(self, scan: NewScan) -> NewScan | ServiceError:
        """A scan of another collection as this one stores it, or the reason to refuse it.

        A burned-in risk that an older export does not tell is refused as the highest one.
        """
        analysis = scan.image.analysis
        told = analysis.get("burned_in_risk")
        risk = told if told in RISKS else RISKS[-1]
        findings = [str(finding["reason"]) for finding in analysis.get("quality", ())]
        refusal = self._refusal(risk, analysis.get("burned_in_reasons", ()), findings)
        if refusal is not None:
            return refusal
        shows = self.high_risk_thumbnails or told != RISKS[-1]
        return scan if shows else replace(scan, thumbnail_jpeg=b"")

    def _refusal(
        self, risk: str, risk_reasons: Iterable[str], reasons: Iterable[str]
    ) -> FrameRefused | None:
        limit = self.refuse_burned_in
        if limit is not None and RISKS.index(risk) >= RISKS.index(limit):
            why = ", ".join(risk_reasons)
            return FrameRefused(f"the collection refuses burned-in risk {risk}: {why}")
        findings = [reason for reason in reasons if reason in self.refuse_quality]
        if findings:
            return FrameRefused(f"the collection refuses frames that are {', '.join(findings)}")
        return None


def image_of(embedded: EmbeddedImage) -> ScanImage:
    """The facts of an uploaded file."""
    return ScanImage(
        sha256=embedded.sha256,
        kind=embedded.info.kind,
        format=embedded.format,
        width_px=embedded.width_px,
        height_px=embedded.height_px,
        content_sha256=embedded.content_sha256,
        frames=embedded.info.frames_in_file,
        frames_used=embedded.frames_used,
        frame_rate_hz=embedded.info.frame_rate_hz,
        regions_used=embedded.regions_used,
        analysis=embedded.analysis_json(),
    )


def scan_of(embedded: EmbeddedImage, facts: ScanFacts, policy: AcceptancePolicy) -> NewScan:
    """The scan to store, with the frames of a cine that differ."""
    regions_used = embedded.regions_used
    shows = policy.stores_thumbnail(embedded.analysis)
    return NewScan(
        scan_id=facts.scan_id,
        image=image_of(embedded),
        embedding_D=embedded.embedding_D,
        thumbnail_jpeg=embedded.thumbnail_jpeg if shows else b"",
        subject_id=facts.subject_id,
        study_id=facts.study_id,
        labels=facts.labels,
        attributes=facts.attributes,
        image_png=embedded.used_png,
        frames=tuple(
            ClipFrame(place_of(frame, regions_used), frame.time_s, frame.copies, frame.embedding_D)
            for frame in without_repeats(embedded.used)
        ),
    )
