"""What many tests of the service start from and expect."""

import hashlib
import json
from pathlib import Path

import pytest

from service.api.shapes.base import Body
from sonoprobe_client import ApiError

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"  # small: its accuracy is no matter


def refused(code: str, status: int):
    """The block raises ApiError with this code and status."""
    return pytest.raises(ApiError, match=rf"^{code} \({status}\)")


def probabilities(item: dict) -> dict[str, float]:
    """Class or label -> probability, of a prediction or of one frame of it."""
    return {output["label"]: output["probability"] for output in item["outputs"]}


def calls(item: dict) -> dict[str, tuple[float | None, bool | None, str]]:
    """Class or label -> threshold, whether it is called, and who set the threshold."""
    return {o["label"]: (o["threshold"], o["called"], o["set_by"]) for o in item["outputs"]}


def unsigned(document: dict) -> dict:
    """An exported classifier without its signature, with the digest of what it holds now."""
    facts = {key: value for key, value in document.items() if key not in ("sha256", "signature")}
    text = json.dumps(facts, sort_keys=True)
    return facts | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def bodies_of_routes(kind: type[Body] = Body) -> set[type[Body]]:
    """Every body that the service defines; tests that ran before may have defined others."""
    inner = {body for child in kind.__subclasses__() for body in bodies_of_routes(child)}
    return inner | {kind} if kind is not Body and kind.__module__.startswith("service.") else inner
