"""The command line of training; ``training/commands`` holds the commands."""

import logging

import typer
from pythonjsonlogger.json import JsonFormatter

from training.commands import augment, datasets
from training.commands.ablate import ablation
from training.commands.border import border
from training.commands.designs import compare_designs
from training.commands.distil import distil
from training.commands.error_group import ErrorGroup
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.read_out_report import read_out_report
from training.commands.refit import refit
from training.commands.self_distil import self_distil
from training.commands.simulate import simulate
from training.commands.smoke import smoke
from training.commands.text_finder import text_finder

app = typer.Typer(cls=ErrorGroup, no_args_is_help=True, add_completion=False)
app.add_typer(datasets.app, name="datasets")
app.add_typer(augment.app, name="augment")
app.command()(distil)
app.command()(export)
app.command()(refit)
app.command("self-distil")(self_distil)
app.command()(evaluate)
app.command()(border)
app.command()(simulate)
app.command()(smoke)
app.command("ablate")(ablation)
app.command("designs")(compare_designs)
app.command("read-out-report")(read_out_report)
app.command("text-finder")(text_finder)


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@app.callback()
def main() -> None:
    """Train, evaluate and export encoders; the service runs without it."""
    _configure_logging()


if __name__ == "__main__":
    app()
