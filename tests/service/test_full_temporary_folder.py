"""Uploads that do not fit on the disk are refused by name, and store nothing.

The system's limit on the size of a file stands for the full disk: writes past it fail alike.
"""

import resource
import sys

import httpx
import pytest

from tests.imaging.costly_files import chunk, png
from tests.service.test_stopping import running

LONG = png(64, 64, before=chunk(b"tEXt", b"x\0" + b"y" * 3_000_000))  # longer than stays in memory


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_a_full_temporary_folder_is_503_and_uploads_go_on_when_there_is_room(tmp_path) -> None:
    with running(tmp_path, ["-m", "service", "serve"]) as (process, client):
        client.create_collection("c")
        assert client.add_scans("c", [LONG])["items"][0]["created"]
        hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_200_000, hard))
        other = png(64, 65, before=LONG[33:-100])
        for path in ("/v1/embeddings", "/v1/collections/c/scans"):
            answer = client._http.post(
                path, files=[("files", ("a", other)), ("files", ("b", LONG))]
            )
            assert (answer.status_code, answer.json()["code"]) == (503, "temporary_folder_failure")
            assert answer.headers["retry-after"] == "1"
        assert client.collection("c")["scans"] == 1
        assert httpx.get(f"{client._http.base_url}/health/live").status_code == 200
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert not client.add_scans("c", [LONG])["items"][0]["created"]
