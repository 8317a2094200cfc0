"""``python -m training datasets``: the catalogue, downloads, manifests, splits and checks."""

import dataclasses
import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from service.errors import InputError
from training.catalogue import fetch as fetching
from training.catalogue.adapters import find_frames
from training.catalogue.builder import SetFacts, join_near_duplicates, make_rows
from training.catalogue.checks import check_rows
from training.catalogue.entries import Dataset, find, packaged_catalogue, steps_by_hand
from training.catalogue.manifest import read_manifest, write_manifest
from training.catalogue.near_duplicates import RADIUS_BITS, hash_rows
from training.catalogue.splits import split_by_group
from training.catalogue.tables import catalogue_table, dataset_table, violations_table
from training.catalogue.unpack import is_archive, unpack
from training.commands.error_group import ErrorGroup

app = typer.Typer(cls=ErrorGroup, no_args_is_help=True, help="Public and private ultrasound sets.")
SHOWN_SKIPS = 10
Radius = Annotated[int, typer.Option(help="Bits of 256 that near-duplicates may differ in.")]
Out = Annotated[Path, typer.Option(help="Manifest to write.")]
Share = Annotated[float, typer.Option(help="Share of the frames.")]
ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv")]


@app.command("list")
def list_sets(
    organ: Annotated[str, typer.Option(help="Only sets of this organ, or part of its name.")] = "",
    tier: Annotated[str, typer.Option(help="Only these tiers, such as AB.")] = "",
    fetchable: Annotated[bool, typer.Option(help="Only sets with open direct links.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the catalogue."""
    console = Console()
    datasets = [
        dataset
        for dataset in packaged_catalogue().values()
        if (not organ or any(organ.lower() in name for name in dataset.organs))
        and (not tier or dataset.tier in tier.upper())
        and (not fetchable or dataset.open_direct)
    ]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(d) for d in datasets], ensure_ascii=False))
        return
    console.print(catalogue_table(datasets))
    console.print(f"{len(datasets)} sets")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the set.")]) -> None:
    """Show one set, and how to get it."""
    Console().print(dataset_table(find(name, packaged_catalogue())))


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of the sets.")],
    to: Annotated[Path, typer.Option(help="Folder; each set gets its own below it.")],
    accept_licence: Annotated[
        bool, typer.Option(help="I read and accept the terms of sets without a clear licence.")
    ] = False,
    unpacked: Annotated[bool, typer.Option(help="Unpack the archives as well.")] = True,
) -> None:
    """Download sets that have open direct links; explain how to get the others."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines would break the bars
    console = Console()
    sets = [find(name, packaged_catalogue()) for name in names]
    for dataset in sets:
        if not dataset.open_direct:
            console.print(f"{dataset.name} must be fetched by hand:")
            for number, step in enumerate(steps_by_hand(dataset), start=1):
                console.print(escape(f"  {number}. {step}"))
            continue
        console.print(escape(f"{dataset.name}: licence {dataset.licence or 'none known'}"))
        files = _fetch_one(dataset, to / dataset.name, console, accept_licence)
        for file in filter(is_archive, files if unpacked else ()):
            number = unpack(file, file.parent / "unpacked")
            console.print(escape(f"{file.name}: {number:,} files unpacked"))
    if not all(dataset.open_direct for dataset in sets):
        raise typer.Exit(1)


@app.command()
def manifest(
    folder: Annotated[Path, typer.Argument(help="The unpacked set.")],
    set_name: Annotated[str, typer.Option("--set", help="Name of the set, catalogued or own.")],
    out: Out,
    adapter: Annotated[str, typer.Option(help="Adapter, where the catalogue has none.")] = "",
    option: Annotated[
        list[str] | None, typer.Option(help="Parameter of the adapter, name=value (TOML).")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence, where the catalogue has none.")] = "",
    use: Annotated[str, typer.Option(help="corpus or bench.")] = "corpus",
    organ: Annotated[str, typer.Option(help="Organ, where the catalogue has none.")] = "",
    radius: Radius = RADIUS_BITS,
) -> None:
    """Write the manifest of a folder: every frame with group, label, licence and digest."""
    console = Console()
    known = packaged_catalogue().get(set_name)
    licence = licence or (known.licence if known else "")
    organ = organ or (known.organs[0] if known else "")
    facts = SetFacts(set_name, licence, use, organ)
    layout = _layout(known, adapter, option or ())
    build = make_rows(find_frames(folder, layout), folder, facts)
    rows, pairs = join_near_duplicates(build.rows, build.hashes_NK, radius)
    write_manifest(rows, out)
    conflicts = sum(row.label_conflict for row in rows)
    console.print(
        f"{len(rows):,} frames in {len({row.group for row in rows}):,} groups; "
        f"{len(pairs):,} near-duplicate pairs; {conflicts:,} frames of conflicting labels; "
        f"{len(build.skipped):,} files skipped"
    )
    for skipped in build.skipped[:SHOWN_SKIPS]:
        console.print(escape(f"skipped {skipped.path.name}: {skipped.reason}"))


@app.command()
def merge(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests to put together.")],
    out: Out,
    radius: Radius = RADIUS_BITS,
) -> None:
    """Put manifests together; near-duplicates across them become one group."""
    rows = [row for path in manifests for row in read_manifest(path)]
    joined, pairs = join_near_duplicates(rows, hash_rows(rows), radius)
    write_manifest(joined, out)
    Console().print(f"{len(joined):,} frames; {len(pairs):,} near-duplicate pairs joined")


@app.command()
def split(
    manifest_file: ManifestFile,
    out: Out,
    train: Share = 0.7,
    val: Share = 0.1,
    test: Share = 0.2,
    seed: Annotated[int, typer.Option(help="Same seed, same split.")] = 0,
) -> None:
    """Split a manifest by group, classes kept even."""
    shares = {"train": train, "val": val, "test": test}
    positive = {name: share for name, share in shares.items() if share}
    rows = split_by_group(read_manifest(manifest_file), positive, seed)
    write_manifest(rows, out)
    counts = {name: sum(row.split == name for row in rows) for name in positive}
    Console().print(", ".join(f"{name} {number:,}" for name, number in counts.items()))


@app.command()
def check(
    manifest_file: ManifestFile,
    radius: Radius = RADIUS_BITS,
) -> None:
    """Check files, digests, licences, groups, near-duplicates and leaks; 1 when errors exist."""
    console = Console()
    rows = read_manifest(manifest_file)
    violations = check_rows(rows, packaged_catalogue(), radius_bits=radius)
    if violations:
        console.print(violations_table(violations))
    errors = sum(violation.is_error for violation in violations)
    console.print(f"{len(rows):,} frames checked; {errors} rules broken")
    if errors:
        raise typer.Exit(1)


def _fetch_one(
    dataset: Dataset, folder: Path, console: Console, accept_licence: bool
) -> Sequence[Path]:
    name = TextColumn("{task.description}")
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with fetching.open_client() as client, ProgressBar(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, done_bytes: int, total_bytes: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(escape(name))
            bars.update(tasks[name], completed=done_bytes, total=total_bytes or None)

        return fetching.fetch(
            dataset, folder, client, accept_licence=accept_licence, progress=advance
        )


def _layout(known: Dataset | None, adapter: str, options: Sequence[str]) -> Mapping[str, Any]:
    base = {"adapter": adapter} if adapter else dict(known.layout if known else {})
    if not base:
        raise InputError("the catalogue has no layout for this set; pass --adapter")
    return base | {key: value for text in options for key, value in _option(text).items()}


def _option(text: str) -> dict[str, Any]:
    """``name=value``, the value in TOML as in the catalogue; what is no TOML is plain text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"expected an option name=value, got {text!r}")
    try:
        return {name.strip(): tomllib.loads(f"value = {value}")["value"]}
    except tomllib.TOMLDecodeError:
        return {name.strip(): value}
