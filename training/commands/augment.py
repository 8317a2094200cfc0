"""``python -m training augment``: see what augmentation does to frames, and what it costs."""

from pathlib import Path
from typing import Annotated

import typer

from service.errors import InputError
from training.augmentation.config import AugmentationConfig
from training.augmentation.preview import contact_sheet, folder_frames, measure, simulated_frames

app = typer.Typer(no_args_is_help=True, help="Ultrasound augmentation.")


@app.callback()
def main() -> None:
    """Ultrasound augmentation."""


@app.command()
def preview(
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    images: Annotated[Path | None, typer.Option(help="Folder of pictures to show.")] = None,
    simulated: Annotated[bool, typer.Option(help="Show simulated frames.")] = False,
    rows: Annotated[int, typer.Option(min=1, max=64, help="Pictures of the folder.")] = 4,
    side_px: Annotated[int, typer.Option(min=32, max=512, help="Side of each tile.")] = 160,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sheet.")] = 0,
    without: Annotated[list[str] | None, typer.Option(help="Group to switch off.")] = None,
    timing: Annotated[bool, typer.Option(help="Measure milliseconds per 224 px frame.")] = False,
) -> None:
    """Write a contact sheet: beams found, each effect alone and strong, whole draws."""
    try:
        config = AugmentationConfig().without(*(without or ()))
        frames = simulated_frames(side_px, seed) if simulated else []
        if images is not None:
            frames += folder_frames(images, side_px, rows)
        if not frames:
            raise InputError("expected --images FOLDER or --simulated")
        out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(frames, config, seed).save(out, format="PNG")
    except (InputError, OSError) as error:
        typer.echo(f"augment preview: {error}", err=True)
        raise typer.Exit(2) from error
    if timing:
        typer.echo(", ".join(f"{k}: {v:.2f}" for k, v in measure(config, 224, seed).items()))
