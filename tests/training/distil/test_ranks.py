"""Two processes on CPUs train as one: same losses, same weights, same queue."""

import dataclasses
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.errors import InputError
from training.distil.config import DistillConfig, LossConfig
from training.distil.loop import distil
from training.distil.ranks import Ranks, join_ranks, supports_bf16
from training.distil.sources import CachedSource
from training.distil.targets import Targets
from training.networks.backbones import build_student
from training.networks.config import StudentConfig, TeacherConfig

FROZEN = StudentConfig("test_resnet", "random", train="stage4", freeze_norms=True)
CONFIG = DistillConfig(
    batch=8,
    steps=5,
    student=FROZEN,
    teachers=(TeacherConfig("a"), TeacherConfig("b", weight=0.5)),
    losses=LossConfig(queue=1.0, relational=0.5, queue_rows=12, contrastive=0.5),
    views=3,
    bf16=False,
    checkpoint_every=2,
)


def targets() -> Targets:
    rng = np.random.default_rng(0)
    return Targets(
        rng.normal(size=(24, 192, 2, 2)).astype(np.float16),
        [rng.normal(size=(24, 10)).astype(np.float16) for _ in range(2)],
        [rng.normal(size=(24, 6, 3, 3)).astype(np.float16) for _ in range(2)],
        [(6, 3, 3)] * 2,
    )


def train(ranks: Ranks, run: Path) -> list[float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = build_student(CONFIG.student)
    return distil(student, CachedSource(targets(), CONFIG, ranks), CONFIG, run, ranks=ranks)


def one_of_two(rank: int, port: int, run: Path) -> None:
    os.environ.update(
        WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    with join_ranks() as ranks:
        train(ranks, run)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def checkpoint(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoint.pt", weights_only=True)
    return state


def test_two_processes_give_the_losses_weights_and_queue_of_one(tmp_path: Path) -> None:
    alone = train(Ranks(), tmp_path / "one")
    spawning = multiprocessing.get_context("spawn")
    port = free_port()
    started = [
        spawning.Process(target=one_of_two, args=(rank, port, tmp_path / "two"))
        for rank in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    assert two["losses"] == pytest.approx(alone, rel=1e-5)  # sums in another order
    for name, value in one["trunk"].items():
        torch.testing.assert_close(two["trunk"][name], value, rtol=1e-3, atol=1e-5)
    for name, value in one["contrastive_head"].items():
        torch.testing.assert_close(two["contrastive_head"][name], value, rtol=1e-3, atol=1e-5)
    for teacher in range(2):
        rows = [state["memory_banks"][f"{teacher}.queue_KD"] for state in (one, two)]
        torch.testing.assert_close(rows[1], rows[0])


def test_ranks_share_every_batch_without_overlap() -> None:
    shares = []
    for rank in range(2):
        source = CachedSource(targets(), CONFIG, Ranks(rank, 2))
        shares.append([source._sampler.rows(step).tolist() for step in range(4)])
    whole = CachedSource(targets(), CONFIG, Ranks())
    for step, (first, second) in enumerate(zip(*shares, strict=True)):
        assert not set(first) & set(second)
        assert sorted(first + second) == sorted(whole._sampler.rows(step).tolist())


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="3 processes can share, got 4"):
        CachedSource(targets(), CONFIG, Ranks(0, 3))


def test_learning_batch_norms_on_several_cpus_are_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, student=dataclasses.replace(FROZEN, freeze_norms=False))
    source = CachedSource(targets(), config, Ranks(0, 2))
    with pytest.raises(InputError, match="batch-norms cannot be synchronised on CPUs"):
        distil(build_student(config.student), source, config, tmp_path, ranks=Ranks(0, 2))


def test_bf16_follows_the_processor() -> None:
    found = torch.cpu.get_capabilities()
    native = bool(found.get("avx512_bf16")) or bool(found.get("amx_bf16"))
    assert supports_bf16(torch.device("cpu")) is native
