"""Teachers load strictly, are normalised as they were trained, and see whole patches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec
from training.networks.backbones import build_student
from training.networks.config import IMAGENET_MEAN, IMAGENET_STD, StudentConfig, TeacherConfig
from training.networks.student import Trunk
from training.networks.teacher import build_teacher
from training.networks.timm_models import create

HALF = (0.5, 0.5, 0.5)
IMAGENET = PreprocessSpec(64, IMAGENET_MEAN, IMAGENET_STD)
CENTRED = PreprocessSpec(64, HALF, HALF)
DINOV3 = (("depth", 2), ("embed_dim", 32), ("num_heads", 2))


@pytest.fixture(scope="module")
def view() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def stored(network: nn.Module, path: Path) -> Path:
    save_file({name: value.half() for name, value in network.state_dict().items()}, path)
    return path


def test_a_local_file_gives_the_weights_that_were_saved(view: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = stored(create("test_vit", "random"), tmp_path / "vit.safetensors")
    first = build_teacher(TeacherConfig("test_vit", str(path), (1, 5)), CENTRED)
    torch.manual_seed(1)
    second = build_teacher(TeacherConfig("test_vit", str(path), (1, 5)), CENTRED)
    seen = first.observe(view)
    assert seen.pooled_BD.shape == (2, 2 * 2 * 64)
    assert seen.dense_BEhw.shape == (2, 64, 4, 4)
    torch.testing.assert_close(seen.pooled_BD, second.observe(view).pooled_BD)
    torch.testing.assert_close(seen.pooled_BD[:, -64:], seen.dense_BEhw.mean((2, 3)))


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "bytes", "none"])
def test_a_file_that_is_not_exactly_the_network_is_refused(damage: str, tmp_path: Path) -> None:
    state = create("test_vit", "random").state_dict()
    if damage == "missing":
        del state["norm.weight"]
    elif damage == "extra":
        state["another"] = torch.zeros(1)
    elif damage == "shape":
        state["norm.weight"] = torch.zeros(3)
    path = tmp_path / "vit.safetensors"
    if damage != "none":
        save_file(state, path)
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"vit\.safetensors"):
        build_teacher(TeacherConfig("test_vit", str(path), (5,)), CENTRED)


def test_an_undeclared_difference_of_normalisation_is_an_error_that_names_both() -> None:
    with pytest.raises(InputError, match=r"0\.5.*0\.485.*state mean and std"):
        build_teacher(TeacherConfig("test_vit", "random"), IMAGENET)


def test_a_stated_normalisation_is_used_and_a_strange_one_is_logged(
    view: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    meant = TeacherConfig("test_vit", "random", mean=HALF, std=HALF)
    assert build_teacher(meant, IMAGENET).spec == CENTRED
    assert not caplog.records
    strange = TeacherConfig("test_vit", "random", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    teacher = build_teacher(strange, IMAGENET)
    assert "otherwise than timm declares" in caplog.text
    planes = (view - torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1)) / torch.tensor(
        IMAGENET_STD
    ).reshape(3, 1, 1)
    torch.testing.assert_close(teacher.observe(view).pooled_BD, teacher(planes))


@pytest.mark.parametrize(("student_px", "patch_px", "expected"), [(224, 14, 224), (256, 14, 252)])
def test_a_view_is_resized_to_whole_patches(
    student_px: int, patch_px: int, expected: int, view: torch.Tensor
) -> None:
    options = (("patch_size", patch_px), ("depth", 1), ("dynamic_img_size", True))
    config = TeacherConfig("test_vit", "random", mean=HALF, std=HALF, options=options)
    teacher = build_teacher(config, PreprocessSpec(student_px, HALF, HALF))
    assert teacher.spec.side_px == expected
    assert teacher.observe(view).dense_BEhw.shape[2:] == (expected // patch_px,) * 2


def test_a_side_in_broken_patches_is_refused() -> None:
    with pytest.raises(InputError, match="whole patches of 16"):
        build_teacher(TeacherConfig("test_vit", "random", side_px=60), CENTRED)


def test_dinov3_reads_rotary_blocks_without_its_registers(view: torch.Tensor) -> None:
    config = TeacherConfig("vit_small_patch16_dinov3", "random", (0, 1), options=DINOV3)
    teacher = build_teacher(config, IMAGENET)
    assert teacher.network.num_prefix_tokens == 5
    assert teacher.shapes() == (4 * 32, (32, 4, 4))
    output = teacher.observe(view)
    torch.testing.assert_close(output.pooled_BD[:, -32:], output.dense_BEhw.mean((2, 3)))


def test_a_convnet_teaches_by_its_pooled_stages(view: torch.Tensor) -> None:
    config = TeacherConfig("test_resnet", "random", blocks=(3, 4))
    assert build_teacher(config, CENTRED).observe(view).pooled_BD.shape == (2, 192 + 96)


@pytest.mark.parametrize("architecture", ["resnetv2_50", "test_resnet"])
def test_a_copy_of_the_student_stays_as_the_student_was(
    architecture: str, view: torch.Tensor
) -> None:
    torch.manual_seed(0)
    student = build_student(StudentConfig(architecture, "random"))
    teacher = build_teacher(TeacherConfig("imagenet_trunk"), IMAGENET, student=student)
    before = teacher.observe(view).pooled_BD
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(teacher.observe(view).pooled_BD, before)
    assert teacher.train().network.training is False


@pytest.mark.parametrize(
    "config",
    [
        TeacherConfig("no_such_network", "random"),
        TeacherConfig("test_vit", ""),
        TeacherConfig("test_vit", "random", blocks=(6,)),
        TeacherConfig("imagenet_trunk"),
    ],
    ids=["architecture", "weights", "block", "student"],
)
def test_a_teacher_that_cannot_be_built_says_why(config: TeacherConfig) -> None:
    with pytest.raises(InputError):
        build_teacher(config, CENTRED)


def test_a_student_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ConvNet"):
        build_student(StudentConfig("test_vit", "random"))
    path = stored(create("test_resnet", "random"), tmp_path / "small.safetensors")
    with pytest.raises(InputError, match="does not hold the weights of resnet14t"):
        build_student(StudentConfig("resnet14t", str(path)))
    assert isinstance(build_student(StudentConfig("resnetv2_50", "random")), Trunk)


HUB_CONFIG = """
from training.distil.config import DistillConfig
from training.networks.config import StudentConfig, TeacherConfig


def config():
    return DistillConfig(
        mode="online", batch=2, steps=1, student=StudentConfig("test_resnet", "random", "all"),
        teachers=(TeacherConfig("test_vit", "hf-hub:timm/test_vit.r160_in1k"),),
    )
"""


def test_a_hub_out_of_reach_is_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text(HUB_CONFIG)
    command = [sys.executable, "-m", "training", "distil", "--config", str(config)]
    done = subprocess.run(
        [*command, "--simulated", "--limit", "6", "--run", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 1
    assert "test_vit.r160_in1k cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
