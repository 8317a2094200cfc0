"""Settings of a catalog in PostgreSQL, which hold passwords, and commands that need a file."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.errors import InvalidSettings
from service.settings import Settings, read_settings

SECRET = "hunter2"
URL = f"postgresql://probe:{SECRET}@127.0.0.1:1/catalog"
runner = CliRunner()


def settings(**fields):
    return Settings.model_validate(fields)


def test_addresses_are_shown_nowhere():
    found = settings(catalog=URL, shards=f'{{"north": "{URL}"}}')
    assert SECRET not in f"{found!r} {found} {found.model_dump()} {found.model_dump_json()}"
    assert found.catalog_url() == URL
    assert found.shard_urls() == {"north": URL}


def test_shards_are_read_from_a_file(tmp_path):
    file = tmp_path / "shards.json"
    file.write_text(f'{{"north": "{URL}"}}')
    assert settings(shards=str(file)).shard_urls() == {"north": URL}
    assert settings().shard_urls() == {}


@pytest.mark.parametrize(
    "shards",
    [
        f'{{"north": "{SECRET}"}}',
        f'{{"": "{URL}"}}',
        f'{{"a b": "{URL}"}}',
        f"/{SECRET}",
        "{",
        "[]",
    ],
)
def test_wrong_shards_are_refused_without_their_text(shards):
    with pytest.raises(InvalidSettings, match="SONOPROBE_SHARDS") as caught:
        settings(shards=shards).shard_urls()
    assert SECRET not in str(caught.value)


def test_a_wrong_address_is_refused_without_its_text(monkeypatch):
    monkeypatch.setenv("SONOPROBE_CATALOG", f"mysql://{SECRET}")
    with pytest.raises(InvalidSettings, match=r"SONOPROBE_CATALOG: .*postgresql://") as caught:
        read_settings()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("words", [["backup"], ["restore", "."], ["check"]])
def test_commands_for_a_file_refuse_a_database_by_name(words, monkeypatch):
    monkeypatch.setenv("SONOPROBE_CATALOG", URL)
    result = runner.invoke(app, words)
    assert result.exit_code == 1
    assert f"{words[0]} is for a SQLite file" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["migrate"], "SONOPROBE_CATALOG: expected postgresql://"),
        (["copy", "--from", "."], "SONOPROBE_CATALOG: expected postgresql://"),
        (["workspace", "move", "a", "--to", "b"], "needs PostgreSQL"),
        (["workspace", "create", "a", "--shard", "b"], "needs PostgreSQL"),
    ],
)
def test_commands_for_a_database_refuse_a_file_by_name(words, says, monkeypatch, tmp_path):
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("SONOPROBE_CATALOG", raising=False)
    result = runner.invoke(app, words)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


def test_workspaces_of_a_file_are_created_and_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "data"))
    assert runner.invoke(app, ["workspace", "create", "ward"]).exit_code == 0
    assert runner.invoke(app, ["workspace", "list"]).output.split()[1:] == [
        "ward",
        "file",
        "active",
    ]


def test_a_missing_driver_is_named(tmp_path):
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from service.settings import Settings\n"
        "from service.opening.catalog_opening import catalog_of\n"
        f"catalog_of(Settings(catalog={URL!r}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "service.errors.InvalidSettings: a catalog in PostgreSQL needs its driver: "
        "pip install 'sonoprobe[postgres]'"
    )
    assert SECRET not in ran.stderr.splitlines()[-1]
