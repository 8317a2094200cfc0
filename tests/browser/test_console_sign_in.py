"""Signing in to the console at a real identity provider, and what attacks on that lead to."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.server import LocalService, local_service
from service.settings import Settings
from tests.browser.console_page import Console
from tests.identity.provider_process import (
    WORKSPACES,
    IdentityProvider,
    free_port,
    reason_to_skip,
)
from tests.service.expected import BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PAGE = "console"  # the client at the provider
USERS = {
    "doctor": {"roles": ["annotator"], "workspace": "north"},
    "stranger": {"roles": ["admin"], "workspace": "west"},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    provider = IdentityProvider(free_port(), users=USERS)
    provider.start()
    yield provider
    provider.stop()


def settings_of(provider: IdentityProvider, folder: Path, **others: object) -> Settings:
    own = {"oidc_console_client_id": PAGE, "oidc_clock_skew_s": 0, "bundle_dir": BUNDLE}
    return Settings(data_dir=folder, drain_s=0, **provider.settings(**(own | others)))


@pytest.fixture(scope="module")
def local(
    provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    """A service with the workspaces that the provider's users belong to."""
    folder = tmp_path_factory.mktemp("sign-in")
    catalog = open_catalog(folder)
    for workspace in WORKSPACES:
        catalog.ensure_workspace(workspace)
    with local_service(settings_of(provider, folder), catalog=catalog) as running:
        lead_back_to(provider, running)
        yield running
    catalog.close()


def lead_back_to(provider: IdentityProvider, running: LocalService) -> None:
    """The provider knows the page at its address, which is known when the service runs."""
    tokens = running.running().keys.tokens
    assert tokens is not None
    while math.isinf(tokens.keys_age_s()):  # a restart now would delay the service by ten seconds
        time.sleep(0.05)
    provider.stop()
    provider.pages = {PAGE: f"{running.url}/console/"}
    provider.start()


@pytest.fixture
def visitor(blank: Console, provider: IdentityProvider) -> Console:
    """The console, which may lead to the provider."""
    return with_provider(blank, provider)


def with_provider(console: Console, provider: IdentityProvider) -> Console:
    console.partner = provider.issuer
    # The pages of the provider ask for a font of the internet.
    console.page.context.route("**/fonts.googleapis.com/**", lambda route: route.abort())
    return console


def sign_in(page: "Page", user: str = "doctor") -> None:
    """Sign in at the provider, from the first page of the console."""
    page.get_by_role("button", name="Sign in at").click()
    page.get_by_placeholder("Enter any login").fill(user)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_signs_in_with_an_account_and_out_again(
    visitor: Console, provider: IdentityProvider
) -> None:
    answer = visitor.page.goto(f"{visitor.url}/console/#/map")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert f"connect-src 'self' {provider.issuer};" in policy
    page = visitor.page
    visitor.shot("sign-in-account")
    sign_in(page)
    page.get_by_role("heading", name="Map").wait_for()  # where the person was before
    assert page.get_by_text("annotator in north").is_visible()
    pages = page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    assert pages == ["Use", "Live", "Search", "Label", "Map", "Versions", "Data"]
    assert page.url == f"{visitor.url}/console/#/map"
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    )
    assert json.loads(kept) == [{}, {}, ""]
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    page.get_by_role("button", name="Sign in at").click()
    page.get_by_placeholder("Enter any login").wait_for()  # the provider forgot the person too


def test_an_answer_that_nobody_asked_for_is_refused(visitor: Console) -> None:
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    page = visitor.open("?code=stolen&state=guessed")
    page.get_by_role("alert").get_by_text("belongs to no sign-in").wait_for()
    assert "stolen" not in page.url
    assert not [url for url in asked if url.endswith("/token")]
    page.get_by_label("Your key").wait_for()


def test_a_code_that_was_used_before_opens_nothing(visitor: Console) -> None:
    answers: list[str] = []
    visitor.page.on(
        "request", lambda request: answers.append(request.url) if "?code=" in request.url else None
    )
    page = visitor.open()
    sign_in(page)
    page.get_by_text("annotator in north").wait_for()
    page.goto(answers[0])
    page.get_by_role("alert").get_by_text("belongs to no sign-in").wait_for()
    # Even in a tab that has begun a sign-in with this state.
    state = answers[0].partition("state=")[2].partition("&")[0]
    begun = {"state": state, "verifier": "v" * 43, "address": "", "begunAt": time.time() * 1000}
    page.evaluate("begun => sessionStorage.setItem('sonoprobe.sign-in', begun)", json.dumps(begun))
    page.goto(answers[0])
    page.get_by_role("alert").get_by_text("gave no token (invalid_grant)").wait_for()


def test_a_sign_in_that_is_broken_off_is_told_in_words(visitor: Console) -> None:
    page = visitor.open()
    page.get_by_role("button", name="Sign in at").click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("alert").get_by_text("refused the sign-in (access_denied)").wait_for()


def test_an_account_of_no_workspace_is_told_in_words(visitor: Console) -> None:
    page = visitor.open()
    sign_in(page, "stranger")
    page.get_by_role("alert").get_by_text("belongs to no workspace").wait_for()


def test_a_sign_in_that_cannot_be_renewed_ends_in_words(
    visitor: Console, provider: IdentityProvider, local: LocalService
) -> None:
    provider.life_s = 2
    lead_back_to(provider, local)
    page = visitor.open()
    sign_in(page)
    page.get_by_text("Your sign-in ends at").wait_for()
    page.wait_for_timeout(2_100)
    page.get_by_role("link", name="Versions").click()
    page.get_by_role("alert").get_by_text("Your sign-in has ended").wait_for()


def test_a_sign_in_is_renewed_where_the_provider_allows_that(
    blank: Console, provider: IdentityProvider, tmp_path: Path
) -> None:
    provider.life_s = 2
    scopes = {"oidc_console_scopes": "openid offline_access", "oidc_workspace_claim": ""}
    settings = settings_of(provider, tmp_path, oidc_workspace="default", **scopes)
    with local_service(settings) as running:
        lead_back_to(provider, running)
        blank.url = running.url
        page = with_provider(blank, provider).open()
        sign_in(page)
        page.get_by_text("annotator in default").wait_for()
        page.wait_for_timeout(2_100)
        page.get_by_role("link", name="Versions").click()
        page.get_by_text("There is no classifier yet").wait_for()


def test_a_token_for_another_service_opens_nothing(
    blank: Console, provider: IdentityProvider, tmp_path: Path
) -> None:
    provider.life_s = 300
    audience = {"oidc_audience": "https://other.example.org"}
    settings = settings_of(provider, tmp_path, oidc_console_audience_parameter="none", **audience)
    with local_service(settings) as running:
        lead_back_to(provider, running)
        blank.url = running.url
        page = with_provider(blank, provider).open()
        sign_in(page)
        page.get_by_role("alert").get_by_text("does not accept the token").wait_for()


def test_a_key_opens_while_the_provider_is_away(
    visitor: Console, provider: IdentityProvider, local: LocalService
) -> None:
    page = visitor.open()
    page.get_by_role("button", name="Sign in at").wait_for()
    provider.stop()
    page.get_by_role("button", name="Sign in at").click()
    page.get_by_role("alert").get_by_text("The identity provider does not answer").wait_for()
    visitor.shot("sign-in-provider-away")
    assert local.key is not None
    visitor.sign_in(local.key)


def test_a_page_that_the_provider_never_answered_says_so(
    blank: Console, provider: IdentityProvider, tmp_path: Path
) -> None:
    provider.stop()
    with local_service(settings_of(provider, tmp_path)) as running:
        blank.url = running.url
        page = blank.open()
        page.get_by_text("did not answer when this page was loaded").wait_for()
        assert page.get_by_role("button", name="Sign in at").count() == 0
        assert running.key is not None
        blank.sign_in(running.key)
