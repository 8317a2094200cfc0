"""Programs of 0.1.0 imported the client from the service."""

import importlib
import tomllib
from pathlib import Path

import pytest

import sonoprobe_client

ROOT = Path(__file__).parents[2]


def test_the_old_address_gives_the_client_with_a_warning() -> None:
    old = importlib.import_module("service.client")
    with pytest.warns(DeprecationWarning, match="sonoprobe_client.PlainClient"):
        found = old.Client
    assert found is sonoprobe_client.PlainClient
    with pytest.warns(DeprecationWarning, match="sonoprobe_client.ApiError"):
        assert old.ApiError is sonoprobe_client.ApiError


def test_both_distributions_that_carry_the_client_have_one_version() -> None:
    files = (ROOT / "pyproject.toml", ROOT / "clients" / "python" / "pyproject.toml")
    versions = {tomllib.loads(file.read_text())["project"]["version"] for file in files}
    assert len(versions) == 1
