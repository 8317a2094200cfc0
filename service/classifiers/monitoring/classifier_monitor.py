"""The classifiers in use: counts of answers, tests against the reference, outcomes. Blocking."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from service.catalog.interface import Catalog
from service.catalog.monitoring.monitoring_records import Counts, UsageRow, UsageWindows, summed
from service.catalog.records import Classifier, ClassifierVersion
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.monitoring.monitor_records import (
    FigureTest,
    MonitorReport,
    UsageFigures,
    WindowName,
    WindowTest,
)
from service.classifiers.monitoring.outcome_reports import (
    ReportedOutcome,
    checked_outcome,
    outcomes_report,
)
from service.classifiers.monitoring.tally import Tally, median_of, tally_of
from service.classifiers.monitoring.usage_recorder import (
    KEPT_SLOTS,
    SLOT_S,
    UsageRecorder,
    VersionKey,
)
from service.classifiers.monitoring.version_reference import VersionReference, version_reference
from service.classifiers.prediction import PredictedItem, UltrasoundGate
from service.classifiers.store import ClassifierStore
from service.errors import NotEnoughExamples, ServiceError
from service.fewshot.drift.drift_alarms import WINDOWS, DriftTest, false_alarm_share
from service.fewshot.drift.drift_reference import FIGURES

log = logging.getLogger(__name__)
BLOCK = WINDOWS[0]
USAGE_WINDOWS = UsageWindows(SLOT_S, KEPT_SLOTS, BLOCK, kept_blocks=200)
MIN_COMPARED_SHARE = 0.5  # of a window; a test of fewer would not be of the window
MAX_OUTCOMES = 20_000  # of a version; the oldest go
MAX_ALARMS = 50  # that a report lists
MAX_REFERENCES = 64  # in memory
SPANS_S: Mapping[WindowName, int] = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}


class MonitorMetrics(Protocol):
    """What the monitor tells the metrics."""

    def answered(self, outcome: str) -> None:
        """Count an answer: ``called`` or the reason of an abstention."""

    def alarmed(self, figure: str) -> None:
        """Count an alarm. Of all processes only the one calls it that filled the window."""


class ClassifierMonitor:
    """Watches all versions of one catalog that predict, until ``close``.

    Args:
        gate: tells ultrasound from other pictures; None = the encoder has none.
        store_every_s: between two stores of what was counted.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: ClassifierStore,
        evaluator: ClassifierEvaluator,
        metrics: MonitorMetrics,
        gate: UltrasoundGate | None,
        store_every_s: float,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._evaluator = evaluator
        self._gate = gate
        self._metrics = metrics
        self._references: OrderedDict[VersionKey, VersionReference | str] = OrderedDict()
        self._forgettings: dict[VersionKey, int] = {}
        self._lock = threading.Lock()
        self._recorder = UsageRecorder(
            catalog, USAGE_WINDOWS, every_s=store_every_s, on_block=self._on_block
        )
        self._recorder.start()

    def close(self) -> None:
        """Store what is counted, and stop."""
        self._recorder.close()

    def record(
        self, workspace_id: str, loaded: LoadedClassifier, items: Sequence[PredictedItem]
    ) -> None:
        """Count answers of a version; fast."""
        self._recorder.record(workspace_id, loaded, items)
        for item in items:
            abstained = item.prediction.abstained
            self._metrics.answered("called" if abstained is None else abstained.because)

    def put_outcomes(
        self, workspace_id: str, name: str, reported: Sequence[ReportedOutcome]
    ) -> tuple[int, int]:
        """Store what turned out to be true; return how many are new and how many were replaced.

        Raises:
            UnknownItem: no such classifier or version.
            InputError: as ``checked_outcome``.
        """
        classifier = self._catalog.get_classifier(workspace_id, name)
        by_version: dict[int, list[ReportedOutcome]] = {}
        for outcome in reported:
            by_version.setdefault(outcome.number, []).append(outcome)
        # All are checked before the first is stored.
        checked = {}
        for number, outcomes in by_version.items():
            version = self._catalog.get_version(workspace_id, name, number)
            checked[number] = [checked_outcome(workspace_id, version, o) for o in outcomes]
        put = self._catalog.put_outcomes
        added = sum(
            put(workspace_id, classifier.classifier_id, number, outcomes, keep=MAX_OUTCOMES)
            for number, outcomes in checked.items()
        )
        return added, len(reported) - added

    def report(
        self, workspace_id: str, classifier: Classifier, version: ClassifierVersion
    ) -> MonitorReport:
        """A version in use, with what this process has counted by now."""
        self._recorder.store()
        loaded = self._store.open(workspace_id, classifier.name, version.number)
        key = VersionKey(workspace_id, classifier.classifier_id, version.number, classifier.name)
        reference = self._reference(key, loaded)
        windows = tuple(self._windows(key, loaded))
        outcomes = outcomes_report(
            version,
            self._catalog.outcomes(workspace_id, classifier.classifier_id, version.number),
            loaded.model.heads,
        )
        if isinstance(reference, str):
            return MonitorReport(windows, None, reference, reference, (), (), outcomes)
        tests = list(self._tests(key, loaded, reference))
        latest = {test.window: test for test in tests}  # the last one of each length stays
        alarms = sorted((t for t in tests if t.alarms), key=lambda t: t.ended_at, reverse=True)
        return MonitorReport(
            windows,
            reference.figures,
            None,
            reference.not_tested_because,
            tuple(latest[window] for window in WINDOWS if window in latest),
            tuple(alarms[:MAX_ALARMS]),
            outcomes,
        )

    # windows of time ------------------------------------------------------------------------

    def _windows(self, key: VersionKey, loaded: LoadedClassifier) -> Iterator[UsageFigures]:
        where = (key.workspace_id, key.classifier_id, key.number)
        now_s = time.time()
        first = int((now_s - SPANS_S["week"]) // SLOT_S) + 1
        slots = self._catalog.usage(*where, "slot", since=first)
        for window, span_s in SPANS_S.items():
            since = int((now_s - span_s) // SLOT_S) + 1
            yield usage_figures(window, [s for s in slots if s.number >= since], loaded)
        yield usage_figures("all", self._catalog.usage(*where, "total"), loaded)

    # tests ------------------------------------------------------------------------------------

    def _tests(
        self,
        key: VersionKey,
        loaded: LoadedClassifier,
        reference: VersionReference,
        *,
        last_block: int | None = None,
    ) -> Iterator[WindowTest]:
        """Of all full windows that are kept; or only of those that end with one block."""
        if reference.not_tested_because is not None:
            return
        since = 0 if last_block is None else max(0, last_block + 1 - WINDOWS[-1] // BLOCK)
        where = (key.workspace_id, key.classifier_id, key.number)
        blocks = {row.number: row for row in self._catalog.usage(*where, "block", since=since)}
        for window in WINDOWS:
            count = window // BLOCK
            for number in sorted(blocks):
                if (number + 1) % count or (last_block is not None and number != last_block):
                    continue
                rows = [blocks.get(n) for n in range(number + 1 - count, number + 1)]
                full = [row for row in rows if row is not None and row.answers >= BLOCK]
                if len(full) == count:
                    yield from _tested(window, full, loaded, reference)

    def _on_block(self, key: VersionKey, block: int) -> None:
        """Test the windows that end with a block, and tell of alarms."""
        try:
            loaded = self._store.open(key.workspace_id, key.name, key.number)
            reference = self._reference(key, loaded)
            if isinstance(reference, str):
                return
            tests = list(self._tests(key, loaded, reference, last_block=block))
        except ServiceError as error:  # such as a classifier that was deleted meanwhile
            log.error("use of a classifier not tested", extra={"code": error.code})
            return
        for test in tests:
            for figure in test.figures:
                if figure.alarms:
                    self._metrics.alarmed(figure.figure)
                    log.warning(
                        "a classifier differs from its reference",
                        extra={
                            "classifier_id": key.classifier_id,
                            "version": key.number,
                            "figure": figure.figure,
                            "window": test.window,
                        },
                    )

    def _reference(self, key: VersionKey, loaded: LoadedClassifier) -> VersionReference | str:
        """The reference of a version, or why there is none."""
        forgettings = loaded.classifier.forgettings
        with self._lock:
            known = self._references.get(key)
            if known is not None and self._forgettings.get(key) == forgettings:
                self._references.move_to_end(key)
                return known
        where = (key.workspace_id, loaded.classifier.name, key.number)
        reference: VersionReference | str
        try:
            examples, scores = self._evaluator.out_of_fold(*where)
            reference = version_reference(loaded, examples, scores, self._gate)
        except NotEnoughExamples as error:
            reference = str(error)
        with self._lock:
            self._references[key] = reference
            self._forgettings[key] = forgettings
            while len(self._references) > MAX_REFERENCES:
                oldest, _ = self._references.popitem(last=False)
                del self._forgettings[oldest]
        return reference


def _tested(
    window: int, rows: Sequence[UsageRow], loaded: LoadedClassifier, reference: VersionReference
) -> Iterator[WindowTest]:
    """The test of one full window; none if too few of its answers can be compared.

    That are neither those of blank or frozen pictures nor those of classes of few examples.
    """
    counts_T, sums_TF = _summed(rows, loaded).in_strata()
    compared = int(reference.drift.tested(counts_T).sum())
    if compared < MIN_COMPARED_SHARE * window:
        return
    share = false_alarm_share(window)
    deviation_F = reference.drift.deviation(counts_T, sums_TF)
    test = DriftTest(compared, deviation_F, reference.limits(counts_T, share))
    alarms = test.alarms
    figures = tuple(
        FigureTest(name, float(deviation), float(limit), name in alarms)
        for name, deviation, limit in zip(FIGURES, test.deviation_F, test.limit_F, strict=True)
    )
    started_at = min(row.started_at for row in rows)
    ended_at = max(row.ended_at for row in rows)
    yield WindowTest(window, started_at, ended_at, compared, share, figures)


def _summed(rows: Sequence[UsageRow], loaded: LoadedClassifier) -> Tally:
    counts: Counts = {}
    for row in rows:
        counts = summed(counts, row.counts)
    empty = tally_of(loaded)
    return Tally.of_counts(counts, len(empty.called), len(empty.in_stratum))


def usage_figures(
    window: WindowName, rows: Sequence[UsageRow], loaded: LoadedClassifier
) -> UsageFigures:
    """The figures of the answers in some rows."""
    tally, names = _summed(rows, loaded), loaded.version.classes
    similarity = median_of(tally.similarity)
    abstained = sum(tally.abstained.values())
    _, sums_TF = tally.in_strata()
    confident = float(sums_TF[:, FIGURES.index("confidence")].sum())
    return UsageFigures(
        window=window,
        started_at=min((row.started_at for row in rows), default=None),
        ended_at=max((row.ended_at for row in rows), default=None),
        answers=tally.answers,
        compared=tally.compared,
        abstained=dict(tally.abstained),
        abstained_share=abstained / tally.answers if tally.answers else None,
        called=dict(zip(names, tally.called, strict=True)),
        most_probable={
            name: count / tally.answers if tally.answers else 0.0
            for name, count in zip(names, tally.most_probable, strict=True)
        },
        similarity_median=None if similarity is None else 1 - similarity,
        distance_median=median_of(tally.distance),
        confidence_mean=confident / tally.compared if tally.compared else None,
        findings=dict(tally.findings),
        machines=dict(tally.machines),
        sizes=dict(tally.sizes),
    )
