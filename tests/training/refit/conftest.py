"""A bundle of the shipped trunk without a second network, as the training of a trunk wants it."""

from pathlib import Path

import numpy as np
import pytest

from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from training.bundle.deploy import assemble
from training.bundle.export import ExportFacts, write_golden, write_manifest
from training.bundle.onnx_branches import maps_on_request
from training.bundle.onnx_files import write_fp32
from training.bundle.recovered import read_networks
from training.networks.readout import WIDTH_TO_STAGE3, Readout


@pytest.fixture(scope="session")
def trunk_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trunk")
    shipped = read_manifest(SHIPPED_BUNDLE)
    found = read_networks(SHIPPED_BUNDLE / shipped.networks["fp16"])
    weights_DK = np.ascontiguousarray(found.readout.weights_DK[:, :WIDTH_TO_STAGE3])
    student = assemble(found.trunk, Readout(weights_DK, found.readout.bias_D))
    networks = {"fp32": "encoder.fp32.onnx"}
    write_fp32(student.requires_grad_(False), shipped.spec.side_px, folder / networks["fp32"])
    maps_on_request(folder / networks["fp32"])
    write_golden(folder, networks, [np.full((64, 64), 90, np.uint8)], shipped.spec)
    about = {k: v for k, v in shipped.about.items() if k not in ("benchmark", "second_network")}
    facts = ExportFacts("9.9.8", False, (), "a teacher", "random weights")
    shape = shipped.feature_map
    write_manifest(folder, networks, shipped.spec, facts, about, shape, default="fp32")
    return folder
