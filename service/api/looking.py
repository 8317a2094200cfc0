"""What was looked at of a frame, and whether a collection takes it."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.api.schemas import JsonObject
from service.embedding.pipeline import EmbeddedImage
from service.errors import FrameRefused, ServiceError
from service.imaging.analysis.frame_analysis import RISKS, FrameAnalysis


def analysis_json(embedded: EmbeddedImage) -> JsonObject:
    """What was looked at, and with what it was made: for answers and for the catalog."""
    return embedded.analysis.to_json() | {"device": embedded.info.device.to_json()}


def refusal(policy: Mapping[str, Any], analysis: FrameAnalysis) -> FrameRefused | None:
    """Why the collection does not take a file, or None when it does."""
    least = policy.get("refuse_burned_in")
    if least is not None and RISKS.index(analysis.risk) >= RISKS.index(least):
        said = ", ".join(analysis.risk_reasons)
        return FrameRefused(f"the collection refuses burned-in risk {analysis.risk}: {said}")
    refused = set(policy.get("refuse_quality", ()))
    found = [finding.reason for finding in analysis.findings if finding.reason in refused]
    if found:
        return FrameRefused(f"the collection refuses frames that are {', '.join(found)}")
    return None


def accepted(
    policy: Mapping[str, Any], found: Sequence[EmbeddedImage | ServiceError], *, alone: bool
) -> list[EmbeddedImage | ServiceError]:
    """Each file, or why the collection does not take it; ``alone``: that is raised."""
    answers: list[EmbeddedImage | ServiceError] = []
    for item in found:
        refused = refusal(policy, item.analysis) if isinstance(item, EmbeddedImage) else None
        if refused is not None and alone:
            raise refused
        answers.append(item if refused is None else refused)
    return answers
