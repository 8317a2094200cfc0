"""What the machine draws over a scan: calipers, numbers, tick marks. May fall outside the scan.

Encoders learn such marks as shortcuts (a caliper says that somebody saw a lesion); drawing them
at random, and on any frame, takes that away.

Shape suffixes: B rows of the batch, S side, G glyphs, h w of a line of text, n its pixels.
Parameters are (B, 1, 1, 1); rows and columns in unit coordinates, lengths in pixels.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as functional
from torch import Tensor

from training.augmentation.draws import Chance, Draws, RandomEffect, Range, Within
from training.augmentation.geometry import ScanMaps, pixel_centres

GLYPHS = 7  # characters in a line
_FONT = (  # 3 x 5 pixels each: 0 to 9, point, c, m, blank
    "111101101101111 010110010010111 111001111100111 111001111001111 101101111001001",
    "111100111001111 111100111101111 111001010010010 111101111101111 111101111001111",
    "000000000000010 000111100100111 000111111101101 000000000000000",
)


def calipers(
    frames_B1SS: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], grey: Tensor
) -> Tensor:
    """Draw two crosses and a dotted line between them."""
    side_px = frames_B1SS.shape[2]
    row, column = (axis * side_px for axis in pixel_centres(frames_B1SS))
    marked = torch.zeros_like(frames_B1SS, dtype=torch.bool)
    arm_px = max(2.0, side_px / 56)
    for place in (first, second):
        down, across = (row - place[0] * side_px).abs(), (column - place[1] * side_px).abs()
        marked |= (down <= arm_px) & (across <= 0.75)
        marked |= (across <= arm_px) & (down <= 0.75)
    start = (first[0] * side_px, first[1] * side_px)
    along = ((second[0] - first[0]) * side_px, (second[1] - first[1]) * side_px)
    length = torch.hypot(*along).clamp(min=1)
    down, across = row - start[0], column - start[1]
    forward = (down * along[0] + across * along[1]) / length
    aside = (down * along[1] - across * along[0]).abs() / length
    dots = (forward % 4 < 1.2) & (aside <= 0.6) & (forward > 0) & (forward < length)
    return torch.where(marked | dots, grey, frames_B1SS)


def text(
    frames_B1SS: Tensor, glyphs_BG: Tensor, top_B: Tensor, left_B: Tensor, grey: Tensor
) -> Tensor:
    """Draw a line of glyphs (0..9 digits, 10 point, 11 c, 12 m, 13 blank) at a pixel (top, left).

    The line keeps inside the frame; letters replace what is under them.
    """
    side_px = frames_B1SS.shape[2]
    scale = max(1, side_px // 112)
    font_B1hw = font(frames_B1SS.device)[glyphs_BG].permute(0, 2, 1, 3).flatten(2)[:, None]
    line_B1hw = functional.interpolate(font_B1hw, scale_factor=scale, mode="nearest")
    line_B1hw = line_B1hw[..., :side_px, :side_px]
    height, width = line_B1hw.shape[2:]
    rows = top_B.clamp(0, side_px - height)[:, None, None]
    columns = left_B.clamp(0, side_px - width)[:, None, None]
    rows = rows + torch.arange(height, device=frames_B1SS.device)[:, None]
    columns = columns + torch.arange(width, device=frames_B1SS.device)
    index_Bn = (rows * side_px + columns).flatten(1)
    flat_BP = frames_B1SS.flatten(1)
    under_Bn = flat_BP.gather(1, index_Bn)
    over_Bn = torch.where(line_B1hw.flatten(1) > 0, grey.flatten(1), under_Bn)
    return flat_BP.scatter(1, index_Bn, over_Bn).view_as(frames_B1SS)


def ticks(
    frames_B1SS: Tensor, column: Tensor, spacing_px: Tensor, length_px: Tensor, grey: Tensor
) -> Tensor:
    """Draw a depth scale: marks to the right of ``column``, every fifth twice as long."""
    side_px = frames_B1SS.shape[2]
    row_px, column_px = (axis * side_px for axis in pixel_centres(frames_B1SS))
    number = (row_px / spacing_px).floor()
    on_row = row_px - number * spacing_px < 1
    reach_px = torch.where(number % 5 == 0, 2 * length_px, length_px)
    from_px = column_px - column * side_px
    marked = on_row & (from_px >= 0) & (from_px < reach_px)
    return torch.where(marked, grey, frames_B1SS)


def font(device: torch.device) -> Tensor:
    """float32 0/1 (14, 6, 4): the glyphs with one empty row below and one column to the right."""
    bits = [[int(bit) for bit in glyph] for line in _FONT for glyph in line.split()]
    glyphs = torch.tensor(bits, dtype=torch.float32, device=device).view(-1, 5, 3)
    return functional.pad(glyphs, (0, 1, 0, 1))


@dataclass(frozen=True, slots=True)
class Calipers(RandomEffect):
    """Two measuring crosses and their dotted line, anywhere in the frame."""

    chance: Chance = 0.1
    place: Annotated[Range, Within(0, 1)] = (0.15, 0.85)
    grey: Annotated[Range, Within(0, 1)] = (0.7, 1.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Draw at drawn places."""
        first = (draws.uniform(self.place), draws.uniform(self.place))
        second = (draws.uniform(self.place), draws.uniform(self.place))
        return calipers(frames_B1SS, first, second, draws.uniform(self.grey))


@dataclass(frozen=True, slots=True)
class Text(RandomEffect):
    """A short line of digits and letters, as measurements and settings are printed."""

    chance: Chance = 0.1
    grey: Annotated[Range, Within(0, 1)] = (0.6, 1.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Draw at drawn places."""
        side_px = frames_B1SS.shape[2]
        glyphs_BG = draws.integers(0, 14, GLYPHS)
        top_B, left_B = draws.integers(0, side_px), draws.integers(0, side_px)
        return text(frames_B1SS, glyphs_BG, top_B, left_B, draws.uniform(self.grey))


@dataclass(frozen=True, slots=True)
class Ticks(RandomEffect):
    """A depth scale at the left or right border."""

    chance: Chance = 0.1
    spacing_px: Annotated[Range, Within(2, 512)] = (8.0, 24.0)
    grey: Annotated[Range, Within(0, 1)] = (0.5, 1.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Draw at drawn places."""
        column = torch.where(draws.random(1, 1, 1) < 0.5, 0.01, 0.96)
        spacing_px = draws.uniform(self.spacing_px)
        length_px = torch.full_like(spacing_px, max(2.0, frames_B1SS.shape[2] / 75))
        return ticks(frames_B1SS, column, spacing_px, length_px, draws.uniform(self.grey))
