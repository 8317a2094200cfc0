"""Reading never fits: whatever a GET of a classifier answers was stored by the fit."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from service.fewshot import solver
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

SCENES = ("cyst", "stone")
VALUES = {"name": "lesions", "version": "published"}
QUERIES = {  # of the routes that ask for more than a name
    "/v1/classifiers/{name}/review": [
        {"kind": "suspect"},
        {"kind": "conflict"},
        {"kind": "next", "collection": "ward", "task": "t"},
    ],
    "/v1/classifiers/{name}/versions/{version}/compare": [{"with": "1"}],
    "/v1/classifiers/{name}/versions/{version}/export": [{"format": "json"}, {"format": "onnx"}],
    "/v1/classifiers/{name}/versions/{version}/thresholds": [
        {"sensitivity": "0.9"},
        {"specificity": "0.9"},
        {"threshold": "0.4"},
    ],
}


@pytest.fixture
def solutions() -> Iterator[list[str]]:
    """Functions of the solver as threads that start from now on enter them."""
    entered: list[str] = []

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename == solver.__file__:
            entered.append(frame.f_code.co_name)

    threading.setprofile(profile)
    yield entered
    threading.setprofile(None)  # type: ignore[arg-type]


def test_no_get_of_a_classifier_enters_the_solver(
    solutions: list[str], tmp_path: Path, frames: dict[str, list[bytes]]
) -> None:
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("ward")
        for scene in SCENES:
            facts = [
                {"scan_id": f"{scene}-{i}", "subject_id": f"{scene}-{i}", "labels": {"t": scene}}
                for i in range(10)
            ]
            client.add_scans("ward", frames[scene][:10], facts)
        client.fit({"name": "lesions", "collection": "ward", "task": "t"})
        assert "solve" in solutions, "the fit itself is seen"
        solutions.clear()

        paths = client.request("GET", "/openapi.json").json()["paths"]
        readable = [path for path in paths if "classifiers" in path and "get" in paths[path]]
        assert set(QUERIES) <= set(readable)
        for path in readable:
            for query in QUERIES.get(path, [{}]):
                answer = client.request("GET", path.format(**VALUES), params=query)
                assert answer.status_code == 200
                assert not solutions, f"{path} fits"
