"""The small network that finds burned-in text, and its training on synthetic text.

Backgrounds are frames of the training corpus without writing of their own; letters and marks are
drawn. Frames as they are, with the writing of their machines, teach as well where a network of
before says what is text in them. The first layer of the network takes 1/4 of the resolution: one
answer per 4 x 4 pixels.

Shape suffixes: B batch, S side of a training patch, C channels, N drawn frames.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from service.arrays import Bools, Pixels
from service.errors import InputError
from service.imaging.analysis.text import TextNetwork
from training.networks.onnx_export import export_onnx
from training.text_detector.synthetic_text import (
    STROKE_FONTS,
    Box,
    TextLine,
    draw_mark,
    draw_text,
    random_text,
)

log = logging.getLogger("training")
STRIDE = 4
STEM_PX = 6  # a cell of the first layer, and a pixel more on each side
PEN_FONTS = ("hershey-simplex", "hershey-plain", "hershey-duplex", "hershey-small")


@dataclass(frozen=True, slots=True)
class TextNetConfig:
    """Settings of the training.

    Attributes:
        batch: drawn patches of a step.
        untouched: patches of a step without anything drawn, which the former network judges.
    """

    seed: int = 0
    steps: int = 16_000
    batch: int = 12
    untouched: int = 4
    side_px: int = 192
    rate: float = 3e-3
    channels: int = 16
    dilations: tuple[int, ...] = (1, 2, 4, 2)
    fonts: tuple[str, ...] = PEN_FONTS


class TextNet(nn.Module):
    """(B, 1, S, S) intensities in [0, 1] -> (B, 1, S/4, S/4) logits of "text here".

    It has no residual sums, which ONNX Runtime leaves unfused behind dilated convolutions. Its
    layers begin near the identity instead.
    """

    def __init__(self, config: TextNetConfig) -> None:
        super().__init__()
        width = config.channels
        self.stem = nn.Conv2d(1, width, STEM_PX, STRIDE, (STEM_PX - STRIDE) // 2)
        self.deep, self.wide = nn.ModuleList(), nn.ModuleList()
        for dilation in config.dilations:
            deep = nn.Conv2d(width, width, 3, 1, dilation, dilation, groups=width)
            wide = nn.Conv2d(width, width, 1)
            with torch.no_grad():
                deep.weight.mul_(0.5)[:, 0, 1, 1] += 1
                wide.weight.mul_(0.7).add_(torch.eye(width)[:, :, None, None])
            self.deep.append(deep)
            self.wide.append(wide)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, frames_B1SS: Tensor) -> Tensor:
        """Logits, one per 4 x 4 pixels."""
        features = functional.relu(self.stem(frames_B1SS))
        for deep, wide in zip(self.deep, self.wide, strict=True):
            features = functional.relu(wide(functional.relu(deep(features))))
        logits: Tensor = self.last(features)
        return logits


def draw_example(
    backgrounds: Sequence[Pixels], config: TextNetConfig, rng: np.random.Generator
) -> tuple[Pixels, Bools]:
    """One training patch (S, S) and whether each of its (S/4, S/4) cells lies in text."""
    patch_SS = _patch(backgrounds[int(rng.integers(len(backgrounds)))], config.side_px, rng)
    for _ in range(int(rng.integers(0, 4))):
        draw_mark(patch_SS, rng)
    truth_SS = np.zeros(patch_SS.shape, np.uint8)
    for _ in range(int(rng.choice([0, 1, 2, 3, 5], p=[0.25, 0.3, 0.2, 0.15, 0.1]))):
        if box := _draw_random_text(patch_SS, config, rng):
            x0, y0, x1, y1 = box
            truth_SS[y0:y1, x0:x1] = 1
    cells = cv2.resize(
        truth_SS.astype(np.float32),
        None,
        fx=1 / STRIDE,
        fy=1 / STRIDE,
        interpolation=cv2.INTER_AREA,
    )
    return _degrade(patch_SS, rng), cells >= 0.5


def _patch(background_HW: Pixels, side_px: int, rng: np.random.Generator) -> Pixels:
    """Tissue at 0.8 to 3 times its size, or nothing at all, as between sector and banner."""
    if rng.random() < 0.06:
        return np.full((side_px, side_px), int(rng.integers(0, 60)), np.uint8)
    zoom = float(rng.uniform(0.8, 3.0))
    zoom = max(zoom, (side_px + 1) / min(background_HW.shape))
    big = cv2.resize(background_HW, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    y = int(rng.integers(big.shape[0] - side_px + 1))
    x = int(rng.integers(big.shape[1] - side_px + 1))
    patch = big[y : y + side_px, x : x + side_px]
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    if rng.random() < 0.15:
        patch = np.maximum(patch, _flow(side_px, rng))
    low, high = 0.0, 255.0
    if rng.random() < 0.2:  # some machines draw tissue hard: nearly black and white, as letters
        low, high = float(rng.uniform(20, 70)), float(rng.uniform(90, 160))
    gain = float(rng.uniform(0.6, 1.4))
    stretched = (patch.astype(np.float32) * gain - low) * (255 / (high - low))
    return np.asarray(np.clip(stretched, 0, 255), np.uint8)


def _flow(side_px: int, rng: np.random.Generator) -> Pixels:
    """Blotches with hard edges, as colour flow looks in its brightest channel."""
    noise = rng.normal(0, 1, (side_px, side_px)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(3, 12)))
    fine = cv2.GaussianBlur(noise, (0, 0), 1.5)
    colour = np.clip(190 + 60 * fine / fine.std(), 90, 255)
    return np.where(smooth > 1.2 * smooth.std(), colour, 0).astype(np.uint8)


def _draw_random_text(
    patch_SS: Pixels, config: TextNetConfig, rng: np.random.Generator
) -> Box | None:
    side_px = config.side_px
    height_px = int(np.exp(rng.uniform(np.log(6), np.log(44))))
    left, top = int(rng.integers(side_px - 10)), int(rng.integers(side_px - 8))
    around = patch_SS[top : top + height_px, left : left + 6 * height_px]
    level, spread = float(around.mean()), float(around.std())
    least = 28 + 1.1 * spread
    choices = [g for g in (255, int(rng.integers(256)), 0) if abs(g - level) > least]
    grey = choices[0 if rng.random() < 0.6 else -1] if choices else 255
    plate = None
    if rng.random() < 0.12:
        grey = int(rng.integers(256))
        plate = (grey + int(rng.integers(70, 186))) % 256
        plate = plate if abs(plate - grey) > 60 else 255 - grey
    opacity = 1.0 if rng.random() < 0.7 else float(rng.uniform(0.55, 1))
    pens = rng.random() < 0.3
    font = str(rng.choice([f for f in config.fonts if (f in STROKE_FONTS) == pens] or config.fonts))
    line = TextLine(random_text(rng), font, height_px, grey, opacity, plate)
    return draw_text(patch_SS, line, left, top)


def _degrade(patch_SS: Pixels, rng: np.random.Generator) -> Pixels:
    """As files are: blurred by scaling, compressed, or neither."""
    if rng.random() < 0.35:
        blurred = cv2.GaussianBlur(patch_SS, (0, 0), float(rng.uniform(0.3, 0.9)))
        patch_SS = np.asarray(blurred, np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(35, 96))
        _, coded = cv2.imencode(".jpg", patch_SS, [cv2.IMWRITE_JPEG_QUALITY, quality])
        patch_SS = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return patch_SS


def fit(
    backgrounds: Sequence[Pixels],
    config: TextNetConfig,
    *,
    frames: Sequence[Pixels] = (),
    former: TextNetwork | None = None,
    start: dict[str, Tensor] | None = None,
) -> TextNet:
    """Train the network; 16,000 steps take about 20 minutes of one core.

    Args:
        backgrounds: frames without writing, uint8 (H, W).
        frames: with or without writing; ``former`` says where it is.
        former: a network of before; None = only drawn patches teach.
        start: weights to begin with.

    Raises:
        InputError: no background, or ``start`` is of another network.
    """
    if not backgrounds:
        raise InputError("expected frames without writing as backgrounds, got none")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    net = TextNet(config)
    if start is not None:
        try:
            net.load_state_dict(start)
        except RuntimeError as error:
            raise InputError("the weights to start from are of another text network") from error
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, config.steps)
    for step in range(config.steps):
        pairs = [draw_example(backgrounds, config, rng) for _ in range(config.batch)]
        truth_B1SS = torch.from_numpy(np.stack([p[1] for p in pairs]))[:, None].float()
        patches = [p[0] for p in pairs]
        if former is not None and frames:
            patches += [_untouched(frames, config, rng) for _ in range(config.untouched)]
        patches_B1SS = torch.from_numpy(np.stack(patches))[:, None] / 255
        logits_B1SS = net(patches_B1SS)
        loss = text_loss(logits_B1SS[: config.batch], truth_B1SS)
        if former is not None and len(patches) > config.batch:
            known_B1SS = _judged(former, patches_B1SS[config.batch :])
            loss = loss + functional.binary_cross_entropy_with_logits(
                logits_B1SS[config.batch :], known_B1SS
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == config.steps - 1:
            log.info("text finder", extra={"step": step, "loss": round(loss.item(), 4)})
    net.eval()
    return net


def _untouched(frames: Sequence[Pixels], config: TextNetConfig, rng: np.random.Generator) -> Pixels:
    """A patch (S, S) with what its machine wrote and nothing else."""
    patch_SS = _patch(frames[int(rng.integers(len(frames)))], config.side_px, rng)
    return _degrade(np.ascontiguousarray(patch_SS), rng)


def _judged(former: TextNetwork, patches_B1SS: Tensor) -> Tensor:
    """What the former network thinks of each cell, 0..1."""
    logits = [former(patch_1SS[None].numpy()) for patch_1SS in patches_B1SS]
    return torch.from_numpy(np.concatenate(logits)).sigmoid()


def text_loss(logits_B1SS: Tensor, truth_B1SS: Tensor) -> Tensor:
    """Cross entropy plus soft Dice of the whole batch: text is rare. Scalar, 0 when perfect."""
    cross = functional.binary_cross_entropy_with_logits(logits_B1SS, truth_B1SS)
    share = logits_B1SS.sigmoid()
    dice = 1 - (2 * (share * truth_B1SS).sum() + 1) / (share.sum() + truth_B1SS.sum() + 1)
    return cross + 0.3 * dice


def export(net: TextNet, path: Path) -> None:
    """Write ONNX: ``frame`` (1, 1, height, width) -> ``logits`` (1, 1, rows, columns)."""
    export_onnx(
        net.eval(),
        torch.zeros(1, 1, 96, 128),
        path,
        input_name="frame",
        output_names=["logits"],
        free_axes={2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},
    )
