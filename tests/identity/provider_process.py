"""Starts the real identity provider, and stands for the machines and users that it knows."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, Key, RSAKey

from service.access.scopes import ROLES, SCOPES
from sonoprobe_client import MachineLogin

HERE = Path(__file__).parent
AUDIENCE = "https://sonoprobe.example.org"
CALLBACK = "http://127.0.0.1/callback"
WORKSPACES = ("north", "south")
START_TIMEOUT_S = 30.0


def reason_to_skip() -> str | None:
    """Why the provider cannot run here; None = it can."""
    if shutil.which("node") is None:
        return "Node is not installed, so the real identity provider does not run"
    if not (HERE / "node_modules" / "oidc-provider").is_dir():
        return "the identity provider is not installed: make test-identity, or npm ci there"
    return None


def private_of(key: Key) -> dict[str, Any]:
    return dict(key.as_dict(private=True))


def signing_key(key_id: str) -> Key:
    return ECKey.generate_key("P-384", {"kid": key_id, "alg": "ES384", "use": "sig"})


@dataclass
class IdentityProvider:
    """One provider, whose process a test can stop, and start again with other keys.

    Attributes:
        machines: private key by client id; ``north-reader`` has the role and the workspace.
        keys: of the provider; the first one signs.
        pages: address of each public client, which runs in a browser.
        users: claims by the name with which somebody signs in.
    """

    port: int
    life_s: int = 300
    keys: list[Key] = field(default_factory=lambda: [signing_key("first")])
    machines: dict[str, Key] = field(default_factory=dict)
    rights: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    users: dict[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"doctor": {"roles": ["annotator"], "workspace": "north"}}
    )
    process: subprocess.Popen[str] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_machine(self, client_id: str, key: Key | None = None, **rights: Any) -> None:
        """Make a client; ``rights`` are the claims of its tokens: ``roles`` and ``workspace``."""
        self.machines[client_id] = key or ECKey.generate_key("P-384", {"kid": client_id})
        self.rights[client_id] = rights

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["node", "provider.mjs"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(self._configuration()) + "\n")
        self.process.stdin.flush()
        alarm = threading.Timer(START_TIMEOUT_S, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        assert line == "listening\n", "the identity provider did not start"

    def stop(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def login(self, client_id: str, **options: Any) -> MachineLogin:
        """How a machine signs in."""
        key = private_of(self.machines[client_id])
        return MachineLogin(self.issuer, client_id, key, **options)

    def token(self, client_id: str, **options: Any) -> str:
        """An access token of a machine."""
        login = self.login(client_id, **options)
        try:
            return login.token()
        finally:
            login.close()

    def settings(self, **others: Any) -> dict[str, Any]:
        """Settings of a service that believes this provider."""
        claims = {"oidc_roles_claim": "roles", "oidc_workspace_claim": "workspace"}
        return {"oidc_issuer": self.issuer, "oidc_audience": AUDIENCE} | claims | others

    def _configuration(self) -> dict[str, Any]:
        clients = [
            {
                "client_id": client_id,
                "jwks": {"keys": [key.as_dict(private=False)]},
                **self.rights[client_id],
            }
            for client_id, key in self.machines.items()
        ]
        return {
            "port": self.port,
            "keys": [private_of(key) for key in self.keys],
            "audience": AUDIENCE,
            "scopes": " ".join(SCOPES),
            "life_s": self.life_s,
            "clients": clients,
            "users": self.users,
            "pages": [{"client_id": name, "address": at} for name, at in self.pages.items()],
        }


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def identity_provider(**options: Any) -> Iterator[IdentityProvider]:
    """A provider with a machine for each role in each workspace, while the block runs."""
    provider = IdentityProvider(free_port(), **options)
    for workspace in WORKSPACES:
        for role in ROLES:
            provider.add_machine(f"{workspace}-{role}", roles=[role], workspace=workspace)
    provider.add_machine("device", workspace="north")
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    provider.add_machine("old-device", rsa, workspace="north")
    provider.add_machine("desk", roles=[], workspace="north", redirect_uris=[CALLBACK])
    provider.add_machine("stray", roles=["admin"], workspace="west")
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()
