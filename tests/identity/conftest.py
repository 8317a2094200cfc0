"""The real identity provider, and a service with two workspaces that believes it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog
from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.identity.provider_process import (
    WORKSPACES,
    IdentityProvider,
    identity_provider,
    reason_to_skip,
)
from tests.service.expected import BUNDLE


@pytest.fixture(scope="session", autouse=True)
def node() -> None:
    """Skip everything here, with the reason, where the provider cannot run."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def provider(node: None) -> Iterator[IdentityProvider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteCatalog]:
    catalog = open_catalog(tmp_path_factory.mktemp("identity"))
    for workspace in WORKSPACES:
        catalog.ensure_workspace(workspace)
    yield catalog
    catalog.close()


@pytest.fixture(scope="session")
def service_settings(provider: IdentityProvider) -> dict[str, Any]:
    own = {"bundle_dir": BUNDLE, "drain_s": 0, "max_failed_keys": 0}
    return own | provider.settings(oidc_clock_skew_s=0)


@pytest.fixture(scope="session")
def local(
    catalog, service_settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), **service_settings)
    with local_service(settings, catalog=catalog) as running:
        yield running


@pytest.fixture
def http(local: LocalService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=local.url, trust_env=False, timeout=60) as http:
        yield http


@pytest.fixture(scope="session")
def frames() -> dict[str, list[bytes]]:
    """Sample files by scene."""
    folders = [folder for folder in sorted(SAMPLES.iterdir()) if folder.is_dir()]
    return {f.name: [file.read_bytes() for file in sorted(f.glob("*.png"))] for f in folders}


@pytest.fixture(scope="session")
def south(provider, local, frames) -> Iterator[Client]:
    """An administrator of the workspace south, which holds scans and a classifier."""
    login = provider.login("south-admin")
    with Client(local.url, login=login) as client:
        client.create_collection("ward", description="about-ward")
        said = [
            {
                "scan_id": f"scan-{i}",
                "subject_id": f"subject-{i}",
                "study_id": f"study-{i}",
                "labels": {"finding": ("benign", "malignant")[i % 2]},
            }
            for i in range(4)
        ]
        client.add_scans("ward", frames["cyst"][:4], said)
        fit = {"name": "triage", "collection": "ward", "task": "finding"}
        client.wait(client.fit(fit, respond_async=True)["operation_id"])
        client.create_key("desk", roles=["reader"])
        yield client
    login.close()
