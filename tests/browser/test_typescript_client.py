"""The TypeScript client in Node against a real service; the console tests it in a browser."""

import filecmp
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.cli.demo import SAMPLES
from service.server import LocalService

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/typescript"


def test_it_uploads_fits_predicts_and_repeats(local: LocalService, tmp_path: Path) -> None:
    for label in ("cyst", "mass"):
        (tmp_path / label).mkdir()
        for file in sorted((SAMPLES / label).glob("*.png"))[:5]:
            shutil.copy(file, tmp_path / label)
    environment = {**os.environ, "URL": local.url, "KEY": local.key, "FOLDER": str(tmp_path)}
    command = ["node", "--experimental-websocket", "--test", "tests/"]  # Node 22 has it
    done = subprocess.run(
        command, cwd=CLIENT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 11" in done.stdout


def test_the_console_has_the_client_as_it_is_built() -> None:
    for file in (ROOT / "service/console/client").iterdir():
        assert filecmp.cmp(file, CLIENT / "dist" / file.name, shallow=False), "run `make client`"


def test_strict_users_of_the_package_pass_the_type_check(tmp_path: Path) -> None:
    (tmp_path / "use.ts").write_text(
        """
import { SonoprobeClient, raiseForItems, type Schemas } from "sonoprobe-client";
const client = new SonoprobeClient({ url: "http://127.0.0.1:8000" });
const params = { path: { name: "x" } };
const { data } = await client.http.GET("/v1/classifiers/{name}", { params });
const version: number = data!.published_version;
const items: Schemas["AddedScan"][] = await client.addScans("c", [{ file: new Blob() }]);
raiseForItems({ items });
// @ts-expect-error: there is no such route
await client.http.GET("/v1/nothing");
console.log(version);
"""
    )
    (tmp_path / "package.json").write_text('{"type": "module"}')
    install = ["npm", "install", "--silent", "--no-save", str(CLIENT)]
    subprocess.run(install, cwd=tmp_path, check=True)
    options = ["--strict", "--noEmit", "--skipLibCheck", "false", "--target", "es2022"]
    options += ["--module", "nodenext", "--lib", "es2022,dom,dom.iterable"]
    compiler = CLIENT / "node_modules/.bin/tsc"
    done = subprocess.run(
        [str(compiler), *options, "use.ts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
