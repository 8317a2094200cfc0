"""Two replicas over a real PostgreSQL: the demo's main job goes on when one of them is killed.

    make demo-replicas

PostgreSQL with pgvector comes from a Python package; each replica is a process of its own; the
balancer is HAProxy if it is installed, else a small one of ours. Everything is removed at the end.
"""

import argparse
import contextlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from balancer import Balancer
from catalogs import new_postgres_catalog
from harness import end_in_order
from postgres_process import postgres_process
from replica_processes import HAProxy, Replica, has_haproxy, replicas

from service.cli import demo as steps
from sonoprobe_client import ApiError, Client, NoAnswer

COUNT = 2
SHOTS = 5
REPEATS = 5
MEND_S = 60.0
MENDED = (502, 503, 504)
SETTINGS = {"LOG_LEVEL": "ERROR", "MAX_CONNECTIONS_PER_ADDRESS": "0", "DRAIN_S": "1"}


class PatientClient(Client):
    """A client as one behind a balancer should be: it repeats what a lost replica left undone.

    Writes carry an Idempotency-Key, so that a repetition does nothing twice.

    Attributes:
        repeated: number of requests that were sent again.
    """

    repeated = 0

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """As Client, for up to a minute."""
        headers = dict(request.pop("headers", None) or {})
        if method == "POST":
            headers.setdefault("Idempotency-Key", uuid.uuid4().hex)
        deadline = time.monotonic() + MEND_S
        while True:
            try:
                return super().request(method, path, headers=headers, **request)
            except (ApiError, NoAnswer) as error:
                is_lasting = isinstance(error, ApiError) and error.status not in MENDED
                if is_lasting or time.monotonic() > deadline:
                    raise
                self.repeated += 1
                time.sleep(0.2)


def say(text: str) -> None:
    """A line, at once."""
    print(text.replace("[bold]", "").replace("[/bold]", ""), flush=True)


@contextlib.contextmanager
def balanced(group: Sequence[Replica], folder: Path, *, use_haproxy: bool) -> Iterator[str]:
    """The address of a balancer before the replicas."""
    if use_haproxy:
        proxy = HAProxy(group, folder)
        with proxy.running():
            yield proxy.url
        return
    balancer = Balancer([replica.port for replica in group])
    with balancer.running():
        while balancer.ready < len(group):
            time.sleep(0.05)
        yield balancer.url


def killed_after(replica: Replica, calls: int) -> Callable[[int], None]:
    """A function that kills the replica when it was called so often."""
    done, lock = 0, threading.Lock()

    def count(number: int) -> None:
        nonlocal done
        with lock:
            is_due, done = done < calls <= done + number, done + number
        if is_due:
            replica.kill()
            say(f"  {replica.name} (process {replica.pid}) was killed with SIGKILL")

    return count


def run(group: Sequence[Replica], client: PatientClient, repeats: int) -> None:
    """The main job, with a kill in the upload and one in the teaching."""
    examples = steps.find_examples(steps.SAMPLES)
    begin = time.monotonic()
    done, stored = steps.upload(
        client, examples, on_done=killed_after(group[0], len(examples) // 3)
    )
    say(
        f"Embedded and stored {done.sent + done.known} frames in {time.monotonic() - begin:.1f} s "
        f"through the balancer, {len(done.problems)} refused; {len(stored)} are in the database, "
        f"{len(examples)} were sent"
    )
    group[0].start()
    group[0].wait_until_ready()
    say(f"  {group[0].name} was started again: it needs nothing but the database")
    say(steps.search(client, stored))
    kill = killed_after(group[1], 2)
    for line in steps.teach(client, stored, labelled=SHOTS, repeats=repeats, on_done=kill):
        say(line)
    names = {found.name for found in client.classifiers()}
    say(
        f"{len(names)} classifiers were fitted and {client.repeated} requests repeated; "
        f"{group[0].name} answers alone now: {client.ready().status}"
    )


def main() -> None:
    """Start everything, run the job, remove everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own-balancer", action="store_true", help="even if HAProxy is installed")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="random choices of labels")
    parser.add_argument("--bundle", type=Path, help="encoder bundle; the shipped one without it")
    arguments = parser.parse_args()
    use_haproxy = has_haproxy() and not arguments.own_balancer
    settings = SETTINGS | ({"BUNDLE_DIR": str(arguments.bundle)} if arguments.bundle else {})
    end_in_order()
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="sp-demo-"))
        server = stack.enter_context(postgres_process())
        catalog, key = new_postgres_catalog(server)
        spent_s = time.monotonic() - begin
        say(f"PostgreSQL with pgvector runs, and its tables are made ({spent_s:.1f} s)")
        group = stack.enter_context(replicas(COUNT, settings | catalog, Path(scratch)))
        url = stack.enter_context(balanced(group, Path(scratch), use_haproxy=use_haproxy))
        kind = "HAProxy" if use_haproxy else "a small balancer"
        spent_s = time.monotonic() - begin
        say(f"{COUNT} replicas of the service are ready behind {kind} at {url} ({spent_s:.1f} s)")
        with PatientClient(url, key=key) as client:
            run(group, client, arguments.repeats)
    say("Everything was removed. docs/operators.md tells how to run it for good.")


if __name__ == "__main__":
    main()
