"""The monitor of a classifier and outcomes of predictions, through HTTP and the command line."""

import json
import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from sonoprobe_client import outcome_of
from tests.service.expected import probabilities, refused

SCENES = ("cyst", "stone")


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """A collection ``ward`` of 20 scans, each of its own subject, and the classifier ``scene``."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward")
        for scene in SCENES:
            said = [
                {"scan_id": f"{scene}-{i}", "subject_id": f"{scene}-{i}", "labels": {"t": scene}}
                for i in range(10)
            ]
            client.add_scans("ward", frames[scene][:10], said)
        client.fit({"name": "scene", "collection": "ward", "task": "t"})
        yield client


def counted(client: Client, name: str = "scene") -> dict:
    """The figures of all answers of a classifier."""
    return client.monitor(name)["windows"][-1]


def test_answers_are_counted_at_once_and_prediction_ids_differ(ward: Client, name, frames) -> None:
    before = counted(ward, name)
    assert (before["answers"], before["similarity_median"]) == (0, None)
    items = ward.predict(name, frames["mass"][:3])["items"]
    items += ward.predict_scans(name, "ward", ["cyst-1"])["items"]
    assert len({item["prediction_id"] for item in items}) == 4
    after = counted(ward, name)
    assert after["answers"] == 4
    assert sum(after["sizes"].values()) == 4
    said = [item["abstained"]["because"] for item in items if item["abstained"]]
    assert after["abstained"] == {reason: said.count(reason) for reason in set(said)}
    assert {w["window"]: w["answers"] for w in ward.monitor(name, 1)["windows"]} == dict.fromkeys(
        ("hour", "day", "week", "all"), 4
    )


def test_a_cine_is_one_answer(ward: Client, name, frames) -> None:
    answer = ward.predict(name, frames["cyst"][:4], cine=True)
    assert counted(ward, name)["answers"] == 1
    ids = {item["prediction_id"] for item in (*answer["items"], answer["cine"])}
    assert len(ids) == 5


def test_the_reference_is_of_the_labelled_examples(ward: Client, name) -> None:
    answer = ward.monitor(name)
    reference = answer["reference"]
    assert (reference["examples"], reference["groups"]) == (20, 20)
    assert sum(reference["most_probable"].values()) == pytest.approx(1)
    assert (answer["not_tested_because"], answer["latest"], answer["alarming"]) == (None, [], False)


def test_an_imported_classifier_has_no_reference(ward: Client) -> None:
    ward.import_classifier("copy", ward.export("scene"))
    answer = ward.monitor("copy")
    assert answer["reference"] is None
    assert answer["no_reference_because"] == answer["not_tested_because"]
    ward.delete_classifier("copy")


def test_outcomes_are_idempotent_and_can_be_corrected(ward: Client, name, frames) -> None:
    answer = ward.predict(name, frames["cyst"][:6])
    sent = [
        outcome_of(answer, item, ["cyst"], patient=f"p{i}")
        for i, item in enumerate(answer["items"])
    ]
    assert ward.put_outcomes(name, sent) == {"recorded": 6, "replaced": 0}
    assert ward.put_outcomes(name, sent) == {"recorded": 0, "replaced": 6}
    wrong = outcome_of(answer, answer["items"][0], ["stone"])
    assert ward.put_outcomes(name, [wrong]) == {"recorded": 0, "replaced": 1}
    found = ward.monitor(name)["outcomes"]
    assert (found["outcomes"], found["with_patient"]) == (6, 5)
    (head,) = found["labels"]
    assert sum(part["predictions"] for part in head["bins"]) == sum(
        item["decision"] == "called" for item in answer["items"]
    )


def test_an_outcome_for_other_classes_is_refused_without_quoting_them(
    ward: Client, name, frames
) -> None:
    answer = ward.predict(name, frames["cyst"][:1])
    (item,) = answer["items"]
    unknown = outcome_of(answer, item, ["Miller"])
    with refused("invalid_input", 422) as caught:
        ward.put_outcomes(name, [unknown])
    assert "Miller" not in str(caught.value)
    shares = probabilities(item)
    body = {**unknown, "actual": ["cyst"], "probabilities": {**shares, "other": 0.1}}
    with refused("invalid_input", 422):
        ward.put_outcomes(name, [body])
    with refused("unknown_item", 404):
        ward.put_outcomes(name, [{**outcome_of(answer, item, ["cyst"]), "version": 9}])
    assert ward.monitor(name)["outcomes"]["outcomes"] == 0


def test_metrics_count_predictions_by_outcome(ward: Client, name, frames) -> None:
    def total() -> float:
        lines = re.findall(r"^sonoprobe_predictions_total\{.*\} (.+)$", ward.metrics(), re.M)
        return sum(map(float, lines))

    before = total()
    ward.predict(name, frames["mass"][:2])
    assert total() == before + 2


def test_the_command_line_shows_the_monitor(ward: Client, tiny: LocalService, name) -> None:
    address = {"SONOPROBE_URL": tiny.url, "SONOPROBE_KEY": tiny.key}
    shown = CliRunner().invoke(app, ["monitor", name], env=address)
    assert shown.exit_code == 0, shown.output
    assert f"{name} version 1" in shown.output
    assert "reference\t20 groups" in shown.output
    whole = CliRunner().invoke(app, ["monitor", name, "--json"], env=address)
    assert json.loads(whole.output)["classifier"] == name
