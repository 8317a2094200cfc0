"""Tiny unpacked sets, manifest rows with files, and a local server."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from local_site import Site, SiteHandler
from speckle_frames import png

from training.catalogue.manifest import ManifestRow


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, bytes | int | str]], Path]:
    """Write files below a folder; a number becomes the speckle frame of that seed."""

    def write(files: dict[str, bytes | int | str]) -> Path:
        root = tmp_path / "set"
        for name, content in files.items():
            data = png(content) if isinstance(content, int) else content
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return root

    return write


@pytest.fixture
def row(tmp_path: Path) -> Callable[..., ManifestRow]:
    """A manifest row whose file holds the speckle frame of a seed."""

    def make(seed: int, name: str, **fields: object) -> ManifestRow:
        path = tmp_path / f"{name}.png"
        path.write_bytes(png(seed))
        facts: dict[str, object] = {
            "use": "corpus",
            "dataset": "ours",
            "label": "",
            "group": f"ours/{name}",
            "split": "",
            "licence": "CC BY 4.0",
            "label_conflict": False,
            "sha256": hashlib.sha256(png(seed)).hexdigest(),
        }
        return ManifestRow(path=path, **(facts | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on this machine that honours Range."""
    served = Site()
    handler = type("Handler", (SiteHandler,), {"site": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
