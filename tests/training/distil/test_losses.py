"""The losses are zero where they should be, blind to what should not matter, and one-sided."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from service.errors import InputError
from training.distil.losses import (
    contrastive_loss,
    cosine_distillation,
    distillation,
    queue_distillation,
    relational_distillation,
    smooth_l1_distillation,
)

Loss = Callable[[Tensor, Tensor], Tensor]


def drawn(*shape: int, seed: int = 0, double: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64 if double else None)


def to_queue(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    return queue_distillation(student_BD, teacher_BD, drawn(9, student_BD.shape[1], seed=7))


LOSSES: dict[str, tuple[Loss, tuple[int, ...]]] = {
    "cosine": (cosine_distillation, (5, 6)),
    "smooth_l1": (smooth_l1_distillation, (5, 6)),
    "both": (distillation, (5, 6)),
    "queue": (to_queue, (5, 6)),
    "relations": (relational_distillation, (3, 4, 6)),
}
every_loss = pytest.mark.parametrize(("loss", "shape"), LOSSES.values(), ids=LOSSES)
SCALE_FREE = {name: LOSSES[name] for name in ("cosine", "queue", "relations")}


@every_loss
def test_equal_inputs_cost_nothing_and_others_something(loss: Loss, shape: tuple[int, ...]) -> None:
    same, other = drawn(*shape), drawn(*shape, seed=1)
    assert float(loss(same, same)) == pytest.approx(0, abs=1e-6)  # float32 rounding
    assert float(loss(same, other)) > 0.05


@every_loss
def test_only_the_student_gets_a_gradient(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = drawn(*shape).requires_grad_(), drawn(*shape, seed=1).requires_grad_()
    loss(student, teacher).backward()
    assert student.grad is not None
    assert float(student.grad.abs().sum()) > 0
    assert teacher.grad is None


@every_loss
def test_the_gradient_is_the_slope(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = drawn(*shape).requires_grad_(), drawn(*shape, seed=1)
    loss(student, teacher).backward()
    step = drawn(*shape, seed=2)
    assert student.grad is not None
    slope = float((student.grad * step).sum())
    h = 1e-2  # losses are float32: a smaller step would drown in rounding
    with torch.no_grad():
        rise = float(loss(student + h * step, teacher) - loss(student - h * step, teacher))
    assert rise / (2 * h) == pytest.approx(slope, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize(("loss", "shape"), SCALE_FREE.values(), ids=SCALE_FREE)
def test_lengths_do_not_matter_where_directions_are_compared(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    student, teacher = drawn(*shape), drawn(*shape, seed=1)
    lengths = torch.linspace(0.5, 2, len(student))
    scaled = student * lengths.reshape(-1, *[1] * (student.ndim - 1))
    torch.testing.assert_close(loss(scaled, 3 * teacher), loss(student, teacher))


@every_loss
def test_the_order_of_the_batch_does_not_matter(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = drawn(*shape), drawn(*shape, seed=1)
    torch.testing.assert_close(loss(student.flip(0), teacher.flip(0)), loss(student, teacher))
    assert float(loss(student.flip(0), teacher)) != pytest.approx(float(loss(student, teacher)))


@every_loss
def test_half_precision_inputs_give_a_float32_loss(loss: Loss, shape: tuple[int, ...]) -> None:
    student, teacher = drawn(*shape).bfloat16(), drawn(*shape, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(student, teacher)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, loss(student.float(), teacher.float()))


def test_orthogonal_rows_cost_one_and_opposite_rows_two() -> None:
    one, other = torch.eye(2), torch.eye(2).flip(0)
    assert float(cosine_distillation(one, other)) == pytest.approx(1)
    assert float(cosine_distillation(one, -one)) == pytest.approx(2)


def test_the_order_of_the_queue_does_not_matter() -> None:
    student, teacher, queue = drawn(4, 6), drawn(4, 6, seed=1), drawn(8, 6, seed=2)
    torch.testing.assert_close(
        queue_distillation(student, teacher, queue),
        queue_distillation(student, teacher, queue.flip(0)),
    )


def test_the_queue_loss_is_the_divergence_written_out_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    queue = torch.tensor([[5.0, 0.0], [0.0, 1.0]])
    p = torch.softmax(torch.tensor([0.0, 2.0]), 0)  # cosines 0 and 1 over a temperature of 0.5
    expected = (p * (p / p.flip(0)).log()).sum()
    torch.testing.assert_close(
        queue_distillation(student, teacher, queue, temperature=0.5), expected
    )


def test_relations_ignore_the_teachers_width_and_a_rotation_of_its_axes() -> None:
    student, teacher = drawn(2, 4, 9), drawn(2, 6, 9, seed=1)
    rotation, _ = torch.linalg.qr(drawn(6, 6, seed=2))
    turned = torch.einsum("de,bel->bdl", rotation, teacher)
    torch.testing.assert_close(
        relational_distillation(student, turned), relational_distillation(student, teacher)
    )


def test_moving_the_places_of_both_maps_alike_changes_nothing() -> None:
    student, teacher, order = drawn(2, 4, 9), drawn(2, 4, 9, seed=1), torch.arange(9).roll(2)
    moved = relational_distillation(student[:, :, order], teacher[:, :, order])
    torch.testing.assert_close(moved, relational_distillation(student, teacher))
    assert float(relational_distillation(student[:, :, order], student)) > 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: distillation(drawn(2, 3), drawn(2, 4)),
        lambda: queue_distillation(drawn(2, 3), drawn(2, 3), drawn(0, 3)),
        lambda: queue_distillation(drawn(2, 3), drawn(2, 3), drawn(4, 5)),
        lambda: queue_distillation(drawn(2, 3), drawn(2, 3), drawn(4, 3), temperature=0),
        lambda: relational_distillation(drawn(2, 3, 4), drawn(2, 3, 9)),
        lambda: relational_distillation(drawn(2, 3, 1), drawn(2, 3, 1)),
        lambda: relational_distillation(drawn(2, 3, 4), drawn(2, 3, 4), temperature=-1),
    ],
)
def test_shapes_that_do_not_fit_are_refused(wrong: Callable[[], Tensor]) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()


def contrastive(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    return contrastive_loss(first_BD, second_BD, temperature=0.2)


def test_views_that_find_their_other_view_cost_little_and_guessing_costs_its_logarithm() -> None:
    apart = torch.eye(6)
    assert float(contrastive(apart, apart)) < 0.1
    assert float(contrastive(apart, apart.roll(1, 0))) > 4
    alike = torch.ones(6, 3)
    assert float(contrastive(alike, alike)) == pytest.approx(math.log(11), abs=1e-5)


def test_views_are_compared_by_direction_and_neither_side_leads() -> None:
    first, second = drawn(5, 6), drawn(5, 6, seed=1)
    cost = float(contrastive(first, second))
    assert float(contrastive(3 * first, 0.2 * second)) == pytest.approx(cost, rel=1e-5)
    assert float(contrastive(second, first)) == pytest.approx(cost, rel=1e-5)


def test_both_views_learn_from_each_other() -> None:
    first, second = drawn(5, 6).requires_grad_(), drawn(5, 6, seed=1).requires_grad_()
    contrastive(first, second).backward()
    assert first.grad is not None
    assert second.grad is not None
    doubles = [drawn(3, 4, seed=n, double=True).requires_grad_() for n in (0, 1)]
    # The loss is computed in float32, so the differences must be wide and are rough.
    assert torch.autograd.gradcheck(contrastive, doubles, eps=1e-2, atol=2e-2, rtol=2e-2)


def test_one_frame_alone_has_nobody_to_be_told_from() -> None:
    with pytest.raises(InputError, match="at least 2 frames"):
        contrastive(drawn(1, 6), drawn(1, 6))
    with pytest.raises(InputError, match="two views"):
        contrastive(drawn(4, 6), drawn(3, 6))
