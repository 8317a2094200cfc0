"""What ends an open live stream: keys, workspaces and classifiers that go, on every engine.

The service looks every second. The tests wait longer, because a busy machine is late.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from service.access.keys import create_key
from service.catalog.access_records import KeyGrant
from service.opening.catalog_opening import catalog_of
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client, FrameStream
from sonoprobe_client import PlainClient as Plain
from tests.service.expected import BUNDLE
from tests.service.test_streams import HELLO, end_of, fit, picture


@dataclass
class Ward:
    """A workspace with a classifier, the client of its administrator, and a key that streams."""

    name: str
    admin: Client
    key_id: str
    secret: str


@dataclass
class Replicas:
    """Where streams are, where administrators work, the operator's client, and a fit to import.

    Over PostgreSQL these are two services; a data folder has one.
    """

    streaming: LocalService
    administered: LocalService
    operator: Client
    fitted: dict[str, Any]

    def ward(self, name: str) -> Ward:
        made = self.operator.create_workspace(name)
        admin = Client(self.administered.url, key=made.secret)
        admin.import_classifier("waves", self.fitted)
        reader = admin.create_key("reader", roles=["reader"])
        return Ward(name, admin, reader.key.key_id, reader.secret)

    @contextmanager
    def stream(self, ward: Ward, where: LocalService | None = None) -> Iterator[ClientConnection]:
        """A stream that has greeted and was answered."""
        local = where or self.streaming
        address = local.url.replace("http", "ws") + "/v1/classifiers/waves/stream"
        headers = {"Authorization": f"Bearer {ward.secret}"}
        with connect(address, additional_headers=headers, compression=None) as link:
            link.send(HELLO)
            assert '"ready"' in str(link.recv(timeout=20))
            yield link


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, new_catalog: Callable[[], dict[str, Any]]
) -> Iterator[Replicas]:
    where = new_catalog()
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("ends"),
        bundle_dir=BUNDLE,
        drain_s=0,
        graceful_timeout_s=1,
        region="none",
        max_streams_per_key=2,
        **where,
    )
    catalog = catalog_of(settings)
    _, chief = create_key(catalog, "chief", "default", KeyGrant(("admin",), ("service.admin",)))
    with ExitStack() as stack:
        stack.callback(catalog.close)
        one = stack.enter_context(local_service(settings, catalog=catalog))
        other = stack.enter_context(local_service(settings)) if where else one
        operator = stack.enter_context(Client(one.url, key=chief))
        fit(stack.enter_context(Plain(one.url, key=chief)))
        yield Replicas(other, one, operator, operator.export("waves"))


def revoke(replicas: Replicas, ward: Ward) -> None:
    ward.admin.revoke_key(ward.key_id)


def expire(replicas: Replicas, ward: Ward) -> None:
    ward.admin.rotate_key(ward.key_id, overlap_s=0)


def suspend(replicas: Replicas, ward: Ward) -> None:
    replicas.operator.suspend_workspace(ward.name)


def delete_workspace(replicas: Replicas, ward: Ward) -> None:
    replicas.operator.delete_workspace(ward.name)


def delete_classifier(replicas: Replicas, ward: Ward) -> None:
    ward.admin.delete_classifier("waves")


ENDS: dict[Callable[[Replicas, Ward], None], tuple[int, str]] = {
    revoke: (4401, "unauthenticated"),
    expire: (4401, "unauthenticated"),
    suspend: (4403, "workspace_suspended"),
    delete_workspace: (4401, "unauthenticated"),
    delete_classifier: (4404, "unknown_item"),
}


def test_a_stream_ends_when_its_key_workspace_or_classifier_is_gone(replicas: Replicas) -> None:
    wards = {act: replicas.ward(f"ward-{n}") for n, act in enumerate(ENDS)}
    with ExitStack() as stack:
        for ward in wards.values():
            stack.enter_context(ward.admin)
        links = {act: stack.enter_context(replicas.stream(ward)) for act, ward in wards.items()}
        for act, ward in wards.items():
            act(replicas, ward)
        ends = {act: end_of(link) for act, link in links.items()}
    assert ends == ENDS


def test_a_key_has_so_many_streams_on_all_services_together(replicas: Replicas) -> None:
    ward = replicas.ward("ward-many")
    both = (replicas.streaming, replicas.administered)
    with ward.admin, replicas.stream(ward, both[0]), replicas.stream(ward, both[1]):
        for service in both:
            with pytest.raises(InvalidStatus) as caught, replicas.stream(ward, service):
                pass
            problem = json.loads(caught.value.response.body or b"")
            assert (problem["status"], problem["limit"], problem["of"]) == (429, "streams", "key")


def test_a_stream_is_answered_where_another_service_has_the_fit(replicas: Replicas) -> None:
    ward = replicas.ward("ward-answers")
    with ward.admin, FrameStream(replicas.streaming.url, "waves", key=ward.secret) as stream:
        for n in range(8):
            stream.send(picture("blobs", 7, n), time_s=n / 10)
            decision = stream.receive(timeout_s=20)
        assert decision["label"] == "blobs"
