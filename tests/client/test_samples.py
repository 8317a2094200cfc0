"""The Python samples of the client's pages run as they stand, against a service with their names.

Only addresses and keys are put in. A sample may use what earlier ones of its page have made, as
readers do.
"""

import ast
import asyncio
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from token_issuer import TokenIssuer, token_issuer

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client
from sonoprobe_client.bodies import LabelledExample
from tests.client.pictures import frame, png
from tests.service.expected import BUNDLE

ROOT = Path(__file__).parents[2]
README = "clients/python/README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The pages whose samples are run here; the tutorial is run in tests/site.
PAGES = (README, "docs/stream.md", "docs/access.md")
RUN_ELSEWHERE = {"docs/tutorial.md"}


def samples(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text())


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def served(issuer: TokenIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    folder = tmp_path_factory.mktemp("samples")
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0, **issuer.settings())
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder where a reader tries the samples: frames of two classes, a new one, a key."""
    folder = tmp_path_factory.mktemp("reader")
    for n in range(12):
        file = folder / "frames" / ("cyst", "mass")[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(n))
    (folder / "new.png").write_bytes(png(20))
    (folder / "key.pem").write_bytes(ECKey.generate_key("P-384").as_pem(private=True))
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def with_addresses(sample: str, served: LocalService, issuer: TokenIssuer) -> str:
    """The sample with the service of the test in the place of those that the pages name."""
    for address in ("http://127.0.0.1:8000", "https://sonoprobe.[a-z.]*example[a-z.]*"):
        sample = re.sub(f'"{address}"', f'"{served.url}"', sample)
    for address in ("https://id.hospital.example", "https://login.example.org"):
        sample = sample.replace(f'"{address}"', f'"{issuer.url}"')
    return sample.replace('"sp_..."', repr(served.key))


def run(sample: str, names: dict[str, Any]) -> None:
    """Run a sample, which may wait at its top level as in a notebook."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(sample, "sample", "exec", flags=flags, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


def test_every_page_with_samples_is_run_somewhere() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / README]
    found = {str(page.relative_to(ROOT)) for page in pages if BLOCK.search(page.read_text())}
    assert found == {*PAGES, *RUN_ELSEWHERE}


def test_the_samples_of_the_client_run(
    served: LocalService, issuer: TokenIssuer, reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, waiting, live, operation, machine = samples(README)
    names: dict[str, Any] = {"camera": [frame(n) for n in range(3)]}
    with Client(served.url, key=served.key) as client:
        for sample in (first, waiting, live):
            run(with_addresses(sample, served, issuer), names)
        printed = capsys.readouterr().out
        assert re.search(r"^12 12$", printed, re.MULTILINE)  # the progress of the upload
        assert re.search(r"^(cyst|mass|abstained|called) ", printed, re.MULTILINE)
        scan = next(client.scans("liver"))
        client.label("liver", scan.scan_id, "finding", None)  # something for the refit to learn
        run(with_addresses(operation, served, issuer), names | {"client": client})
        assert client.classifier("finding").latest_version == 2
        run(with_addresses(machine, served, issuer), names)
        with names["client"] as signed_in:
            assert signed_in.me().kind == "token"
        names["login"].close()


def test_the_sample_of_streams_runs(
    served: LocalService, issuer: TokenIssuer, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(served.url, key=served.key) as client:
        examples: list[LabelledExample] = [{"label": "ab"[n % 2]} for n in range(12)]
        client.fit_images("lung", [png(n) for n in range(12)], examples)
    (sample,) = samples("docs/stream.md")
    run(with_addresses(sample, served, issuer), {"camera": [frame(1)], "key": served.key})
    label, held_s, _ = capsys.readouterr().out.split(maxsplit=2)
    assert (label, float(held_s)) == ("None", 0.0)  # an answer is given when it has stood


def test_the_sample_of_machines_runs(
    served: LocalService, issuer: TokenIssuer, reader: Path
) -> None:
    (sample,) = samples("docs/access.md")
    grants = issuer.grants
    names: dict[str, Any] = {"key_file": reader / "key.pem"}
    run("from sonoprobe_client import Client, MachineLogin\n", names)
    run(with_addresses(sample, served, issuer), names)
    names["login"].close()
    assert issuer.grants == grants + 1
