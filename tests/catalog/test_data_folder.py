"""One service per data folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.catalog.data_folder import owned
from service.errors import CatalogFailure, FolderInUse

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from service.catalog.data_folder import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_with_what_to_do_until_the_first_is_gone(tmp_path):
    with owned(tmp_path / "data"):
        with (
            pytest.raises(FolderInUse, match="stop it first, or set SONOPROBE_DATA_DIR"),
            owned(tmp_path / "data"),
        ):
            pass
        with owned(tmp_path / "other"):
            pass
    with owned(tmp_path / "data"):
        pass


def test_another_process_is_refused_and_a_killed_one_gives_the_folder_back(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse), owned(tmp_path):
            pass
        holder.kill()
    with owned(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_catalog_failure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogFailure, match="cannot be made"), owned(tmp_path / "file" / "data"):
        pass
