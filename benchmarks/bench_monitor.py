"""What monitoring adds to one prediction: processor time of the thread that predicts.

A classifier of 2,000 examples and 1,024 numbers answers one still. ``similarity`` is the mean of
the nearest examples from cosines that the prediction has anyway, ``record`` the counting.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import argument_parser, print_report
from threadpoolctl import threadpool_limits

from service.catalog.records import Author
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.examples import Example, Examples
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.monitoring.classifier_monitor import ClassifierMonitor
from service.classifiers.prediction import (
    Acquisition,
    PredictionQuery,
    PredictionRequest,
    predict,
)
from service.classifiers.store import ClassifierStore
from service.fewshot.drift.drift_reference import mean_of_nearest
from service.fewshot.head import cosines, unit_rows
from service.observability import ServiceMetrics

EXAMPLES, DIM = 2000, 1024
CLASSES = ("benign", "malignant", "normal")


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        catalog = open_catalog(Path(folder))
        owner = catalog.ensure_workspace("bench").workspace_id
        store = ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)
        store.fit(owner, "c", drawn_examples(), Author())
        loaded = store.open(owner, "c")
        evaluator = ClassifierEvaluator(catalog, store)
        monitor = ClassifierMonitor(catalog, store, evaluator, ServiceMetrics(), None, 3600)
        print_report(measured(owner, loaded, monitor, arguments.rounds), arguments)
        monitor.close()
        catalog.close()


def measured(
    owner: str, loaded: LoadedClassifier, monitor: ClassifierMonitor, rounds: int
) -> dict[str, float]:
    """Medians in milliseconds."""
    embedding_D = loaded.support.unit_ND[0] + np.float32(0.01)
    acquisition = Acquisition("Maker Model", 800, 600)
    query = PredictionQuery(embedding_D, findings=frozenset({"tiny"}), acquisition=acquisition)
    request = PredictionRequest(0.9, 0)
    answers = predict(loaded, [query], request).answers
    cosines_NS = cosines(unit_rows(embedding_D[None]), loaded.support.unit_ND)
    predict_ms = milliseconds(lambda: predict(loaded, [query], request), rounds)
    similarity_ms = milliseconds(lambda: mean_of_nearest(cosines_NS), rounds)
    record_ms = milliseconds(lambda: monitor.record(owner, loaded, answers), rounds)
    return {
        "predict_ms": predict_ms,
        "similarity_ms": similarity_ms,
        "record_ms": record_ms,
        "added_ms": round(similarity_ms + record_ms, 4),
    }


def drawn_examples() -> Examples:
    """Each of its own patient, around the centres of three classes."""
    rng = np.random.default_rng(0)
    centres_CD = rng.standard_normal((len(CLASSES), DIM))
    rows_ND = centres_CD[np.arange(EXAMPLES) % len(CLASSES)] + 3 * rng.standard_normal(
        (EXAMPLES, DIM)
    )
    unit_ND = unit_rows(rows_ND).astype(np.float32)
    return Examples.of(
        Example(unit_ND[n], CLASSES[n % len(CLASSES)], f"p{n}", f"{n}", None, f"p{n}", None)
        for n in range(EXAMPLES)
    )


def milliseconds(call: Callable[[], object], rounds: int) -> float:
    """Median processor time of one call in this thread."""
    times_s = []
    for _ in range(rounds):
        start_s = time.thread_time()
        call()
        times_s.append(time.thread_time() - start_s)
    return round(1000 * float(np.median(times_s)), 4)


if __name__ == "__main__":
    main()
