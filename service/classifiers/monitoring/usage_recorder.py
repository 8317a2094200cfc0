"""Counts what versions answer, in memory, and stores the counts in groups.

A prediction waits for no disk. What is counted between two stores is lost when the process is
killed; a process that ends in order stores it first.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.catalog.interface import Catalog
from service.catalog.monitoring.monitoring_records import UsageWindows, summed
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.monitoring.tally import Tally, tally_of
from service.classifiers.prediction import PredictedItem
from service.errors import ServiceError, UnknownItem

log = logging.getLogger(__name__)
SLOT_S = 600
KEPT_SLOTS = 8 * 24 * 6  # a week and a day
MAX_VERSIONS = 500  # counted at once; of more, answers are not counted
WINDOWS_KEPT = 10  # of the longest


@dataclass(frozen=True, slots=True)
class VersionKey:
    """A version of a classifier of a workspace; ``name`` is that of the classifier now."""

    workspace_id: str
    classifier_id: str
    number: int
    name: str = field(compare=False, default="")


@dataclass
class _Open:
    """What is not stored yet of one version, and its outputs by name."""

    tally: Tally
    numbers: dict[str, int]


class UsageRecorder:
    """The counts of one process.

    Args:
        windows: which sums the catalog keeps.
        every_s: between two stores.
        on_block: called after a store that filled a block.
    """

    def __init__(
        self,
        catalog: Catalog,
        windows: UsageWindows,
        *,
        every_s: float,
        on_block: Callable[[VersionKey, int], None],
    ) -> None:
        self._catalog = catalog
        self._windows = windows
        self._every_s = every_s
        self._on_block = on_block
        self._open: dict[VersionKey, _Open] = {}
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Store from now on, until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """Store what is counted, and stop."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self.store()

    def record(
        self, workspace_id: str, loaded: LoadedClassifier, items: Sequence[PredictedItem]
    ) -> None:
        """Count answers. Takes some microseconds each, and never waits for a disk."""
        name, number = loaded.classifier.name, loaded.version.number
        key = VersionKey(workspace_id, loaded.classifier.classifier_id, number, name)
        with self._lock:
            opened = self._open.get(key)
            if opened is None:
                if len(self._open) >= MAX_VERSIONS:
                    return
                numbers = {label: n for n, label in enumerate(loaded.version.classes)}
                opened = self._open[key] = _Open(tally_of(loaded), numbers)
            for item in items:
                opened.tally.add(item, opened.numbers)

    def store(self) -> None:
        """Store what is counted by now. What the catalog refuses for the moment is kept."""
        with self._storing:
            with self._lock:
                going, self._open = self._open, {}
            for key, opened in going.items():
                self._store(key, opened)

    def _store(self, key: VersionKey, opened: _Open) -> None:
        try:
            block = self._catalog.add_usage(
                key.workspace_id,
                key.classifier_id,
                key.number,
                opened.tally.to_counts(),
                answers=opened.tally.answers,
                windows=self._windows,
            )
        except UnknownItem:
            return  # the classifier was deleted
        except ServiceError as error:
            log.error("use of a classifier not stored", extra={"code": error.code})
            self._keep(key, opened)
            return
        if block is not None:
            self._on_block(key, block)

    def _keep(self, key: VersionKey, opened: _Open) -> None:
        """Join the counts with those that came meanwhile."""
        with self._lock:
            newer = self._open.get(key)
            if newer is not None:
                both = summed(opened.tally.to_counts(), newer.tally.to_counts())
                tally = opened.tally
                opened.tally = Tally.of_counts(both, len(tally.called), len(tally.in_stratum))
            self._open[key] = opened

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            try:
                self.store()
            except Exception as error:
                # One fault must not end all counting; the text may name what is stored.
                log.error("use of classifiers not stored", extra={"kind": type(error).__name__})
