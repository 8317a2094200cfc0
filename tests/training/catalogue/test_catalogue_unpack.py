"""An archive of strangers writes inside its folder or not at all."""

import io
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from speckle_frames import zipped

from service.errors import InputError
from training.catalogue.unpack import unpack


def tarred(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, of_kind in (("good.txt", tarfile.REGTYPE), (name, kind)):
            member = tarfile.TarInfo(path)
            member.type, member.linkname = of_kind, link if of_kind == kind else ""
            member.size = 4 if of_kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"data"))
    return stream.getvalue()


def written(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.zip", zipped({"good.txt": b"data", "in/b.txt": b"data"})), ("a.tgz", tarred("in/b.txt"))],
)
def test_archives_unpack_into_their_folder(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert unpack(tmp_path / name, tmp_path / "out") == 2
    assert written(tmp_path / "out") == ["good.txt", "in/b.txt"]


@pytest.mark.parametrize("path", ["../evil.txt", "/evil.txt", "in/../../evil.txt", "C:\\evil.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, kind: str, path: str) -> None:
    data = zipped({"good.txt": b"data", path: b"data"}) if kind == "zip" else tarred(path)
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(InputError, match="leaves the folder"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert written(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(tarred("link", kind=kind, link="good.txt"))
    with pytest.raises(InputError, match="no plain file"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert written(tmp_path) == ["a.tar"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="no plain file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_more_bytes_than_allowed_are_refused_before_writing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 1_000_000)
    with pytest.raises(InputError, match="expected at most 999999 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "out", max_bytes=999_999)
    assert written(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("cut", [0, 30, 200])
def test_a_damaged_archive_is_told(tmp_path: Path, cut: int) -> None:
    data = zipped({"good.txt": bytes(1000)})
    (tmp_path / "a.zip").write_bytes(data[: len(data) - cut] if cut else b"no archive")
    with pytest.raises(InputError, match=r"a\.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar.xz", "lzma.zip", "deflate64.zip"])
def test_a_compression_that_is_damaged_or_unknown_is_told(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    if name.endswith(".xz"):
        data = lzma.compress(tarred_file("noise", noise))
    else:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("noise", noise)
        data = stream.getvalue()
    if name == "deflate64.zip":  # the number of the method, in the file and in the directory
        data = data.replace(b"\x0e\0", b"\x09\0")
    else:
        data = data[:50_000] + bytes(500) + data[50_500:]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name} does not unpack"):
        unpack(tmp_path / name, tmp_path / "out")


def tarred_file(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()
