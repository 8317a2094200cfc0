"""A collection on a plane: what resembles is near, and everything on it is the caller's own."""

from typing import Any

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.gallery.projection import principal_plane, project
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client


@pytest.fixture(scope="module")
def mapped(local, frames) -> Client:
    client = Client(local.url, key=local.key)
    client.create_collection("mapped")
    for scene in ("cyst", "a_lines"):
        metadata = [
            {"scan_id": f"{scene}{n}", "subject_id": f"p{n}", "labels": {"scene": scene}}
            for n in range(5)
        ]
        client.add_scans("mapped", frames[scene][:5], metadata=metadata)
    yield client
    client.delete_collection("mapped")
    client.close()


def test_scans_that_resemble_each_other_are_near(mapped: Client) -> None:
    found = mapped.map("mapped", task="scene")
    assert found["total"] == len(found["scan_ids"]) == 10
    points = np.array([found["x"], found["y"]]).T
    is_cyst = np.array([label == "cyst" for label in found["labels"]])
    centres = np.array([points[is_cyst].mean(axis=0), points[~is_cyst].mean(axis=0)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == np.where(is_cyst, 0, 1)).all()
    assert 1 >= found["explained"][0] >= found["explained"][1] > 0


def test_the_coordinates_are_those_of_principal_components(mapped: Client) -> None:
    found = mapped.map("mapped")
    vectors = {s["scan_id"]: s["vector"] for s in mapped.scans("mapped", with_vector=True)}
    embeddings = np.array([vectors[scan_id] for scan_id in found["scan_ids"]])
    centred = embeddings - embeddings.mean(axis=0)
    _, singular, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.array([found["x"], found["y"]])
    assert np.linalg.norm(points, axis=1) == pytest.approx(singular[:2], abs=2e-3)
    share = singular**2 / (singular**2).sum()
    assert found["explained"] == pytest.approx(share[:2], abs=1e-3)
    assert found["labels"] == [None] * 10


def test_a_map_holds_what_passes_the_filter_and_the_limit_and_repeats(mapped: Client) -> None:
    some = mapped.map("mapped", where={"labels": {"scene": "cyst"}}, task="scene")
    assert set(some["labels"]) == {"cyst"}
    assert some["total"] == 5
    few = mapped.map("mapped", limit=4)
    assert len(few["scan_ids"]) == 4
    assert few["total"] == 10
    assert mapped.map("mapped", limit=4) == few


@pytest.mark.parametrize("count", [0, 1])
def test_a_map_of_no_scan_or_one_has_no_directions(
    client: Client, collection: str, frames, count: int
) -> None:
    if count:
        client.add_scans(collection, frames["cyst"][:1])
    found = client.map(collection)
    assert len(found["x"]) == found["total"] == count
    assert found["x"] == [0.0] * count
    assert found["explained"] == [0.0, 0.0]


def test_a_map_of_an_unknown_collection_or_without_end_is_refused(client: Client) -> None:
    with pytest.raises(ApiError, match="unknown_item"):
        client.map("none")
    with pytest.raises(ApiError, match="validation_error"):
        client.map("none", limit=100_001)


def test_the_direction_of_an_axis_does_not_depend_on_chance() -> None:
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(50, 8)).astype(np.float32) * np.arange(1, 9, dtype=np.float32)
    _, axes, _ = principal_plane(embeddings)
    _, again, _ = principal_plane(embeddings[::-1].copy())
    assert axes == pytest.approx(again, abs=1e-6)
    assert (axes[np.arange(2), np.abs(axes).argmax(axis=1)] > 0).all()


def test_a_scan_that_is_deleted_meanwhile_is_not_on_the_map(local, mapped: Client) -> None:
    class DeletedMeanwhile:
        """The catalog, from which a scan goes after its columns were read."""

        def __init__(self, catalog: Any) -> None:
            self._catalog = catalog
            self.read = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._catalog, name)

        def labelled(self, *given: Any, **named: Any) -> Any:
            columns = self._catalog.labelled(*given, **named)
            self.read += 1
            if self.read == 1:
                mapped.delete_scan("mapped", "cyst4")
            return columns

    running = local.running()
    catalog = DeletedMeanwhile(running.gallery._catalog)
    found = project(catalog, running.default_workspace_id, "mapped", where=ScanFilter(), limit=100)
    assert catalog.read == 2
    assert len(found.scan_ids) == 9
    assert "cyst4" not in found.scan_ids
