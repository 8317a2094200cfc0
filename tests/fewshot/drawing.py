"""Drawn embeddings: classes around fixed centres, several rows per group."""

import numpy as np

from service.fewshot.heldout import HeldOut


def drawn(
    seed: int, groups: int, spread: float, *, classes: int = 3, dim: int = 32, rows: int = 1
) -> tuple[np.ndarray, list[str], list[str]]:
    """float32 rows, labels, groups; ``groups`` groups per class of ``rows`` near-equal rows."""
    centres = np.random.default_rng(0).normal(size=(classes, dim))
    rng = np.random.default_rng(seed)
    points = np.repeat(centres, groups, axis=0) + spread * rng.normal(size=(classes * groups, dim))
    points = np.repeat(points, rows, axis=0) + 0.05 * rng.normal(
        size=(classes * groups * rows, dim)
    )
    labels = [f"c{i // (groups * rows)}" for i in range(len(points))]
    return points.astype(np.float32), labels, [str(i // rows) for i in range(len(points))]


def drawn_logits(seed: int, count: int, *, classes: int = 3, sharpness: float = 1.0) -> HeldOut:
    """Labels drawn from softmax(logits), logits then multiplied: the true temperature is known."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((count, 1)) > shares.cumsum(1)).sum(1)
    names = tuple(f"c{i}" for i in range(classes))
    return HeldOut(names, sharpness * logits, labels, np.arange(count))


def one_long_cine_per_class(dim: int = 32) -> tuple[np.ndarray, list[str], list[str]]:
    """Two classes of 12 patients: one typical with 200 frames, and eleven hard ones with one."""
    rng = np.random.default_rng(3)
    centres = 1.2 * np.array([[1.0], [-1.0]]) * np.eye(1, dim)
    rows, labels, groups = [], [], []
    for c, centre in enumerate(centres):
        for patient in range(12):
            frames, distance = (200, 3) if patient == 0 else (1, 0.35)
            point = distance * centre + 0.5 * rng.normal(size=dim)
            rows.append(point + 0.02 * rng.normal(size=(frames, dim)))
            labels += [f"c{c}"] * frames
            groups += [f"p{c}{patient}"] * frames
    return np.concatenate(rows).astype(np.float32), labels, groups
