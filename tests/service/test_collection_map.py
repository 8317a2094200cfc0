"""A collection on a plane: what resembles is near, and everything on it is the caller's own."""

from typing import Any

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.gallery.projection import MapRequest, principal_axes, project
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
    _, axes, _ = principal_axes(embeddings, 2)
    _, again, _ = principal_axes(embeddings[::-1].copy(), 2)
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
    request = MapRequest(ScanFilter(), limit=100)
    catalog = DeletedMeanwhile(running.gallery._catalog)
    found = project(catalog, running.default_workspace_id, "mapped", request)
    assert catalog.read == 2
    assert len(found.scan_ids) == 9
    assert "cyst4" not in found.scan_ids


# the layout that keeps neighbours --------------------------------------------------------------


@pytest.fixture(scope="module")
def laid_out(local, frames) -> Client:
    client = Client(local.url, key=local.key)
    client.create_collection("laid-out")
    for scene in ("cyst", "a_lines", "stone"):
        # Each of another patient: simulated frames of a scene may be taken for one frame.
        metadata = [
            {"scan_id": f"{scene}{n}", "labels": {"scene": scene}, "subject_id": f"{scene}{n}"}
            for n in range(6)
        ]
        client.add_scans("laid-out", frames[scene][:6], metadata=metadata)
    client.fit({"name": "scenes", "collection": "laid-out", "task": "scene"})
    with pytest.raises(ApiError, match="unknown_item"):
        client.map("laid-out", layout="neighbours")
    operation = client.wait(client.lay_out("laid-out")["operation_id"])
    assert operation["result"]["placed"] == 18
    yield client
    client.delete_classifier("scenes")
    client.delete_collection("laid-out")
    client.close()


def test_what_resembles_lies_together_on_a_layout(laid_out: Client) -> None:
    found = laid_out.map("laid-out", task="scene", layout="neighbours")
    points = np.array([found["x"], found["y"]]).T
    labels = np.array(found["labels"])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.6  # by chance 0.3
    assert found["explained"] is None
    assert 0 < found["kept"] <= 1
    state = laid_out.layout("laid-out")
    assert state["placed_at"] == found["placed_at"]
    assert (state["placed"], state["scans"]) == (18, 18)


def test_the_same_scans_get_the_same_layout(laid_out: Client) -> None:
    before = laid_out.map("laid-out", layout="neighbours")
    laid_out.wait(laid_out.lay_out("laid-out")["operation_id"])
    again = laid_out.map("laid-out", layout="neighbours")
    assert (again["x"], again["y"]) == (before["x"], before["y"])


def test_what_was_stored_later_is_not_on_the_layout_and_what_is_deleted_goes(
    laid_out: Client, frames
) -> None:
    laid_out.add_scans("laid-out", frames["mass"][:1], metadata=[{"scan_id": "later"}])
    laid_out.delete_scan("laid-out", "stone5")
    found = laid_out.map("laid-out", layout="neighbours")
    assert "later" not in found["scan_ids"]
    assert "stone5" not in found["scan_ids"]
    assert (found["total"], len(found["scan_ids"])) == (18, 17)


def test_doubts_are_those_of_heads_that_had_not_seen_an_example(laid_out: Client) -> None:
    plain = laid_out.map("laid-out", task="scene")
    assert (plain["doubts"], plain["machines"]) == (None, None)
    found = laid_out.map("laid-out", task="scene", classifier="scenes", machines=True)
    assert len(found["doubts"]) == len(found["scan_ids"])
    assert all(0 <= doubt <= 1 for doubt in found["doubts"])
    assert found["machines"] == [None] * len(found["scan_ids"])
    ids, doubts = found["scan_ids"], found["doubts"]
    wrong = ids.index("a_lines0")  # its class has the most groups
    laid_out.patch_scan("laid-out", ids[wrong], {"labels": {"scene": "stone"}})
    laid_out.refit("scenes", {"publish": True})
    after = laid_out.map("laid-out", task="scene", classifier="scenes")["doubts"]
    assert after[wrong] > 0.5 > doubts[wrong]


def test_a_collection_of_two_scans_cannot_be_laid_out(
    client: Client, collection: str, frames
) -> None:
    client.add_scans(collection, frames["cyst"][:2])
    operation = client.wait(client.lay_out(collection)["operation_id"])
    assert operation["state"] == "failed"
    assert "at least 3 scans" in operation["problem"]["detail"]
