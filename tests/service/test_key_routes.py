"""Keys that an administrator makes, rotates and revokes over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from service.access.scopes import ROLES
from service.api.shapes.access.key_shapes import RoleName
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client


@pytest.fixture
def admin(tiny) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as client:
        yield client


def test_the_secret_is_shown_once_and_opens_what_the_roles_allow(tiny, admin) -> None:
    made = admin.create_key("ward", roles=["reader"], scopes=["scan.write"])
    assert made["secret"] not in str(list(admin.list_keys()))
    key = made["key"]
    assert admin.key(key["key_id"]) == key
    assert (key["name"], key["roles"], key["scopes"]) == ("ward", ["reader"], ["scan.write"])
    with Client(tiny.url, key=made["secret"]) as ward:
        assert ward.encoder()["encoder_id"]
        for refused in (ward.list_keys, lambda: ward.create_key("more", roles=["reader"])):
            with pytest.raises(ApiError) as caught:
                list(refused())
            assert (caught.value.status, caught.value.code) == (403, "missing_scope")


def test_a_new_key_allows_at_most_what_the_own_key_allows(tiny, admin) -> None:
    limited = admin.create_key("desk", roles=["reader"], scopes=["admin"])
    with Client(tiny.url, key=limited["secret"]) as desk:
        assert desk.create_key("second", roles=["reader"])["secret"]
        for roles in (["curator"], ["admin"]):
            with pytest.raises(ApiError) as caught:
                desk.create_key("stronger", roles=roles)
            assert caught.value.code == "missing_scope"
        stronger = admin.create_key("chief", roles=["curator"])["key"]["key_id"]
        with pytest.raises(ApiError) as caught:
            desk.rotate_key(stronger)
        assert caught.value.code == "missing_scope"


def test_a_rotated_key_works_beside_its_successor_and_rotates_once(tiny, admin) -> None:
    old = admin.create_key("probe", roles=["reader"])
    new = admin.rotate_key(old["key"]["key_id"], overlap_s=600)
    for made in (old, new):
        with Client(tiny.url, key=made["secret"]) as client:
            client.encoder()
    replaced = admin.key(old["key"]["key_id"])
    assert replaced["replaced_by"] == new["key"]["key_id"]
    limit = datetime.now(UTC) + timedelta(seconds=601)
    assert datetime.fromisoformat(replaced["expires_at"]) < limit
    with pytest.raises(ApiError) as caught:
        admin.rotate_key(old["key"]["key_id"])
    assert (caught.value.status, caught.value.code) == (409, "conflict")


def test_a_rotation_may_give_the_successor_another_expiry(tiny, admin) -> None:
    end = "2999-01-01T00:00:00.000000Z"
    old = admin.create_key("short", roles=["reader"], expires_at="2998-01-01T00:00:00Z")
    assert admin.rotate_key(old["key"]["key_id"], expires_at=end)["key"]["expires_at"] == end
    other = admin.create_key("other", roles=["reader"])["key"]["key_id"]
    with pytest.raises(ApiError) as caught:
        admin.rotate_key(other, expires_at="2001-01-01T00:00:00Z")
    assert caught.value.status == 422


def test_a_revoked_key_is_refused_at_once_and_stays_in_the_list(tiny, admin) -> None:
    made = admin.create_key("lost", roles=["reader"])
    with Client(tiny.url, key=made["secret"]) as lost:
        lost.encoder()
        assert admin.revoke_key(made["key"]["key_id"])["revoked_at"]
        with pytest.raises(ApiError) as caught:
            lost.encoder()
        assert caught.value.code == "unauthenticated"
    ids = [key["key_id"] for key in admin.list_keys()]
    assert made["key"]["key_id"] in ids


def test_keys_come_in_pages(admin) -> None:
    made = [admin.create_key(f"page {i}", roles=["reader"])["key"]["key_id"] for i in range(3)]
    first = admin.request("GET", "/v1/keys", params={"limit": 2}).json()
    assert len(first["items"]) == 2
    ids = [item["key_id"] for item in first["items"]]
    while first["next_cursor"]:
        options = {"limit": 2, "cursor": first["next_cursor"]}
        first = admin.request("GET", "/v1/keys", params=options).json()
        ids += [item["key_id"] for item in first["items"]]
    assert ids == [key["key_id"] for key in admin.list_keys()]
    assert ids[-3:] == made


@pytest.mark.parametrize(
    "body",
    [
        {"name": "none"},
        {"name": "x", "roles": ["chief"]},
        {"name": "x", "scopes": ["everything"]},
        {"name": " ", "roles": ["reader"]},
        {"name": "x", "roles": ["reader"], "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "roles": ["reader"], "expires_at": "2999-01-01T00:00:00"},
        {"name": "x", "roles": ["reader"], "expires_at": "9999-12-31T23:59:59-01:00"},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(tiny, admin, body) -> None:
    answer = admin._http.post("/v1/keys", json=body)
    assert answer.status_code == 422, answer.text


def test_a_successor_cannot_expire_after_the_calendar(admin) -> None:
    key_id = admin.create_key("x", roles=["reader"])["key"]["key_id"]
    body = {"expires_at": "9999-12-31T23:59:59-01:00"}
    answer = admin._http.post(f"/v1/keys/{key_id}/rotate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_an_unknown_key_id_is_not_found(admin) -> None:
    for call in (admin.key, admin.rotate_key, admin.revoke_key):
        with pytest.raises(ApiError) as caught:
            call("key_none")
        assert caught.value.status == 404


def test_the_roles_of_the_contract_are_those_of_the_table() -> None:
    assert get_args(RoleName) == tuple(ROLES)


def test_without_an_audit_log_reading_it_says_so(admin) -> None:
    with pytest.raises(ApiError) as caught:
        admin.audit_page()
    assert (caught.value.status, caught.value.code) == (409, "not_supported")
