"""Graphics are drawn where they are put, and keep inside the frame."""

import torch

from training.augmentation.overlay import calipers, font, text, ticks


def test_glyphs_are_the_font_at_their_place() -> None:
    frame = torch.zeros(2, 1, 112, 112)
    glyphs = torch.tensor([[1, 0], [7, 13]])
    top, left = torch.tensor([10, 20]), torch.tensor([30, 40])
    written = text(frame, glyphs, top, left, torch.full((2, 1, 1, 1), 0.9))
    expected = torch.cat((font(frame.device)[1], font(frame.device)[0]), 1) * 0.9
    torch.testing.assert_close(written[0, 0, 10:16, 30:38], expected)
    assert written[1, 0, :, 44:].max() == 0  # a blank writes nothing
    assert (written[0] > 0).sum() == (expected > 0).sum()


def test_text_that_would_leave_the_frame_is_moved_inside() -> None:
    frame = torch.zeros(1, 1, 64, 64)
    glyphs = torch.full((1, 7), 8)
    corner = torch.tensor([63])
    written = text(frame, glyphs, corner, corner, torch.ones(1, 1, 1, 1))
    assert (written > 0).sum() == 7 * (font(frame.device)[8] > 0).sum()


def test_calipers_mark_both_ends_and_dot_the_line_between() -> None:
    frame = torch.zeros(1, 1, 112, 112)
    place = torch.full((1, 1, 1, 1), 0.25), torch.full((1, 1, 1, 1), 0.75)
    drawn = calipers(frame, (place[0], place[0]), (place[1], place[1]), torch.ones(1, 1, 1, 1))
    for middle in (28, 84):
        assert drawn[0, 0, middle - 3 : middle + 3, middle - 3 : middle + 3].sum() > 6
    diagonal = drawn[0, 0].diagonal()[34:78]
    assert 0.1 < (diagonal > 0).float().mean() < 0.6
    assert drawn[0, 0, 70:, :40].max() == 0


def test_ticks_stand_at_equal_steps_in_their_column() -> None:
    frame = torch.zeros(1, 1, 100, 100)
    spacing, length = torch.full((1, 1, 1, 1), 10.0), torch.full((1, 1, 1, 1), 3.0)
    drawn = ticks(frame, torch.full((1, 1, 1, 1), 0.5), spacing, length, torch.ones(1, 1, 1, 1))
    rows = torch.nonzero(drawn[0, 0, :, 50])[:, 0].tolist()
    assert rows == list(range(0, 100, 10))
    assert drawn[0, 0, 0].sum() == 2 * drawn[0, 0, 10].sum() == 6
    assert drawn[0, 0, :, :50].max() == 0
