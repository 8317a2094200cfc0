"""Memories hold real rows in the order they came, and heads predict on the teacher's grid."""

import pytest
import torch

from service.errors import InputError
from training.distil.distillation_model import DistillationModel, MemoryBank
from training.networks.backbones import build_student, choose_trained, train_mode
from training.networks.config import StudentConfig


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return 3 + 2 * torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


def test_a_memory_starts_full_of_standardised_real_rows() -> None:
    memory_bank = MemoryBank(5, 8)
    memory_bank.fill(rows(50))
    standard = memory_bank(rows(50))
    torch.testing.assert_close(standard.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    # A small constant is added to every spread, hence the tolerance.
    torch.testing.assert_close(standard.std(0, correction=0), torch.ones(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(memory_bank.queue_KD, standard[-8:])


def test_the_oldest_rows_leave_first() -> None:
    memory_bank = MemoryBank(5, 8)
    memory_bank.fill(rows(8))
    start = memory_bank.queue_KD.clone()
    first, second = rows(3, seed=1), rows(6, seed=2)
    memory_bank.push(first)
    torch.testing.assert_close(memory_bank.queue_KD[3:], start[3:])
    memory_bank.push(second)
    kept = torch.cat(
        [
            memory_bank.queue_KD[int(memory_bank.cursor) :],
            memory_bank.queue_KD[: int(memory_bank.cursor)],
        ]
    )
    torch.testing.assert_close(kept, torch.cat([first[1:], second]))
    memory_bank.push(rows(20, seed=3))
    assert {tuple(row) for row in memory_bank.queue_KD.tolist()} == {
        tuple(row) for row in rows(20, seed=3)[-8:].tolist()
    }


def test_a_queue_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(InputError, match="at least 8 rows"):
        MemoryBank(5, 8).fill(rows(7))


def test_heads_predict_each_teacher_on_its_own_grid() -> None:
    student = build_student(StudentConfig("test_resnet", "random"))
    model = DistillationModel(student, [(7, (3, 5, 5)), (4, (2, 2, 2))], dense=True)
    (first, second), contrastive, read = model(torch.rand(2, 3, 64, 64))
    assert contrastive == read == []
    assert first.pooled_BD.shape == (2, 7)
    assert first.dense_BEhw.shape == (2, 3, 5, 5)
    assert second.pooled_BD.shape == (2, 4)
    assert second.dense_BEhw.shape == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("train", "learning"),
    [
        ("all", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
        ("stage3+4", {"layer3", "layer4"}),
        ("stage4", {"layer4"}),
    ],
)
def test_only_the_chosen_parts_learn_and_only_their_norms_move(
    train: str, learning: set[str]
) -> None:
    config = StudentConfig("test_resnet", "random", train=train)
    student = build_student(config)
    choose_trained(student, config)
    train_mode(student, config)
    found = {name.split(".")[1] for name, p in student.named_parameters() if p.requires_grad}
    assert found == learning
    before = {name: value.clone() for name, value in student.named_buffers()}
    student(torch.rand(2, 3, 64, 64))
    moved = {
        name.split(".")[1]
        for name, value in student.named_buffers()
        if not torch.equal(value, before[name])
    }
    assert moved == learning  # its stem is deep: conv1 holds norms of its own


def test_frozen_norms_do_not_move() -> None:
    config = StudentConfig("test_resnet", "random", train="all", freeze_norms=True)
    student = build_student(config)
    train_mode(student, config)
    before = {name: value.clone() for name, value in student.named_buffers()}
    student(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in student.named_buffers())
