"""``python -m training.commands.tutorial SET FOLDER``: write the frames of the tutorial.

A command of its own, because ``python -m training`` needs torch and this runs in the base install.
"""

from pathlib import Path
from typing import Annotated

import typer

from service.errors import ServiceError
from training.catalogue.tutorial_frames import files_of, write_frames


def main(
    set_name: Annotated[str, typer.Argument(metavar="SET", help="Public set, or simulated.")],
    folder: Annotated[Path, typer.Argument(help="Where to write, a new folder.")],
    per_class: Annotated[int, typer.Option(min=2, help="Labelled patients of each class.")] = 20,
    downloads: Annotated[Path, typer.Option(help="Where downloads are kept.")] = Path("sets"),
) -> None:
    """Write the frames of the tutorial."""
    try:
        with files_of(set_name, downloads, per_class, say=typer.echo) as files:
            counts = write_frames(files, folder, per_class=per_class)
    except ServiceError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    for label, number in counts.items():
        typer.echo(
            f"{label}: {per_class} patients to learn from, {number - per_class} to ask about"
        )


if __name__ == "__main__":
    typer.run(main)
