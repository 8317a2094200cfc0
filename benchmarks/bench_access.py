"""What it costs to know the caller: nobody, an API key, an access token that is known or new.

``new`` is signed with ES256, ``new_rsa`` with RS256, which is verified faster.

Two services, one that asks for nothing and one that asks for a key or token, answer the same
small request (GET /v1/collections, an empty list) in turns, over one connection each. The second
part times the look-up alone, in this process, without HTTP.
"""

import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import argument_parser, print_report
from joserfc.jwk import RSAKey
from service_process import ServiceProcess, service_process
from token_issuer import TokenIssuer, token_issuer

from service.access.failed_keys import FailedKeys
from service.access.keys import KeyRing, create_key
from service.access.tokens.access_tokens import access_tokens
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.settings import Settings

ROUNDS, LOOK_UPS, WARM_UP = 500, 2000, 50
KINDS = ("key", "known", "new", "new_rsa")
PORT = 8471


def request_ms(service: ServiceProcess) -> Callable[[str | None], float]:
    """A function that sends the request with a key or token, and returns its milliseconds."""
    link = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)

    def send(token: str | None) -> float:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # The first one wakes the process, which has waited while the other service answered.
        for path in ("/health/live", "/v1/collections"):
            began = time.perf_counter()
            link.request("GET", path, headers=headers)
            answer = link.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
        return (time.perf_counter() - began) * 1000

    return send


def new_tokens(issuer: TokenIssuer, number: int) -> tuple[str, str]:
    """Two that nobody has seen: signed with ES256, and with RS256."""
    header = {"kid": "rsa", "alg": "RS256"}
    rsa = issuer.token(header, issuer.keys["rsa"], jti=str(number))
    return issuer.token(jti=str(number)), rsa


def over_http(issuer: TokenIssuer, scratch: Path) -> dict[str, float]:
    """Median milliseconds of a request, by who sends it; all in turns."""
    settings = {name: str(value) for name, value in issuer.settings().items()}
    with (
        service_process(scratch / "open", PORT, {"require_key": "false"}) as everybody,
        service_process(scratch / "closed", PORT + 1, settings) as known,
    ):
        ask_open, ask_closed = request_ms(everybody), request_ms(known)
        seen: dict[str, list[float]] = {name: [] for name in ("nobody", *KINDS)}
        token = issuer.token()
        for number in range(ROUNDS + WARM_UP):
            # As many requests to one as to the other, whose caches are as warm then.
            for name, sent in zip(
                KINDS, (known.key, token, *new_tokens(issuer, number)), strict=True
            ):
                seen["nobody"].append(ask_open(None))
                seen[name].append(ask_closed(sent))
    return {name: statistics.median(times[WARM_UP:]) for name, times in seen.items()}


def look_up(issuer: TokenIssuer, scratch: Path) -> dict[str, float]:
    """Median milliseconds of ``KeyRing.caller``, without HTTP and threads."""
    catalog = open_catalog(scratch / "look-up")
    workspace = catalog.ensure_workspace("default")
    _, key = create_key(catalog, "bench", "default")
    failed = FailedKeys(0, 60.0)
    with access_tokens(Settings(**issuer.settings()), catalog.workspace_at_door) as tokens:
        if tokens is not None:
            tokens.fetch_keys()
        ring = KeyRing(catalog, workspace.workspace_id, failed, require_key=True, tokens=tokens)
        token = issuer.token()
        seen: dict[str, list[float]] = {name: [] for name in KINDS}
        for number in range(LOOK_UPS + WARM_UP):
            for name, sent in zip(KINDS, (key, token, *new_tokens(issuer, number)), strict=True):
                began = time.perf_counter()
                ring.caller(sent, "192.0.2.1")
                seen[name].append((time.perf_counter() - began) * 1000)
    catalog.close()
    return {name: statistics.median(times[WARM_UP:]) for name, times in seen.items()}


def main() -> None:
    """Measure and print."""
    arguments = argument_parser(__doc__, with_out=True).parse_args()
    with token_issuer() as issuer, tempfile.TemporaryDirectory() as folder:
        issuer.add_key("rsa", RSAKey.generate_key(2048, {"kid": "rsa"}))
        sent, found = over_http(issuer, Path(folder)), look_up(issuer, Path(folder))
    report = {f"request_{name}_ms": round(value, 3) for name, value in sent.items()}
    report |= {
        f"request_{name}_over_nobody": round(sent[name] / sent["nobody"], 3) for name in KINDS
    }
    report |= {f"request_{name}_more_ms": round(sent[name] - sent["nobody"], 3) for name in KINDS}
    report |= {f"look_up_{name}_ms": round(value, 4) for name, value in found.items()}
    print_report(report, arguments)


if __name__ == "__main__":
    main()
