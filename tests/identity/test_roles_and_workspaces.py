"""Six roles in two workspaces on every route of the running service, with genuine tokens."""

from typing import Any

import httpx
import pytest

from service.access.scopes import ROLES
from sonoprobe_client import PlainClient as Client
from tests.identity.provider_process import IdentityProvider
from tests.service.test_isolation import OPEN, SECRETS, requests_of

pytestmark = pytest.mark.identity


def routes_of(client: Client) -> list[tuple[str, str, tuple[str, ...]]]:
    """(method, path, scopes) of every route of the document that the service itself serves."""
    document = client.request("GET", "/openapi.json").json()
    return [
        (method.upper(), path, tuple(*operation.get("security", [{"": []}])[0].values()))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture(scope="module")
def names(south: Client) -> dict[str, str]:
    """What the paths of the routes name: everything in the workspace south."""
    return {
        "collection": "ward",
        "name": "triage",
        "scan_id": "scan-1",
        "subject_id": "subject-1",
        "study_id": "study-1",
        "operation_id": next(south.operations())["operation_id"],
        "version": "1",
        "key_id": next(south.list_keys())["key_id"],
        "workspace": "south",
    }


def answers_of(
    http: httpx.Client,
    provider: IdentityProvider,
    machine: str,
    south: Client,
    frames: dict[str, Any],
    names: dict[str, str],
) -> list[tuple[str, str, tuple[str, ...], httpx.Response]]:
    """What a machine gets on every route; what is deleted comes last."""
    http.headers["Authorization"] = f"Bearer {provider.token(machine)}"
    bodies = requests_of(frames)
    routes = sorted(routes_of(south), key=lambda route: route[0] == "DELETE")
    return [
        (
            method,
            path,
            scopes,
            http.request(method, path.format(**names), **bodies.get((method, path), {})),
        )
        for method, path, scopes in routes
    ]


def require_403_where_the_document_says(role: str, scopes, where: str, answer) -> bool:
    missing = [scope for scope in scopes if scope not in ROLES[role]]
    if missing:
        said = (answer.status_code, answer.json()["code"], answer.json()["scope"])
        assert said == (403, "missing_scope", missing[0]), where
    else:
        assert answer.status_code not in (401, 403) or answer.json()["scope"] not in scopes, where
    return bool(missing)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_of_one_workspace_sees_nothing_of_the_other(
    http, provider, south, frames, names, role
) -> None:
    for method, path, scopes, answer in answers_of(
        http, provider, f"north-{role}", south, frames, names
    ):
        where = f"{role}: {method} {path}: {answer.status_code} {answer.text[:200]}"
        is_refused = require_403_where_the_document_says(role, scopes, where, answer)
        if path not in OPEN:
            assert not [secret for secret in SECRETS if f'"{secret}"' in answer.text], where
        if "{" in path and not is_refused:
            assert answer.status_code in (403, 404), where
    assert south.collection("ward")["scans"] == 4
    assert south.scan("ward", "scan-1")["labels"] == {"finding": "malignant"}
    assert south.classifier("triage")["name"] == "triage"


# The reader first and the administrator last, because they delete what they may.
@pytest.mark.parametrize("role", sorted(ROLES, key=lambda role: len(ROLES[role])))
def test_a_role_in_its_own_workspace_may_what_the_document_says(
    http, provider, south, frames, names, role
) -> None:
    seen = 0
    for method, path, scopes, answer in answers_of(
        http, provider, f"south-{role}", south, frames, names
    ):
        where = f"{role}: {method} {path}: {answer.status_code} {answer.text[:200]}"
        require_403_where_the_document_says(role, scopes, where, answer)
        seen += answer.status_code < 300
    assert seen > 3
