"""Distillation losses: pure functions in float32, with gradients for the student only.

Every function detaches the teacher and leaves autocast, so that half precision in the networks
never reaches a softmax or a norm.

The one loss without a teacher is ``contrastive_loss``: two views of a frame teach each other.

Shape suffixes: B batch, D target width, K queued teacher rows, L places of a map.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

from service.errors import InputError

TEMPERATURE = 0.07  # as in MoCo (He et al. 2020) and the open distillation recipes since


def cosine_distillation(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """1 - mean cosine, in [0, 2]; scalar. The teacher carries no gradient."""
    student_BD, teacher_BD = _aligned(student_BD, teacher_BD)
    with torch.autocast(student_BD.device.type, enabled=False):
        cosine_B = functional.cosine_similarity(student_BD, teacher_BD, dim=-1)
        return 1 - cosine_B.mean()


def smooth_l1_distillation(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Mean Huber loss (beta 1) on standardised targets, at least 0; scalar (Theia, 2024)."""
    student_BD, teacher_BD = _aligned(student_BD, teacher_BD)
    with torch.autocast(student_BD.device.type, enabled=False):
        return functional.smooth_l1_loss(student_BD, teacher_BD, beta=1.0)


def distillation(student_BD: Tensor, teacher_BD: Tensor, *, cosine_weight: float = 0.9) -> Tensor:
    """Weighted sum of cosine and smooth-L1; scalar.

    Raises:
        InputError: the shapes differ.
    """
    cosine = cosine_distillation(student_BD, teacher_BD)
    smooth = smooth_l1_distillation(student_BD, teacher_BD)
    total: Tensor = cosine_weight * cosine + (1 - cosine_weight) * smooth
    return total


def queue_distillation(
    student_BD: Tensor, teacher_BD: Tensor, queue_KD: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """KL(teacher || student) of the softmaxed cosines to earlier teacher rows, at least 0; scalar.

    The student need not copy the teacher's coordinates, only how like each row of the queue an
    image is (SEED, Fang et al. 2021, eq. 4, with both sides in the teacher's space).

    Args:
        queue_KD: rows of other views, all of them real: a row of zeros is a false neighbour.

    Raises:
        InputError: the shapes do not fit, the queue is empty, or the temperature is not positive.
    """
    student_BD, teacher_BD = _aligned(student_BD, teacher_BD)
    if queue_KD.ndim != 2 or len(queue_KD) == 0 or queue_KD.shape[1] != teacher_BD.shape[1]:
        raise InputError(
            f"expected a queue (K, {teacher_BD.shape[1]}) of at least one row, "
            f"got {tuple(queue_KD.shape)}"
        )
    _check_temperature(temperature)
    with torch.autocast(student_BD.device.type, enabled=False):
        keys_KD = _unit(queue_KD.detach().float())
        student_BK = _unit(student_BD) @ keys_KD.T / temperature
        teacher_BK = _unit(teacher_BD) @ keys_KD.T / temperature
        return _divergence(student_BK, teacher_BK).mean()


def relational_distillation(
    student_BDL: Tensor, teacher_BDL: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """KL of how each place of an image resembles its other places, at least 0; scalar.

    Only relations inside one image are compared, so both sides may have any width D. A place is
    not compared with itself: that similarity is 1 on both sides and would rule the softmax.

    Args:
        student_BDL: a feature map with its places flattened.
        teacher_BDL: of the same views on the same grid; its D may differ.

    Raises:
        InputError: the grids differ, have fewer than 2 places, or the temperature is not positive.
    """
    same_grid = student_BDL.shape[::2] == teacher_BDL.shape[::2]
    if student_BDL.ndim != 3 or teacher_BDL.ndim != 3 or not same_grid:
        raise InputError(
            f"expected maps on one grid, got {tuple(student_BDL.shape)} "
            f"and {tuple(teacher_BDL.shape)}"
        )
    if student_BDL.shape[2] < 2:
        raise InputError("expected at least 2 places to relate")
    _check_temperature(temperature)
    with torch.autocast(student_BDL.device.type, enabled=False):
        student_BLL = _relations(student_BDL.float()) / temperature
        teacher_BLL = _relations(teacher_BDL.detach().float()) / temperature
        return _divergence(student_BLL, teacher_BLL).mean()


def contrastive_loss(first_BD: Tensor, second_BD: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent of two views of B frames, above 0; scalar (SimCLR, Chen et al. 2020, eq. 1).

    Every view looks for the other view of its frame among all other views of the batch, by
    cosine; log(2 B - 1) is what guessing costs. Both sides carry the gradient.

    Raises:
        InputError: the shapes differ, a batch of fewer than 2 frames, or the temperature is not
            positive.
    """
    if first_BD.shape != second_BD.shape or len(first_BD) < 2:
        raise InputError(
            f"expected two views of at least 2 frames, got {tuple(first_BD.shape)} "
            f"and {tuple(second_BD.shape)}"
        )
    _check_temperature(temperature)
    with torch.autocast(first_BD.device.type, enabled=False):
        unit_ND = _unit(torch.cat([first_BD, second_BD]).float())
        logits_NN = unit_ND @ unit_ND.T / temperature
        logits_NN.fill_diagonal_(float("-inf"))  # no view finds itself
        partner_N = torch.arange(len(unit_ND), device=unit_ND.device).roll(len(first_BD))
        return functional.cross_entropy(logits_NN, partner_N)


def _relations(maps_BDL: Tensor) -> Tensor:
    """Cosines between the places of each image, own place left out: (B, L, L - 1)."""
    unit_BDL = functional.normalize(maps_BDL, dim=1)
    cosine_BLL = unit_BDL.transpose(1, 2) @ unit_BDL
    batch, places, _ = cosine_BLL.shape
    # Flat, the diagonal lies every L + 1 entries: drop the first and cut it off each row.
    flat = cosine_BLL.flatten(1)[:, 1:].reshape(batch, places - 1, places + 1)
    return flat[:, :, :-1].reshape(batch, places, places - 1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) over the last axis, which is summed away."""
    wanted, given = teacher.log_softmax(-1), student.log_softmax(-1)
    return (wanted.exp() * (wanted - given)).sum(-1)


def _unit(rows_BD: Tensor) -> Tensor:
    return functional.normalize(rows_BD, dim=-1)


def _check_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise InputError(f"expected a temperature above 0, got {temperature}")


def _aligned(student_BD: Tensor, teacher_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32, the teacher without gradient."""
    if student_BD.shape != teacher_BD.shape:
        raise InputError(f"expected {tuple(teacher_BD.shape)}, got {tuple(student_BD.shape)}")
    return student_BD.float(), teacher_BD.detach().float()
