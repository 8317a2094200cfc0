"""What a key, a token and the audit log leave of the service's speed, measured in turns.

Three services run at the same time: one that asks for nobody and keeps no log, one that asks for a
key or token and keeps none, and one that keeps the log. One client sends the same image to each in
turns, whose order changes, so all meet the same machine. A ratio is the median time of a request
without over that with: 1 = it costs nothing.
"""

import http.client
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from service_process import ServiceProcess, service_process
from token_issuer import token_issuer

TURNS, WARM_UP = 200, 20
# Ratio -> (who is asked without, who with).
PAIRS = {
    "key_ratio": ("open", "key"),
    "token_ratio": ("open", "token"),
    "audit_ratio": ("key", "audit"),
}
Send = Callable[[bytes], float]


def access_ratios(images: Sequence[bytes], port: int) -> dict[str, float]:
    """``key_ratio``, ``token_ratio`` and ``audit_ratio``; three ports from ``port`` on are used."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        issuer = stack.enter_context(token_issuer())
        closed = {name: str(value) for name, value in issuer.settings().items()}
        services = {
            name: stack.enter_context(service_process(folder / name, port + number, settings))
            for number, (name, settings) in enumerate(
                {
                    "open": {"require_key": "false", "audit": "false"},
                    "closed": closed | {"audit": "false"},
                    "audited": closed,
                }.items()
            )
        }
        times = in_turns(
            {
                "open": sender(services["open"], None),
                "key": sender(services["closed"], services["closed"].key),
                "token": sender(services["closed"], issuer.token()),
                "audit": sender(services["audited"], services["audited"].key),
            },
            images,
        )
    median_s = {name: statistics.median(found[WARM_UP:]) for name, found in times.items()}
    return {ratio: round(median_s[a] / median_s[b], 4) for ratio, (a, b) in PAIRS.items()}


def sender(service: ServiceProcess, token: str | None) -> Send:
    """A function that embeds an image over one connection, and returns the seconds."""
    link = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    known = {} if token is None else {"Authorization": f"Bearer {token}"}

    def send(image: bytes) -> float:
        kind = "image/png" if image[:4] == b"\x89PNG" else "image/jpeg"
        began = time.perf_counter()
        path = "/v1/embeddings?encoding_format=base64"
        link.request("POST", path, image, known | {"Content-Type": kind})
        answer = link.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body)
        return time.perf_counter() - began

    return send


def in_turns(senders: Mapping[str, Send], images: Sequence[bytes]) -> dict[str, list[float]]:
    """Seconds of each request by name; each turn begins with another one."""
    times: dict[str, list[float]] = {name: [] for name in senders}
    names = list(senders)
    for turn in range(TURNS + WARM_UP):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(senders[name](images[turn % len(images)]))
    return times
