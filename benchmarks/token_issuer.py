"""An issuer of access tokens over real HTTP, with keys that a test or benchmark changes."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from joserfc import jws
from joserfc.jwk import ECKey, Key

AUDIENCE = "https://sonoprobe.example.org"


class TokenIssuer:
    """Publishes ``keys`` and signs tokens.

    Attributes:
        keys: what it publishes, by key id.
        fetches: how often the key set was asked for.
        is_down: it answers 500.
        grants: how often a token was asked for; ``form`` is the last request.
        life_s: of the tokens that it gives to machines; None = it does not say.
        refusal: the error with which it refuses machines.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {"first": ECKey.generate_key("P-256", {"kid": "first"})}
        self.fetches = 0
        self.is_down = False
        self.grants = 0
        self.form: dict[str, list[str]] = {}
        self.life_s: int | None = 300
        self.refusal: str | None = None
        self.about: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
        }

    def add_key(self, key_id: str, key: Key | None = None) -> Key:
        """Publish a key, in the place of one with the same id."""
        self.keys[key_id] = key or ECKey.generate_key("P-256", {"kid": key_id})
        return self.keys[key_id]

    def settings(self, **others: Any) -> dict[str, Any]:
        """Settings of a service that believes this issuer."""
        claims = {"oidc_roles_claim": "roles", "oidc_workspace_claim": "workspace"}
        return {"oidc_issuer": self.url, "oidc_audience": AUDIENCE} | claims | others

    def claims(self, **others: Any) -> dict[str, Any]:
        """What a valid token says; None removes a claim."""
        now_s = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "device-7",
            "iat": now_s,
            "exp": now_s + 300,
            "workspace": "default",
            "roles": ["reader"],
        } | others
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any
    ) -> str:
        """A token that is valid but for what is given."""
        given = {"alg": "ES256", "kid": "first", "typ": "at+jwt"} | (header or {})
        given = {name: value for name, value in given.items() if value is not None}
        signer = key or self.keys["first"]
        payload = json.dumps(self.claims(**claims))
        return jws.serialize_compact(given, payload, signer, algorithms=[given["alg"]])

    def answer(self, path: str) -> dict[str, Any] | None:
        """The document under an address; None = it is down, or there is none."""
        if self.is_down:
            return None
        if path == "/.well-known/openid-configuration":
            return self.about
        if path == "/jwks":
            self.fetches += 1
            return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}
        return None

    def grant(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any] | None]:
        """Status and answer of the token endpoint; it checks no statement."""
        if self.is_down:
            return 500, None
        self.grants, self.form = self.grants + 1, form
        if self.refusal is not None:
            return 401, {"error": self.refusal, "error_description": "device-7"}
        life = {} if self.life_s is None else {"expires_in": self.life_s}
        return 200, {"access_token": self.token(sub=f"grant-{self.grants}")} | life


@contextmanager
def token_issuer(certificate: Path | None = None) -> Iterator[TokenIssuer]:
    """An issuer on a free port of this machine while the block runs.

    Args:
        certificate: PEM with its key, for ``localhost``; None = plain HTTP.
    """

    class Documents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.answer(self.path)
            self.send_response(500 if document is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = issuer.grant(parse_qs(body.decode()))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Documents) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        if certificate is not None:
            url = f"https://localhost:{server.server_port}"
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        issuer = TokenIssuer(url)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
