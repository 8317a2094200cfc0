"""SQLite and PostgreSQL give the same answers and the same errors to the same random calls."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from service.catalog.interface import Catalog
from service.catalog.sqlite.sqlite_catalog import open_catalog
from tests.catalog.agreement.both_engines import BothEngines
from tests.catalog.agreement.work_calls import WorkCalls
from tests.catalog.places import PostgresPlace

pytestmark = pytest.mark.postgres
SHORT = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    phases=[Phase.generate],  # to shrink a failure takes minutes: the long run does
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    SHORT,
    max_examples=1500,
    stateful_step_count=60,
    derandomize=False,
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture
def machine(postgres_database: PostgresPlace) -> Any:
    """A state machine whose runs each begin with two empty catalogs."""
    shared = postgres_database.open()

    class Machine(WorkCalls):
        def start(self) -> BothEngines:
            postgres_database.empty()
            self.folder = Path(tempfile.mkdtemp(prefix="sp-agree-"))
            self.embedded: Catalog = open_catalog(self.folder)
            return BothEngines(self.embedded, shared)

        def teardown(self) -> None:
            if hasattr(self, "embedded"):
                self.embedded.close()
                shutil.rmtree(self.folder)

    yield Machine
    shared.close()
    postgres_database.empty()


def test_engines_agree(machine: Any) -> None:
    run_state_machine_as_test(machine, settings=SHORT)


@pytest.mark.slow
def test_engines_agree_for_long(machine: Any) -> None:
    run_state_machine_as_test(machine, settings=LONG)
