"""Command line of the offline half: distil, export, simulate, evaluate."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from service.imaging.decode import decode
from training.commands.datasets import app as datasets
from training.commands import augment
from training.commands.evaluate import evaluate
from training.config import CONFIGS
from training.data import MAX_PIXELS, corpus_facts, load_frames, read_manifest
from training.export import ExportFacts, load_trunk, narrow
from training.export import export as write_bundle
from training.loop import distil as run_loop
from training.student import load_imagenet_trunk
from training.targets import cache_targets
from training.teacher import load_teacher

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(datasets, name="datasets")
app.add_typer(augment.app, name="augment")
app.command()(evaluate)
log = logging.getLogger("training")
GOLDEN_FRAMES = 6


class _Fields(logging.Formatter):
    """One event, one line: message and its extra fields."""

    _STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in record.__dict__.items() if k not in self._STANDARD}
        return f"{self.formatTime(record)} {record.getMessage()} {json.dumps(fields, default=str)}"


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Fields())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


@app.callback()
def main() -> None:
    """Sonoprobe's offline half; nothing here is needed to run the service."""
    _configure_logging()


@app.command()
def distil(
    manifest: Annotated[Path, typer.Option(help="manifest.csv naming the corpus frames.")],
    student: Annotated[Path, typer.Option(help="ImageNet ResNet-50 v2 weights, safetensors.")],
    teacher: Annotated[Path, typer.Option(help="Teacher weights, safetensors.")],
    run: Annotated[Path, typer.Option(help="Folder for cache, checkpoints and result.")],
    config_name: Annotated[str, typer.Option("--config", help="Named config.")] = "interim_cpu",
    limit: Annotated[int, typer.Option(help="Use only so many frames; 0 = all.")] = 0,
) -> None:
    """Cache targets over the corpus once, then train stage 4. Interrupted runs resume."""
    config = CONFIGS[config_name]()
    rows = [row for row in read_manifest(manifest) if row.use == "corpus"]
    rows = rows[:: max(1, len(rows) // limit)][:limit] if limit else rows
    frames = load_frames(rows)
    torch.manual_seed(config.seed)
    trunk = load_imagenet_trunk(student).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    vit = load_teacher(
        teacher, architecture=config.teacher_architecture, blocks=config.teacher_blocks
    )
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))
    targets = cache_targets(frames, trunk, vit, config, run / "cache")
    losses = run_loop(trunk, targets, config, run)
    log.info("distilled", extra={"frames": len(frames), "losses": losses})


@app.command()
def export(
    manifest: Annotated[Path, typer.Option(help="manifest.csv naming corpus and bench frames.")],
    run: Annotated[Path, typer.Option(help="Folder of the finished run.")],
    golden: Annotated[Path, typer.Option(help="Folder of PNG frames that may be given away.")],
    out: Annotated[Path, typer.Option(help="Folder to write the full bundle to.")],
    shipped: Annotated[Path, typer.Option(help="Folder to write the int8-only bundle to.")],
    teacher: Annotated[str, typer.Option(help="Name and licence of the teacher.")],
    initial: Annotated[str, typer.Option(help="Name and licence of the initial weights.")],
    config_name: Annotated[str, typer.Option("--config", help="Named config.")] = "interim_cpu",
    version: Annotated[str, typer.Option(help="Version of the encoder.")] = "0.1.0",
    interim: Annotated[bool, typer.Option(help="Say that it is a stand-in.")] = True,
    unseen: Annotated[int, typer.Option(help="Bench frames to measure fidelity on.")] = 256,
) -> None:
    """Write the encoder bundle of a finished run, and the part of it that ships."""
    config = CONFIGS[config_name]()
    rows = read_manifest(manifest)
    corpus = [row for row in rows if row.use == "corpus"]
    bench = [row for row in rows if row.use == "bench"]
    bench = bench[:: max(1, len(bench) // unseen)][:unseen]
    facts = ExportFacts(version, interim, corpus_facts(corpus), teacher, initial)
    files = sorted(golden.rglob("*.png"))
    samples = [decode(f.read_bytes(), max_pixels=MAX_PIXELS).pixels_HW for f in files]
    made = write_bundle(
        load_trunk(run / "checkpoint.pt"),
        config,
        corpus=load_frames(corpus),
        unseen=load_frames(bench),
        golden=samples[:: max(1, len(samples) // GOLDEN_FRAMES)][:GOLDEN_FRAMES],
        facts=facts,
        out=out,
    )
    small = narrow(out, shipped, facts, precision=made.default_precision)
    log.info("exported", extra={"encoder_id": small.encoder_id, **made.about["fidelity"]})


if __name__ == "__main__":
    app()
