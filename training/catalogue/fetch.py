"""Download and verify the files of a data set from open direct links.

A download that was cut goes on where it stopped (RFC 9110 Range and If-Range). Beside the files
lies ``SOURCE.json``: where from, when, under which licence, how long, and the SHA-256.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import httpx

from service.errors import InputError
from training.catalogue.entries import Dataset

ProgressCallback: TypeAlias = Callable[[str, int, int], None]
RECORD_APIS = {
    "zenodo": "https://zenodo.org/api/records/{}",
    "figshare": "https://api.figshare.com/v2/articles/{}/files?page_size=1000",
}
SOURCE_NAME = "SOURCE.json"
TIMEOUT_S = 60.0
_DIGESTS = ("sha256", "md5")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file to download.

    Attributes:
        name: to write it under, a plain file name.
        checksum: ``sha256:...`` or ``md5:...`` as the publisher gives it, or empty.
        size_bytes: as the publisher gives it, 0 when not known.
    """

    name: str
    url: str
    checksum: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to give up; a slow but moving download is never given up.

    Attributes:
        attempts: in a row without one new byte.
        pause_s: before the second of them, and so much longer before each further one.
    """

    attempts: int = 5
    pause_s: float = 2.0


def open_client() -> httpx.Client:
    """A client that follows redirects and asks for bytes as they are, uncompressed."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "sonoprobe-datasets"}
    return httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, headers=headers)


def fetch(
    dataset: Dataset,
    folder: Path,
    client: httpx.Client,
    *,
    accept_licence: bool = False,
    progress: ProgressCallback = lambda name, done, total: None,
    apis: Mapping[str, str] = RECORD_APIS,
    retry_policy: RetryPolicy = RetryPolicy(),
) -> list[Path]:
    """Download all files of a set into ``folder`` and write ``SOURCE.json``; the files' paths.

    Files that ``SOURCE.json`` already records and that are unchanged are not fetched again.

    Args:
        accept_licence: a person read and accepted the terms; needed for tiers C and D.
        progress: called with file name, bytes so far and total bytes (0 = not known).

    Raises:
        InputError: no direct link; terms not accepted; the server refuses; the connection
            breaks for good; or length or checksum differ from what is published.
    """
    if not dataset.open_direct:
        raise InputError(f"{dataset.name} has no open direct link; see `datasets show`")
    if dataset.needs_acceptance and not accept_licence:
        licence = dataset.licence or "none stated"
        raise InputError(
            f"{dataset.name} has no clear licence ({licence}): read the terms at "
            f"{dataset.url or 'its source'} and pass --accept-licence"
        )
    folder.mkdir(parents=True, exist_ok=True)
    known = _recorded(folder)
    entries: list[dict[str, Any]] = []
    for remote in list_files(dataset, client, apis):
        entry = known.get(remote.name)
        if entry is None or not _unchanged(entry, remote, folder):
            entry = _record(remote, *download(remote, folder, client, progress, retry_policy))
        entries.append(entry)
        _write_source(dataset, folder, entries, accepted=accept_licence)
    return [folder / str(entry["name"]) for entry in entries]


def list_files(
    dataset: Dataset, client: httpx.Client, apis: Mapping[str, str] = RECORD_APIS
) -> list[RemoteFile]:
    """The direct links of a set, and the files that its open record lists.

    Raises:
        InputError: the record cannot be read, or lists no open file; or a link has no name.
    """
    files = [
        RemoteFile(
            _plain_name(unquote(urlsplit(item.url).path)),
            item.url,
            f"sha256:{item.sha256}" if item.sha256 else "",
        )
        for item in dataset.downloads
    ]
    if dataset.record:
        host, _, number = dataset.record.partition(":")
        answer = _get_json(apis[host].format(number), client)
        try:
            files += _READERS[host](answer)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{dataset.record}: the answer of {host} is not understood") from error
    if not files:
        raise InputError(f"{dataset.record} lists no open file; see {dataset.url}")
    return files


def download(
    remote: RemoteFile,
    folder: Path,
    client: httpx.Client,
    progress: ProgressCallback,
    retry_policy: RetryPolicy,
) -> tuple[Path, str]:
    """Download one file by way of ``NAME.partial``; its path and SHA-256.

    A file that does not match its checksum is kept as ``NAME.mismatch`` for inspection.

    Raises:
        InputError: the server refuses, the connection breaks for good, or the bytes differ.
    """
    partial = folder / f"{remote.name}.partial"
    idle = 0
    while True:
        before = _size(partial)
        try:
            total = _attempt(remote, partial, client, progress)
            break
        except httpx.TransportError as error:
            idle = 0 if _size(partial) > before else idle + 1
            if idle >= retry_policy.attempts:
                raise InputError(
                    f"{remote.name}: the connection broke after {_size(partial)} bytes "
                    f"({type(error).__name__}); run the command again to go on"
                ) from error
            time.sleep(idle * retry_policy.pause_s)
    expected_bytes = remote.size_bytes or total
    if expected_bytes and _size(partial) != expected_bytes:
        raise _mismatch(partial, remote, f"{expected_bytes} bytes", f"{_size(partial)} bytes")
    kind, _, expected = remote.checksum.partition(":")
    if expected and (got := _digest(partial, kind)) != expected.lower():
        raise _mismatch(partial, remote, f"{kind} {expected}", got)
    sha256 = expected.lower() if kind == "sha256" else _digest(partial, "sha256")
    _tag(partial).unlink(missing_ok=True)
    return partial.replace(folder / remote.name), sha256


def _attempt(
    remote: RemoteFile, partial: Path, client: httpx.Client, progress: ProgressCallback
) -> int:
    """One request; appends to the partial file. Total bytes, 0 when the server does not say."""
    have = _size(partial)
    headers = _resume_headers(partial) if have else {}
    with client.stream("GET", remote.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return have  # all bytes are here already
            partial.unlink()  # of another version: start again
            return _attempt(remote, partial, client, progress)
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise InputError(f"{remote.name}: the server answered {response.status_code}")
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        start = f"bytes {have}-"
        if resumed and not response.headers.get("Content-Range", "").startswith(start):
            raise InputError(f"{remote.name}: expected {start}, the server sent another range")
        if not resumed:
            have = 0
            _tag(partial).write_text(response.headers.get("ETag", ""), encoding="utf-8")
        length = int(response.headers.get("Content-Length") or 0)
        total = have + length if length else 0
        with partial.open("ab" if resumed else "wb") as sink:
            for chunk in response.iter_raw():  # larger chunks would be lost when it is cut
                sink.write(chunk)
                have += len(chunk)
                progress(remote.name, have, total)
    return total


def _resume_headers(partial: Path) -> dict[str, str]:
    """Ask for the rest, but only of the same version of the file where the server names one."""
    headers = {"Range": f"bytes={_size(partial)}-"}
    tag = _tag(partial).read_text(encoding="utf-8") if _tag(partial).exists() else ""
    if tag.startswith('"'):  # a weak tag (W/"...") may not be used for ranges
        headers["If-Range"] = tag
    return headers


def _tag(partial: Path) -> Path:
    return partial.with_name(partial.name + ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mismatch(partial: Path, remote: RemoteFile, expected: str, got: str) -> InputError:
    aside = partial.replace(partial.with_name(f"{remote.name}.mismatch"))
    _tag(partial).unlink(missing_ok=True)
    return InputError(f"{remote.name}: expected {expected}, got {got}; kept as {aside.name}")


def _digest(path: Path, kind: str) -> str:
    if kind not in _DIGESTS:
        raise InputError(f"expected a sha256 or md5 checksum, got {kind!r}")
    digest = hashlib.new(kind, usedforsecurity=kind == "sha256")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def _get_json(url: str, client: httpx.Client) -> Any:
    try:
        response = client.get(url)
        response.raise_for_status()
        return response.json()
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise InputError(f"the record at {url} cannot be read: {error}") from error


def _zenodo_files(answer: Any) -> list[RemoteFile]:
    """Of one record: developers.zenodo.org, "Records"."""
    items = answer.get("files", ())
    return [
        RemoteFile(_plain_name(f["key"]), f["links"]["self"], f["checksum"], int(f["size"]))
        for f in items
    ]


def _figshare_files(answer: Any) -> list[RemoteFile]:
    """Of one article: docs.figshare.com, "List article files"; links elsewhere are left out."""
    return [
        RemoteFile(
            _plain_name(item["name"]),
            item["download_url"],
            f"md5:{item['computed_md5']}" if item.get("computed_md5") else "",
            int(item["size"]),
        )
        for item in answer
        if not item.get("is_link_only")
    ]


_READERS = {"zenodo": _zenodo_files, "figshare": _figshare_files}


def _plain_name(path: str) -> str:
    """The last part of a path, so that a server cannot choose where its file lands."""
    name = PurePosixPath(path.replace("\\", "/")).name
    if name in ("", ".", "..", SOURCE_NAME):
        raise InputError(f"expected the name of a file, got {path!r}")
    return name


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Files of an earlier ``SOURCE.json`` by name; none when it is absent or damaged."""
    try:
        source = json.loads((folder / SOURCE_NAME).read_text(encoding="utf-8"))
        return {entry["name"]: entry for entry in source["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _unchanged(entry: Mapping[str, Any], remote: RemoteFile, folder: Path) -> bool:
    path = folder / remote.name
    return (
        entry.get("url") == remote.url
        and path.exists()
        and _digest(path, "sha256") == entry.get("sha256")
    )


def _record(remote: RemoteFile, path: Path, sha256: str) -> dict[str, Any]:
    return {
        "name": remote.name,
        "url": remote.url,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "verified_against": remote.checksum.partition(":")[0],
    }


def _write_source(
    dataset: Dataset, folder: Path, files: Sequence[Mapping[str, Any]], *, accepted: bool
) -> None:
    facts = {
        "dataset": dataset.name,
        "title": dataset.title,
        "licence": dataset.licence,
        "tier": dataset.tier,
        "terms_accepted_by_flag": accepted,
        "page": dataset.url,
        "citation": dataset.citation,
        "files": list(files),
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (folder / SOURCE_NAME).write_text(text + "\n", encoding="utf-8")
