"""Distillation losses: pure, shaped, differentiable in the student only.

Shape suffixes: B batch, D target width.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor


def cosine_distillation(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """1 - mean cosine, in [0, 2]; scalar. The teacher carries no gradient."""
    cosine_B = functional.cosine_similarity(student_BD, teacher_BD.detach(), dim=-1)
    return 1 - cosine_B.mean()


def smooth_l1_distillation(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Mean Huber loss (beta 1) on standardised targets, at least 0; scalar (Theia, 2024)."""
    return functional.smooth_l1_loss(student_BD, teacher_BD.detach(), beta=1.0)


def distillation(student_BD: Tensor, teacher_BD: Tensor, *, cosine_weight: float = 0.9) -> Tensor:
    """Weighted sum of both; scalar.

    Raises:
        ValueError: the shapes differ.
    """
    if student_BD.shape != teacher_BD.shape:
        raise ValueError(f"expected {tuple(teacher_BD.shape)}, got {tuple(student_BD.shape)}")
    student_BD, teacher_BD = student_BD.float(), teacher_BD.float()
    cosine = cosine_distillation(student_BD, teacher_BD)
    smooth = smooth_l1_distillation(student_BD, teacher_BD)
    total: torch.Tensor = cosine_weight * cosine + (1 - cosine_weight) * smooth
    return total
