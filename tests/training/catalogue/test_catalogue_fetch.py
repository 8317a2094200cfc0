"""Downloads are whole, verified and recorded, whatever the server does."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_site import Site
from speckle_frames import png, zipped

from service.errors import InputError
from training.catalogue.adapters import find_frames
from training.catalogue.builder import SetFacts, make_rows
from training.catalogue.entries import Dataset, Download, packaged_catalogue
from training.catalogue.fetch import RetryPolicy, fetch, list_files, open_client
from training.catalogue.unpack import unpack

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


def dataset(*downloads: Download, **fields: Any) -> Dataset:
    facts: dict[str, Any] = {"licence": "CC BY 4.0", "tier": "A", "downloads": downloads}
    return Dataset("own", "Own", ("liver",), 0, "", "cls", url="page", **(facts | fields))


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with open_client() as opened:
        yield opened


@pytest.fixture
def link(site: Site) -> Download:
    site.files["/files/set%20one.zip"] = DATA
    return Download(f"{site.address}/files/set%20one.zip")


def test_a_file_is_fetched_and_its_origin_recorded(
    link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path == tmp_path / "set one.zip"
    assert path.read_bytes() == DATA
    source = json.loads((tmp_path / "SOURCE.json").read_text())
    assert source["licence"] == "CC BY 4.0"
    (entry,) = source["files"]
    assert (entry["url"], entry["bytes"], entry["sha256"]) == (link.url, len(DATA), SHA256)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["SOURCE.json", "set one.zip"]


def test_a_cut_connection_is_taken_up_where_it_broke(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    site.cut_after = [300_000, 200_000]
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA
    assert len(site.asked) == 3
    assert site.asked[0] == ""
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in site.asked[1:]]
    assert 0 < starts[0] < starts[1] <= 500_000


def test_a_later_run_goes_on_with_the_partial_file(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "set one.zip.partial").write_bytes(DATA[:1000])
    (tmp_path / "set one.zip.partial.etag").write_text(site.tag)
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA
    assert site.asked == ["bytes=1000-"]


def test_a_partial_file_of_another_version_is_started_again(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "set one.zip.partial").write_bytes(b"x" * 1000)
    (tmp_path / "set one.zip.partial.etag").write_text('"0"')
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA


def test_a_complete_partial_file_is_only_verified(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "set one.zip.partial").write_bytes(DATA)
    (path,) = fetch(dataset(Download(link.url, SHA256)), tmp_path, client)
    assert path.read_bytes() == DATA


def test_a_partial_file_that_is_too_long_is_started_again(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "set one.zip.partial").write_bytes(DATA + b"more")
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA


def test_a_server_without_ranges_sends_the_file_again(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    site.ranges, site.cut_after = False, [300_000]
    (path,) = fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA


def test_a_connection_that_always_breaks_is_given_up_and_the_part_kept(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    site.cut_after = [300_000] + [0] * 20
    with pytest.raises(InputError, match=r"broke after \d+ bytes"):
        fetch(dataset(link), tmp_path, client, retry_policy=RetryPolicy(attempts=3, pause_s=0))
    part = (tmp_path / "set one.zip.partial").read_bytes()
    assert part
    assert DATA.startswith(part)


def test_a_file_of_another_checksum_is_put_aside(
    link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected sha256 0000") as caught:
        fetch(dataset(Download(link.url, "0" * 64)), tmp_path, client)
    assert SHA256 in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["set one.zip.mismatch"]


def test_a_missing_file_names_the_answer(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answered 404"):
        fetch(dataset(Download(f"{site.address}/absent.zip")), tmp_path, client)


@pytest.mark.parametrize("tier", ["C", "D"])
def test_terms_that_are_not_clear_must_be_accepted(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path, tier: str
) -> None:
    unclear = dataset(link, tier=tier, licence="")
    with pytest.raises(InputError, match="--accept-licence"):
        fetch(unclear, tmp_path, client)
    assert not site.asked
    fetch(unclear, tmp_path, client, accept_licence=True)
    assert json.loads((tmp_path / "SOURCE.json").read_text())["terms_accepted_by_flag"] is True


def test_a_set_without_a_direct_link_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no open direct link"):
        fetch(dataset(), tmp_path, client)


def test_what_is_recorded_and_unchanged_is_not_fetched_again(
    site: Site, link: Download, client: httpx.Client, tmp_path: Path
) -> None:
    (path,) = fetch(dataset(link), tmp_path, client)
    fetch(dataset(link), tmp_path, client)
    assert len(site.asked) == 1
    path.write_bytes(b"damaged")
    fetch(dataset(link), tmp_path, client)
    assert path.read_bytes() == DATA


def test_a_zenodo_record_lists_its_files_with_checksums(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    site.files["/content"] = DATA
    md5 = hashlib.md5(DATA).hexdigest()
    site.files["/records/7"] = json.dumps(
        {
            "files": [
                {
                    "key": "../images.zip",
                    "size": len(DATA),
                    "checksum": f"md5:{md5}",
                    "links": {"self": f"{site.address}/content"},
                }
            ]
        }
    ).encode()
    apis = {"zenodo": site.address + "/records/{}"}
    (path,) = fetch(dataset(record="zenodo:7"), tmp_path, client, apis=apis)
    assert path == tmp_path / "images.zip"
    (entry,) = json.loads((tmp_path / "SOURCE.json").read_text())["files"]
    assert (entry["sha256"], entry["verified_against"]) == (SHA256, "md5")


def test_a_figshare_article_lists_its_own_files_only(site: Site, client: httpx.Client) -> None:
    own = {"name": "a.zip", "size": 9, "download_url": "http://x/a", "computed_md5": "0" * 32}
    elsewhere = {"name": "b", "size": 0, "download_url": "http://x/b", "is_link_only": True}
    site.files["/articles/8"] = json.dumps([own, elsewhere]).encode()
    apis = {"figshare": site.address + "/articles/{}"}
    (file,) = list_files(dataset(record="figshare:8"), client, apis)
    assert (file.name, file.size_bytes, file.checksum) == ("a.zip", 9, "md5:" + "0" * 32)


@pytest.mark.parametrize("answer", [b"{}", b'{"files": [{"key": "a"}]}', b"<html>", b"[1]"])
def test_a_record_that_lists_nothing_open_is_an_error(
    site: Site, client: httpx.Client, answer: bytes
) -> None:
    site.files["/records/7"] = answer
    with pytest.raises(InputError):
        list_files(dataset(record="zenodo:7"), client, {"zenodo": site.address + "/records/{}"})


def test_a_catalogued_set_goes_from_link_to_manifest_rows(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    busi = packaged_catalogue()["busi"]
    names = ["benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)"]
    inside = {f"Dataset_BUSI_with_GT/{n}.png": png(i) for i, n in enumerate(names)}
    masks = {f"Dataset_BUSI_with_GT/{n}_mask.png": png(9) for n in names}
    site.files["/Dataset_BUSI.zip"] = zipped(inside | masks)
    served = dataset(Download(f"{site.address}/Dataset_BUSI.zip"))
    (archive,) = fetch(served, tmp_path, client)
    assert unpack(archive, tmp_path / "unpacked") == 6
    found = find_frames(tmp_path / "unpacked", busi.layout)
    made = make_rows(found, tmp_path / "unpacked", SetFacts("busi", busi.licence))
    assert [row.label for row in made.rows] == ["benign", "malignant", "normal"]
