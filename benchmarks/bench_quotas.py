"""What limits and policies cost a request and a write, beside the same without them, in one run.

A request: looking up its key, then the policy, the rates, and the context of the request. A write:
storing one scan with its fsync, on the wall's clock. Rounds alternate, and the figures are medians
of rounds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import argument_parser, print_report

from service.access.failed_keys import FailedKeys
from service.access.keys import KeyRing, create_key
from service.access.workspace_rules import WorkspaceRules, policy_store, workspace_rules
from service.catalog.policies.policy_records import UnfitRules
from service.catalog.policies.storage_rules import NoRules
from service.catalog.records import NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.settings import Settings

ROUNDS, REQUESTS, WRITES, DIM, SCANS = 9, 1000, 30, 1024, 20_000
RATES = {"requests_per_minute": 1e9, "images_per_minute": 1e9, "decode_s_per_minute": 1e9}
STORED = {"stored_bytes": 1e15, "scans": 1e9}


def each_us(
    act: Callable[[], object], times: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Microseconds of one call; of the processor, which other programs do not lengthen."""
    start_s = clock()
    for _ in range(times):
        act()
    return 1e6 * (clock() - start_s) / times


def request_of(rules: WorkspaceRules, ring: KeyRing, token: str) -> Callable[[], None]:
    """What a request does before its body is read."""

    def run() -> None:
        caller = ring.caller(token, "")
        with rules.holding(caller, rules.of(caller)):
            pass

    return run


class Writer:
    """Stores one new scan with each call."""

    def __init__(self, catalog: SqliteCatalog, workspace_id: str) -> None:
        self._catalog = catalog
        self._workspace_id = workspace_id
        self._n = 0
        self._rng = np.random.default_rng(1)

    def __call__(self) -> None:
        """Store it."""
        self._n += 1
        digest = f"{self._n:064x}"
        vector = self._rng.standard_normal(DIM).astype(np.float32)
        analysis = {"burned_in_risk": "none", "regions": [{"box": [0, 0, 9, 9], "found": "pixels"}]}
        image = ScanImage(digest, "image", "png", 640, 480, digest, analysis=analysis)
        scan = NewScan(None, image, vector, b"jpeg" * 1000, subject_id=f"p{self._n}")
        self._catalog.add_scans(self._workspace_id, "c", [scan], encoder_id="e")


def measure(folder: Path) -> dict[str, float]:
    """Figure -> microseconds, and the seconds of a count."""
    catalog = open_catalog(folder)
    workspace_id = catalog.ensure_workspace("default").workspace_id
    catalog.create_collection(workspace_id, "c", encoder_id="e", dim=DIM)
    _, token = create_key(catalog, "bench", "default")
    ring = KeyRing(catalog, workspace_id, require_key=True, failed=FailedKeys(0, 1))
    limited = Settings(data_dir=folder, key_limits=RATES, workspace_limits=RATES | STORED)
    free = workspace_rules(catalog, Settings(data_dir=folder))
    held = workspace_rules(catalog, limited)
    policy_store(catalog, limited).replace(
        workspace_id, {"intake": {"refuse_burned_in": "high"}}, if_version=None
    )
    acts: dict[str, Callable[[], object]] = {
        "key_alone": lambda: ring.caller(token, ""),
        "unlimited": request_of(free, ring, token),
        "limited": request_of(held, ring, token),
    }
    write = Writer(catalog, workspace_id)
    found: dict[str, list[float]] = {name: [] for name in (*acts, "write", "write_held")}
    for _ in range(ROUNDS):
        for name, act in acts.items():
            found[name].append(each_us(act, REQUESTS))
        catalog.obey(NoRules())
        found["write"].append(each_us(write, WRITES, time.perf_counter))
        catalog.obey(held)
        found["write_held"].append(each_us(write, WRITES, time.perf_counter))
    us = {f"{name}_us": statistics.median(values) for name, values in found.items()}
    us |= counted(catalog, workspace_id)
    catalog.close()
    return us


def counted(catalog: SqliteCatalog, workspace_id: str) -> dict[str, float]:
    """Counting the scans that break a changed policy, among many."""
    vector = np.ones(DIM, np.float32)
    for start in range(0, SCANS, 5000):
        scans = []
        for n in range(start, start + 5000):
            analysis = {"burned_in_risk": "none", "regions": [], "masked_px": n, "quality": []}
            digest = f"x{n:063x}"
            image = ScanImage(digest, "image", "png", 640, 480, digest, analysis=analysis)
            scans.append(NewScan(None, image, vector, b"", subject_id=f"q{n}"))
        catalog.add_scans(workspace_id, "c", scans, encoder_id="e")
    rules = UnfitRules(("p-000000-", "s-000000-"), ("high",), whole_frames=True)
    start_s = time.perf_counter()
    catalog.unfit_scans(workspace_id, rules)
    unfit_s = time.perf_counter() - start_s
    usage_us = each_us(lambda: catalog.stored_usage(workspace_id), REQUESTS)
    return {f"unfit_of_{SCANS}_scans_s": unfit_s, "usage_us": usage_us}


def main() -> None:
    """Measure and report."""
    arguments = argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        us = measure(Path(folder))
    report = {name: round(value, 3) for name, value in us.items()} | {
        "added_to_a_request_ms": round((us["limited_us"] - us["key_alone_us"]) / 1000, 4),
        "request_ratio": round(us["limited_us"] / us["key_alone_us"], 3),
        "write_ratio": round(us["write_held_us"] / us["write_us"], 3),
    }
    print_report(report, arguments)


if __name__ == "__main__":
    main()
