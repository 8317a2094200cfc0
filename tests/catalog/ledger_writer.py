"""Writes erasures beside backups, in a process of its own that imports nothing else."""

from pathlib import Path

from service.catalog.erasure_ledger import ErasureLedger, new_erasure


def append_erasures(folder: Path, owner: str, count: int) -> None:
    ledger = ErasureLedger(folder)
    for n in range(count):
        assert ledger.note([new_erasure("subject", owner, f"{n:064d}")] * (1 + n % 3))
