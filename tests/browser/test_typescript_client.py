"""The TypeScript client in Node against a real service; the console tests it in a browser."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from service.cli.demo import SAMPLES
from service.server import LocalService
from sonoprobe_client import Client
from sonoprobe_client.bodies import LabelledExample

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/typescript"
ADDRESS = "http://127.0.0.1:8000"
MAX_BYTES = 1_500_000


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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder into which the package was installed as npm packs it."""
    packed, folder = tmp_path_factory.mktemp("packed"), tmp_path_factory.mktemp("project")
    subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", packed], cwd=CLIENT, check=True
    )
    (package,) = packed.glob("*.tgz")
    (folder / "package.json").write_text('{"type": "module"}')
    started = time.perf_counter()
    subprocess.run(["npm", "install", "--silent", package], cwd=folder, check=True)
    seconds = time.perf_counter() - started
    modules = folder / "node_modules"
    size = sum(file.stat().st_size for file in modules.rglob("*") if file.is_file())
    packages = sorted(p.name for p in modules.iterdir() if not p.name.startswith("."))
    print(json.dumps({"install_s": round(seconds, 1), "mb": round(size / 1e6, 2)}), packages)
    return folder


def compiled(project: Path, name: str, *options: str) -> None:
    """Type-check a program as the strictest user does, and compile it unless told otherwise."""
    strict = ["--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"]
    strict += ["--skipLibCheck", "false", "--target", "es2022", "--module", "nodenext"]
    command = [CLIENT / "node_modules/.bin/tsc", *strict, "--lib", "es2022,dom,dom.iterable"]
    done = subprocess.run(
        [*command, *options, name], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_installed_package_is_small_and_brings_no_tools(project: Path) -> None:
    modules = project / "node_modules"
    installed = {path.name for path in modules.iterdir() if not path.name.startswith(".")}
    assert installed == {"sonoprobe-client", "openapi-fetch", "openapi-typescript-helpers"}
    size = sum(file.stat().st_size for file in modules.rglob("*") if file.is_file())
    assert size < MAX_BYTES
    assert not (modules / "sonoprobe-client").is_symlink()


def test_strict_users_of_the_package_pass_the_type_check(project: Path) -> None:
    (project / "use.ts").write_text(
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
    compiled(project, "use.ts", "--noEmit")


# What the sample of the README supposes: files of its reader, and someone who stops it.
SUPPOSED = """
declare const files: File[];
declare const file: File;
declare const jpeg: Uint8Array;
declare const process: { env: Record<string, string | undefined> };
"""
READER = """
import { readFileSync, readdirSync } from "node:fs";
const folder = process.env.FOLDER;
const names = readdirSync(folder).sort();
globalThis.files = names.map((name) => new File([readFileSync(`${folder}/${name}`)], name));
globalThis.file = globalThis.files[0];
globalThis.jpeg = readFileSync(`${folder}/${names[0]}`);
const log = console.log;
console.log = (...said) => {
  log(...said);
  if (said[0]?.type === "decision") process.exit(0);
};
"""


def test_the_sample_of_the_readme_passes_the_type_check_and_runs(
    local: LocalService, project: Path, tmp_path: Path
) -> None:
    (sample,) = re.findall(r"^```ts\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.M | re.S)
    (project / "sample.ts").write_text(SUPPOSED + sample.replace(ADDRESS, local.url))
    (project / "reader.mjs").write_text(READER)
    compiled(project, "sample.ts")
    with Client(local.url, key=local.key) as client:
        client.create_collection("liver")
        frames = {s: sorted((SAMPLES / s).glob("*.png"))[:5] for s in ("cyst", "mass")}
        examples: list[LabelledExample] = [
            {"label": s} for s, found in frames.items() for _ in found
        ]
        client.fit_images("finding", [f for found in frames.values() for f in found], examples)
        for file in frames["cyst"]:
            shutil.copy(file, tmp_path)
        program = ["node", "--experimental-websocket", "--import", "./reader.mjs", "sample.js"]
        environment = {**os.environ, "SONOPROBE_KEY": local.key, "FOLDER": str(tmp_path)}
        done = subprocess.run(
            program, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "5 of 5" in done.stdout
        assert client.collection("liver").scans == 5
