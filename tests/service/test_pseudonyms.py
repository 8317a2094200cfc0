"""Pseudonyms are equal for equal patients, and nobody finds a patient in them without the key."""

import hashlib
import hmac
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.access.pseudonyms import Pseudonyms, read_pseudonyms, write_key
from service.cli.main import app
from service.errors import InputError

UNDER = Pseudonyms(bytes(range(32)))


def test_a_pseudonym_is_stable_and_belongs_to_one_patient_of_one_issuer() -> None:
    # Written once: a later version must give the same patients the same pseudonyms.
    assert UNDER.subject("123") == "p-5dc624-68be54cab5d7b73c678535a0b1e3eef2"
    assert UNDER.study("1.2.3") == "s-5dc624-37eaf9ad4ebbc83828ed9120c2fae276"
    found = {
        UNDER.subject("123"),
        UNDER.subject("124"),
        UNDER.subject("123", "North"),
        UNDER.subject("3", "12"),
        Pseudonyms(bytes(32)).subject("123"),
        UNDER.study("123"),
    }
    assert len(found) == 6


def test_nobody_finds_the_id_by_trying_all_of_them_without_the_key() -> None:
    code = str(UNDER.subject("123")).rpartition("-")[2]
    for guess in map(str, range(1000)):
        text = guess.encode()
        tried = [hashlib.sha256(text), hashlib.md5(text), hashlib.sha1(text)]
        tried.append(hmac.new(bytes(32), text, hashlib.sha256))
        tried.append(hmac.new(UNDER.key_name.encode(), text, hashlib.sha256))
        assert not [digest for digest in tried if code in digest.hexdigest()]


@pytest.mark.parametrize("text", ["", "0", "0000", "UNKNOWN", "anonymous", "N/A", "xxx", "-"])
def test_what_devices_write_without_an_id_is_no_patient(text: str) -> None:
    assert UNDER.subject(text) is None
    assert UNDER.study("") is None


def test_a_key_is_random_private_and_never_replaced(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_key(first)
    write_key(second)
    assert first.read_text() != second.read_text()
    assert first.stat().st_mode & 0o777 == 0o600
    assert read_pseudonyms(first).subject("1") == read_pseudonyms(first).subject("1")
    with pytest.raises(InputError, match="never replaced"):
        write_key(first)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hospital", "create-key"),
        ("", "create-key"),
        ("sonoprobe-pseudonym-key-QUJD", "32 bytes"),
        ("sonoprobe-pseudonym-key-???", "damaged"),
    ],
)
def test_a_word_that_can_be_guessed_is_no_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(InputError, match=says):
        read_pseudonyms(file)


@pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_key(file)
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_pseudonyms(file)


def test_the_pseudonym_of_a_patient_is_told_to_who_has_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    runner = CliRunner()
    assert runner.invoke(app, ["pseudonyms", "create-key", str(key)]).exit_code == 0
    asked = ["pseudonyms", "subject", "--pseudonym-key", str(key)]
    told = runner.invoke(app, asked, input="4711 \nNorth\n")
    expected = read_pseudonyms(key).subject("4711", "North")
    assert told.stdout.splitlines()[-1] == expected
    assert re.fullmatch(r"p-[0-9a-f]{6}-[0-9a-f]{32}", str(expected))
    assert "4711" not in told.output
    assert runner.invoke(app, asked, input="0\n\n").exit_code == 1
    assert runner.invoke(app, [*asked, "--patient-id", "4711"]).exit_code == 2
