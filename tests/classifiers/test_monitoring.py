"""A classifier in use: counts, tests against the reference, outcomes."""

import hashlib
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import MULTI, FitOptions, without_scores
from service.classifiers.monitoring.classifier_monitor import ClassifierMonitor
from service.classifiers.monitoring.outcome_reports import ReportedOutcome, outcomes_report
from service.classifiers.portable_versions import export_document
from service.classifiers.prediction import (
    Acquisition,
    PredictionQuery,
    PredictionRequest,
    predict,
)
from service.classifiers.store import ClassifierStore
from service.errors import InputError, UnknownItem

DIM = 8
PATIENTS = 60


class Counted:
    """The metrics of a monitor."""

    def __init__(self):
        self.answers, self.alarms = Counter(), Counter()

    def answered(self, outcome):
        self.answers[outcome] += 1

    def alarmed(self, figure):
        self.alarms[figure] += 1


class Ward:
    """A store with the classifiers ``triage`` and ``small``, and their monitor."""

    def __init__(self, folder):
        self.catalog = catalog = open_catalog(folder, redact=without_scores)
        self.owner = catalog.ensure_workspace("ours").workspace_id
        self.store = ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)
        self.metrics = Counted()
        evaluator = ClassifierEvaluator(catalog, self.store)
        self.monitor = ClassifierMonitor(
            catalog, self.store, evaluator, self.metrics, None, store_every_s=3600
        )

    def close(self):
        self.monitor.close()
        self.catalog.close()

    def answer(self, embeddings_ND, name="triage", **query):
        loaded = self.store.open(self.owner, name)
        queries = [PredictionQuery(row, **query) for row in embeddings_ND]
        predicted = predict(loaded, queries, PredictionRequest(0.9, 0))
        self.monitor.record(self.owner, loaded, predicted.answers)
        return predicted.items

    def report(self, name="triage"):
        classifier = self.catalog.get_classifier(self.owner, name)
        return self.monitor.report(self.owner, classifier, classifier.published)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of a catalog with ``triage`` of 60 patients and ``small`` of 12."""
    folder = tmp_path_factory.mktemp("fitted")
    catalog = open_catalog(folder)
    owner = catalog.ensure_workspace("ours").workspace_id
    store = ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)
    for name, patients in (("triage", PATIENTS), ("small", 12)):
        catalog.create_collection(owner, name, encoder_id="e", dim=DIM)
        scans = [new_scan(n) for n in range(patients)]
        catalog.add_scans(owner, name, scans, encoder_id="e")
        examples = store.sources.of_task(owner, name, "task", ScanFilter())
        store.fit(owner, name, examples, Author())
    catalog.close()
    return folder


@pytest.fixture
def ward(fitted, tmp_path):
    shutil.copytree(fitted, tmp_path / "data")
    ward = Ward(tmp_path / "data")
    yield ward
    ward.close()


def new_scan(n):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    (vector_D,) = usual(n, 1)
    labels = {"task": "ab"[n % 2]}
    return NewScan(f"s{n}", image, vector_D, b"", subject_id=f"P-{n}", labels=labels)


def usual(first, count):
    """Unit rows near the first axis (class a, even numbers) or the second (class b)."""
    numbers = range(first, first + count)
    return around([n % 2 for n in numbers], numbers)


def foreign(count):
    """Unit rows near the third axis."""
    return around([2] * count, range(count))


def around(axes, seeds):
    rows = np.stack([0.2 * np.random.default_rng(seed).standard_normal(DIM) for seed in seeds])
    rows[np.arange(len(rows)), axes] += 1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_answers_are_counted_with_their_reasons_findings_and_machines(ward):
    machine = Acquisition("Acme S1", 800, 600)
    ward.answer(usual(1000, 8), acquisition=machine)
    ward.answer(usual(2000, 2), findings=frozenset({"blank", "tiny"}))
    windows = {figures.window: figures for figures in ward.report().windows}
    assert set(windows) == {"hour", "day", "week", "all"}
    for figures in windows.values():
        assert (figures.answers, figures.compared) == (10, 8)
        assert figures.abstained["blank"] == 2
        assert figures.findings == {"blank": 2, "tiny": 2}
        assert figures.machines == {"Acme S1": 8}
        assert figures.sizes == {"800x600": 8}
        assert sum(figures.most_probable.values()) == pytest.approx(1)
        assert sum(figures.called.values()) == 10 - sum(figures.abstained.values())
    assert ward.metrics.answers["blank"] == 2
    assert sum(ward.metrics.answers.values()) == 10


def test_files_cannot_name_machines_without_end(ward):
    for n in range(30):
        ward.answer(usual(n, 1), acquisition=Acquisition(f"M{n}" * 100, 800, 600 + n))
    figures = ward.report().windows[-1]
    for names in (figures.machines, figures.sizes):
        assert sum(names.values()) == 30
        assert len(names) == 21
        assert names["other"] == 10
        assert all(len(name) <= 64 for name in names)


def test_the_reference_is_what_the_examples_are_when_held_out(ward):
    ward.answer(usual(1000, 200))
    report = ward.report()
    reference = report.reference
    all_of_them = report.windows[-1]
    assert (reference.examples, reference.groups) == (PATIENTS, PATIENTS)
    assert all_of_them.similarity_median == pytest.approx(reference.similarity_median, abs=0.06)
    assert all_of_them.confidence_mean == pytest.approx(reference.confidence_mean, abs=0.1)
    assert not report.alarming


def test_foreign_frames_alarm_once_the_first_window_is_full(ward):
    ward.answer(foreign(49))
    assert not ward.report().latest
    ward.answer(foreign(1))
    report = ward.report()
    (test,) = report.latest
    assert (test.window, test.compared, test.alarms) == (50, 50, True)
    assert report.alarming
    assert report.alarms == (test,)
    assert ward.metrics.alarms["similarity"] == 1
    ward.report()  # reading again tests nothing anew
    assert ward.metrics.alarms["similarity"] == 1


def test_an_erased_patient_leaves_the_reference(ward):
    before = ward.report().reference
    ward.catalog.erase_subject(ward.owner, "P-3")
    assert ward.report().reference.groups == before.groups - 1


def test_few_patients_are_shown_and_not_tested(ward):
    ward.answer(foreign(60), "small")
    report = ward.report("small")
    assert report.reference.groups == 12
    assert "12 groups," in report.not_tested_because
    assert report.latest == ()


def test_an_import_has_no_reference_and_is_counted(ward):
    document = export_document(ward.store.open(ward.owner, "triage"))
    ward.store.import_document(ward.owner, "copy", document, Author())
    ward.answer(usual(1000, 5), "copy")
    report = ward.report("copy")
    assert report.reference is None
    assert report.no_reference_because
    assert report.windows[-1].answers == 5
    assert report.windows[-1].similarity_median is not None


def test_what_is_counted_is_stored_by_an_orderly_end(ward):
    ward.answer(usual(1000, 3))
    ward.monitor.close()
    where = (ward.owner, ward.catalog.get_classifier(ward.owner, "triage").classifier_id, 1)
    (total,) = ward.catalog.usage(*where, "total")
    assert total.answers == 3


def test_a_deleted_classifier_is_no_longer_counted(ward):
    ward.answer(usual(1000, 3))
    ward.catalog.delete_classifier(ward.owner, "triage")
    ward.monitor.close()
    with pytest.raises(UnknownItem):
        ward.catalog.get_classifier(ward.owner, "triage")


def reported(n, right, **fields):
    actual = "ab"[(n + (not right)) % 2]
    shares = {"ab"[n % 2]: 0.9, "ba"[n % 2]: 0.1}
    values = {"abstained": False, "actual": (actual,), "patient": f"P-{n}"}
    return ReportedOutcome(f"prd_{n}", 1, shares, **(values | fields))


def test_outcomes_give_accuracy_and_calibration_in_use(ward):
    sent = [reported(n, n >= 20) for n in range(100)]
    assert ward.monitor.put_outcomes(ward.owner, "triage", sent) == (100, 0)
    assert ward.monitor.put_outcomes(ward.owner, "triage", sent[:10]) == (0, 10)
    found = ward.report().outcomes
    (head,) = found.labels
    assert (found.outcomes, found.with_patient, head.label) == (100, 100, None)
    assert head.figures.accuracy.value == pytest.approx(0.8)
    assert head.figures.overconfidence.value == pytest.approx(0.1)


def test_outcomes_of_one_class_alone_give_no_balanced_accuracy(ward):
    sent = [reported(2 * n, n >= 3) for n in range(40)]
    benign = [outcome for outcome in sent if outcome.actual == ("a",)]
    ward.monitor.put_outcomes(ward.owner, "triage", benign)
    (head,) = ward.report().outcomes.labels
    assert head.figures.accuracy.value == head.figures.recall["a"].value == 1.0
    assert head.figures.balanced_accuracy is None
    assert "0 groups of class 'b'" in head.figures.not_evaluated_because


def test_a_class_that_reached_its_threshold_counts_as_the_answer(ward):
    ward.monitor.put_outcomes(ward.owner, "triage", [reported(n, True) for n in range(100)])
    classifier = ward.catalog.get_classifier(ward.owner, "triage")
    loaded = ward.store.open(ward.owner, "triage")
    eager = replace(loaded.model.heads[None], thresholds={"b": 0.05})
    stored = ward.catalog.outcomes(ward.owner, classifier.classifier_id, 1)
    (head,) = outcomes_report(classifier.published, stored, {None: eager}).labels
    assert head.figures.recall["b"].value == 1.0
    assert head.figures.recall["a"].value == 0.0  # each has 0.1 of b, so b is called
    assert head.figures.accuracy.value == pytest.approx(0.5)


def test_a_label_that_the_service_did_not_call_counts_as_unanswered(ward):
    scans = [new_scan(n) for n in range(PATIENTS)]
    ward.catalog.create_collection(ward.owner, "findings", encoder_id="e", dim=DIM)
    ward.catalog.add_scans(ward.owner, "findings", scans, encoder_id="e")
    examples = ward.store.sources.of_tasks(ward.owner, "findings", {"task": "b"}, ScanFilter())
    ward.store.fit(ward.owner, "findings", examples, Author(), FitOptions(kind=MULTI))
    # Halfway between what has the label and what has not, and beyond either.
    between = [around([n % 2], [n])[0] + 0.8 * around([1 - n % 2], [n])[0] for n in range(100)]
    items = ward.answer(np.stack(between), "findings")
    sent = [
        ReportedOutcome(
            f"prd_{n}",
            1,
            {"task": item.prediction.outputs[0].probability},
            item.prediction.abstained is not None,
            ("task",) if n % 2 else (),
        )
        for n, item in enumerate(items)
    ]
    called = [item.prediction.outputs[0].called is not None for item in items]
    assert 0.1 < np.mean(called) < 0.9
    ward.monitor.put_outcomes(ward.owner, "findings", sent)
    (head,) = ward.report("findings").outcomes.labels
    assert head.figures.answered == pytest.approx(np.mean(called))


def test_outcomes_that_contradict_their_version_are_refused_as_a_whole(ward):
    for wrong in (
        reported(1, True, actual=("a", "b")),
        reported(1, True, actual=("c",)),
        ReportedOutcome("prd_1", 1, {"a": 1.0}, False, ("a",)),
    ):
        with pytest.raises(InputError):
            ward.monitor.put_outcomes(ward.owner, "triage", [reported(0, True), wrong])
    with pytest.raises(UnknownItem):
        ward.monitor.put_outcomes(
            ward.owner, "triage", [ReportedOutcome("p", 2, {}, False, ("a",))]
        )
    assert ward.report().outcomes.outcomes == 0


def test_a_patient_is_stored_as_a_digest_only(ward, tmp_path):
    ward.monitor.put_outcomes(
        ward.owner, "triage", [reported(1, True, patient="Miller-1950-unmistakable")]
    )
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"Miller-1950" not in stored
