"""Read and check ``datasets.toml``, the catalogue of public ultrasound sets.

The file is data, so that a set is added without code. Every fact in it was published; what is
not known stays empty.
"""

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from service.errors import InputError, UnknownItem
from training.catalogue.adapters import check_layout

TIERS = {
    "A": "redistributable models, commercial use",
    "B": "non-commercial or share-alike",
    "C": "agreement, application, challenge or Kaggle rules",
    "D": "no clear licence",
}
RECORD_HOSTS = ("zenodo", "figshare")
_GEOMETRIES = ("", "sector", "rectangle")


@dataclass(frozen=True, slots=True)
class Download:
    """One file behind an open direct link.

    Attributes:
        sha256: hexadecimal, empty when the publisher gives none.
    """

    url: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is known of one public set. Empty or 0 means not known.

    Attributes:
        name: short, unique, lower case.
        organs: what is shown.
        images: still images or frames; ``count`` repeats what the source says.
        tier: one of ``TIERS``.
        downloads: open direct links.
        record: ``zenodo:ID`` or ``figshare:ID``, an open record that lists its files.
        citation: record, DOI or article that names the set.
        device: scanner or kind of probe.
        geometry: ``sector`` or ``rectangle``, most frames' scan area.
        overlaps: names of sets that share images with this one.
        layout: id of the adapter under ``adapter``, and its parameters.
        note: traps.
    """

    name: str
    title: str
    organs: tuple[str, ...]
    images: int
    count: str
    task: str
    licence: str
    tier: str
    url: str
    downloads: tuple[Download, ...] = ()
    record: str = ""
    citation: str = ""
    device: str = ""
    geometry: str = ""
    overlaps: tuple[str, ...] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def open_direct(self) -> bool:
        """Whether the files can be fetched without a form, an account or an agreement."""
        return bool(self.downloads or self.record)

    @property
    def needs_acceptance(self) -> bool:
        """Whether the terms are unclear or an agreement, so that a person must accept them."""
        return self.tier in ("C", "D")


def read_catalogue(path: Path) -> dict[str, Dataset]:
    """Read and check a catalogue file; sets by name, in the order of the file.

    Raises:
        InputError: the file cannot be read, is no TOML (a repeated name is none either), or an
            entry breaks a rule; entry and rule are named.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the catalogue cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the catalogue is not TOML: {error}") from error
    catalogue = {name: _entry(name, table) for name, table in tables.items()}
    for dataset in catalogue.values():
        _check(dataset, catalogue)
    return catalogue


@functools.cache
def packaged_catalogue() -> Mapping[str, Dataset]:
    """The catalogue that comes with the package, read once."""
    with resources.as_file(resources.files("training.catalogue") / "datasets.toml") as path:
        return read_catalogue(path)


def find(name: str, catalogue: Mapping[str, Dataset]) -> Dataset:
    """The set of this name.

    Raises:
        UnknownItem: no set has it; sets of similar names are listed.
    """
    if name in catalogue:
        return catalogue[name]
    near = difflib.get_close_matches(name, catalogue, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownItem(f"the catalogue has no set {name!r}{hint}")


def steps_by_hand(dataset: Dataset) -> list[str]:
    """What a person does to get a set that has no open direct link, in order."""
    where = dataset.url or dataset.citation or "no address is known; the note may help"
    terms = {
        "A": f"The licence is {dataset.licence}: cite the set.",
        "B": f"The licence is {dataset.licence}: no commercial use; read it.",
        "C": f"Apply or agree on the page ({dataset.licence}) and keep the agreement.",
        "D": f"Ask the owners for terms: {dataset.licence or 'no licence is stated'}.",
    }
    adapter = dataset.layout.get("adapter")
    layout = f"--set {dataset.name}" if adapter else f"--set {dataset.name} --adapter ADAPTER"
    return [
        f"Open {where}",
        terms[dataset.tier],
        "Download the files and unpack them into a folder of your own.",
        f"python -m training datasets manifest FOLDER {layout} --out manifest.csv",
    ]


def _entry(name: str, table: object) -> Dataset:
    if not isinstance(table, dict):
        raise InputError(f"catalogue: {name} is no table")
    fields = dict(table)
    try:
        fields["organs"] = tuple(fields.get("organs", ()))
        fields["overlaps"] = tuple(fields.get("overlaps", ()))
        fields["downloads"] = tuple(Download(**item) for item in fields.get("downloads", ()))
        return Dataset(name=name, **fields)
    except TypeError as error:
        raise InputError(f"catalogue: {name}: {error}") from error


def _check(dataset: Dataset, catalogue: Mapping[str, Dataset]) -> None:
    host, _, number = dataset.record.partition(":")
    rules = {
        "expected a lower-case name of letters, digits and hyphens": (
            dataset.name.replace("-", "").isalnum() and dataset.name == dataset.name.lower()
        ),
        "expected at least one organ": bool(dataset.organs),
        f"expected a tier of {', '.join(TIERS)}": dataset.tier in TIERS,
        "expected a geometry of sector, rectangle or none": dataset.geometry in _GEOMETRIES,
        f"expected a record of {' or '.join(RECORD_HOSTS)} and its number": (
            not dataset.record or (host in RECORD_HOSTS and number.isdecimal())
        ),
        "a licence is needed for tiers A and B": dataset.tier in "CD" or bool(dataset.licence),
        "expected http links to download": all(
            item.url.startswith(("https://", "http://")) for item in dataset.downloads
        ),
        "overlaps must name other sets that name this one too": all(
            other in catalogue and dataset.name in catalogue[other].overlaps
            for other in dataset.overlaps
        ),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    try:
        if dataset.layout:
            check_layout(dataset.layout)
    except InputError as error:
        broken.append(str(error))
    if broken:
        raise InputError(f"catalogue: {dataset.name}: {'; '.join(broken)}")
