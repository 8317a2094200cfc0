"""A disk that is full: what was acknowledged stays, and writing goes on when there is room again.

The system's limit on the size of a file stands for the full disk: writes past it fail alike.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).parents[2]
PROGRAM = """
import hashlib, resource, sys
from pathlib import Path
import numpy as np
from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import CatalogFailure

folder = Path(sys.argv[1])
catalog = open_catalog(folder)
owner = catalog.ensure_workspace("ours").workspace_id
catalog.create_collection(owner, "g", encoder_id="e", dim=8)

def add(n):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "frame", "png", 1, 1, digest)
    scan = NewScan(f"s{n}", image, np.ones(8, np.float32), b"thumbnail" * 400)
    catalog.add_scans(owner, "g", [scan], encoder_id="e")

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
acknowledged, refused = [], []
for n in range(400):
    try:
        add(n)
        acknowledged.append(f"s{n}")
    except CatalogFailure as error:
        refused.append(str(error))
        if len(refused) == 5:
            break
assert refused, "the disk was never full"
assert 10 < len(acknowledged) < 400, len(acknowledged)

def there(catalog):
    page = catalog.list_scans(owner, "g", where=ScanFilter(), limit=1000)
    return [scan.scan_id for scan in page.items]

assert there(catalog) == acknowledged  # reading goes on
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
add(1000)
acknowledged.append("s1000")
catalog.close()
again = open_catalog(folder)
assert there(again) == acknowledged
assert all(again.thumbnail(owner, "g", scan_id) for scan_id in acknowledged)
again.close()
print(sorted(set(refused)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
def test_a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_recovers(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "the catalog failed with SQLITE_" in done.stdout
