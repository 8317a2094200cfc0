"""Commands sign in as a machine by their environment."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from tests.identity.provider_process import private_of

pytestmark = pytest.mark.identity


def test_a_command_signs_in_with_a_key_file(local, provider, south, tmp_path: Path) -> None:
    key_file = tmp_path / "key.jwk"
    key_file.write_text(json.dumps(private_of(provider.machines["south-reader"])))
    environment = {
        "SONOPROBE_URL": local.url,
        "SONOPROBE_LOGIN_ISSUER": provider.issuer,
        "SONOPROBE_LOGIN_CLIENT_ID": "south-reader",
        "SONOPROBE_LOGIN_KEY_FILE": str(key_file),
    }
    done = CliRunner().invoke(app, ["classifiers", "list"], env=environment)
    assert (done.exit_code, "triage" in done.output) == (0, True), done.output
    environment["SONOPROBE_LOGIN_CLIENT_ID"] = "device"  # whose key is another one
    refused = CliRunner().invoke(app, ["classifiers", "list"], env=environment)
    assert refused.exit_code == 1
    assert "invalid_client" in refused.output
