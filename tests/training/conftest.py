"""Toy features and a small manifest of simulated frames."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.catalogue.simulator import write_samples
from training.evaluation.protocol import LabelledSet
from training.networks.lite_trunk import ARCHITECTURE as LITE
from training.networks.timm_models import create

CLASSES, GROUPS, PER_GROUP, WIDTH = ("a", "b", "c"), 12, 2, 8
COLUMNS = ("path", "use", "dataset", "label", "group", "split", "licence", "label_conflict")


@pytest.fixture
def labelled() -> LabelledSet:
    """Three classes of twelve groups of two frames; no split of its own."""
    labels = np.repeat(CLASSES, GROUPS * PER_GROUP)
    groups = [f"g{number // PER_GROUP}" for number in range(len(labels))]
    return LabelledSet("toy", labels, np.array(groups), np.zeros(len(labels), bool))


@pytest.fixture
def knowing(labelled: LabelledSet) -> np.ndarray:
    """Features that know the class, with a little noise."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(labelled.labels_N), WIDTH))
    noise[:, : len(CLASSES)] += labelled.labels_N[:, None] == np.array(CLASSES)
    return noise


@pytest.fixture
def blind(labelled: LabelledSet) -> np.ndarray:
    """Features that know nothing."""
    return np.random.default_rng(1).normal(size=(len(labelled.labels_N), WIDTH))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated frames: ``lesions`` (bench), ``lung`` (bench, support in the corpus), corpus.

    The last row of ``lesions`` carries a conflicting label and must be left out.
    """
    folder = tmp_path_factory.mktemp("frames")
    rows: list[list[str]] = []
    for file in write_samples(folder, per_class=12):
        scene, number = file.parent.name, int(file.stem.rsplit("_", 1)[1])
        name = str(file.relative_to(folder))
        if scene in ("cyst", "stone", "mass"):
            rows.append([name, "bench", "lesions", scene, f"{scene}{number}", "", "CC0", "0"])
        elif scene in ("a_lines", "b_lines"):
            use = "corpus" if number < 6 else "bench"
            rows.append([name, use, "lung", scene, f"{scene}{number // 2}", "", "CC0", "0"])
        else:
            rows.append([name, "corpus", "plain", "", "", "", "CC0", "0"])
    first = next(row[0] for row in rows if row[2] == "lesions")
    rows.append([first, "bench", "lesions", "mass", "other", "", "CC0", "1"])
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path


@pytest.fixture(scope="session")
def lite_network() -> Any:
    """EfficientNet-Lite2 as timm builds it, with norms that are no identity."""
    torch.manual_seed(0)
    network = create(LITE, "random").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


@pytest.fixture(scope="session")
def lite_weights(lite_network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights under the names of EfficientNet-PyTorch, with a classifier."""
    path = tmp_path_factory.mktemp("weights") / "lite2.pth"
    stored = {"_fc.weight": torch.zeros(3, 1280), "_fc.bias": torch.zeros(3)}
    layers = {"conv_pw": "_expand_conv", "conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv"}
    norms = {"bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    number = {(0, 0): 0}
    for name in lite_network.state_dict():
        if name.startswith("blocks."):
            stage, place = (int(part) for part in name.split(".")[1:3])
            number.setdefault((stage, place), len(number))
    for name, values in lite_network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            place = (int(parts[1]), int(parts[2]))
            layer = (first if parts[1] == "0" else layers | norms)[parts[3]]
            stored[f"_blocks.{number[place]}.{layer}.{parts[4]}"] = values
        else:
            stored[f"{outside[parts[0]]}.{parts[1]}"] = values
    torch.save(stored, path)
    return path
