"""The networks run with the lowest and the highest ONNX Runtime that pyproject.toml allows."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "fixtures" / "bundle_v1"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# ``load_encoder`` compares the embeddings with the golden ones.
PROGRAM = f"""
from pathlib import Path
import numpy as np, onnx, onnxruntime
from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.embedding.encoder import load_encoder
from service.embedding.onnx_session import open_text_finder
from service.imaging.analysis.preprocess import preprocess
from training.bundle.onnx_graph import padded_pools

print(onnxruntime.__version__)
frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.uint8)
for folder in (SHIPPED_BUNDLE, Path({str(TINY)!r})):
    for precision, name in read_manifest(folder).networks.items():
        if not padded_pools(onnx.load(folder / name).graph):  # opens without our options too
            onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        encoder = load_encoder(folder, precision=precision, threads=1)
        embeddings, maps = encoder.encode_mapped(preprocess(frames, encoder.spec))
        means = maps.mean((2, 3))
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        assert (means * embeddings).sum(1).min() > 0.999, "the maps are not those of the embedding"
open_text_finder()
print("runs")
"""


def allowed() -> Requirement:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = map(Requirement, project["dependencies"])
    return next(requirement for requirement in named if requirement.name == "onnxruntime")


@pytest.fixture(scope="module")
def versions() -> list[Version]:
    """Those on the index that are allowed and have a wheel for this interpreter, ascending."""
    listed = subprocess.run(
        [*PIP, "index", "versions", "onnxruntime"], capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("no package index is reachable")
    _, _, names = listed.stdout.partition("Available versions:")
    found = sorted(map(Version, names.splitlines()[0].replace(" ", "").split(",")))
    return [version for version in found if version in allowed().specifier]


@pytest.mark.slow
@pytest.mark.parametrize("end", [0, -1], ids=["lowest", "highest"])
def test_the_shipped_networks_run_at_both_ends_of_the_range(
    versions: list[Version], end: int, tmp_path: Path
) -> None:
    wanted = ("install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", tmp_path)
    subprocess.run([*PIP, *wanted, f"onnxruntime=={versions[end]}"], check=True)
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == [str(versions[end]), "runs"], ran.stderr[-2000:]
