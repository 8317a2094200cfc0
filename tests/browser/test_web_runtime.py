"""The shipped networks in onnxruntime-web, for programs that embed in the browser."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from service.embedding.bundle import GOLDEN_NAME, SHIPPED_BUNDLE, read_manifest
from service.imaging.analysis.preprocess import normalise

pytestmark = pytest.mark.browser
PROGRAM = Path(__file__).with_name("web_runtime.mjs")


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_web_runtime_gives_the_golden_embeddings(precision: str, tmp_path: Path) -> None:
    manifest = read_manifest(SHIPPED_BUNDLE)
    golden = np.load(SHIPPED_BUNDLE / GOLDEN_NAME)
    inputs = normalise(golden["frames_TSS"], manifest.spec)
    frames = tmp_path / "frames.f32"
    inputs.astype("<f4").tofile(frames)
    network = SHIPPED_BUNDLE / manifest.networks[precision]
    command = ["node", str(PROGRAM), str(network), str(frames)]
    command += [str(len(inputs)), str(manifest.spec.side_px)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found_TD = np.reshape(json.loads(done.stdout), (len(inputs), manifest.dim))
    cosine_T = (found_TD * golden[f"embeddings_{precision}_TD"]).sum(1)
    assert cosine_T.min() >= manifest.golden_cosine[precision]["onnxruntime-web"]
