"""The model card and the licence note of a bundle, from the same facts as its manifest."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.embedding.bundle import (
    CARD_NAME,
    FORMAT_VERSION,
    MANIFEST_NAME,
    Manifest,
    describe_file,
    read_manifest,
    verify_files,
)
from service.imaging.analysis.preprocess import PreprocessSpec

SECOND_NETWORK = "second_network"  # in what a manifest says about a bundle
BENCHMARK_TITLE = "## Benchmark"
_WAYS = """`{}` in another way minus itself on whole frames (`region=none`), 95 % interval.
`served`: scan cut out, text filled, as uploads are by default; `cropped`: cut out only; `masked`:
text filled only."""


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """Facts of a bundle that its export does not measure.

    Attributes:
        near_duplicate_cosine: as in the manifest; None = it does not say.
    """

    version: str
    interim: bool
    corpus: tuple[dict[str, str], ...]
    teacher: str
    initial_weights: str
    near_duplicate_cosine: float | None = None


def card(
    facts: ExportFacts, about: dict[str, Any], networks: dict[str, str], spec: PreprocessSpec
) -> str:
    """The model card, from the same facts as the manifest."""
    sets = "\n".join(f"| {c['dataset']} | {c['frames']} | {c['licence']} |" for c in facts.corpus)
    numbers = "\n".join(
        f"| {p} | {n['mean_cosine']:.4f} | {n['min_cosine']:.4f} |"
        for p, n in about["fidelity"].items()
    )
    benchmark = "\n" + benchmark_section(about["benchmark"]) if "benchmark" in about else ""
    frozen = "" if ends_at_stage3(about) else " (stem to stage 3, kept frozen)"
    state = "**Interim**: a stand-in, not meant for use. " if facts.interim else ""
    return f"""# Sonoprobe encoder {facts.version} (bundle format {FORMAT_VERSION})

{state}{_networks(about)} an ultrasound frame into a unit vector, for similarity search and
for linear classifiers fitted on few labelled examples. Precisions of the bundle:
{", ".join(sorted(networks))}; installed packages hold int8 alone.

## What it must not be used for

It is no medical device and finds no disease by itself. A classifier on top is as good as the
labelled examples it was fitted from; evaluate it on your own patients before anybody relies on it.
It has seen few organs and devices (below); on others its neighbours may be meaningless.
Its teacher is not DINOv3, and it saw far fewer frames than the published distillation of DINOv3
for point-of-care ultrasound.

## Training

- Teacher: {facts.teacher}
- Initial weights{frozen}: {facts.initial_weights}
{_learnt(about)}
- Input: a region of a frame, resized to {spec.side_px} px without keeping its shape{_border(spec)}
- Settings: `{json.dumps(about["config"])}`

| corpus | frames | licence |
|---|---|---|
{sets}

## Fidelity against fp32, on real frames outside the corpus

| precision | mean cosine | least cosine |
|---|---|---|
{numbers}
{benchmark}"""


def _networks(about: Mapping[str, Any]) -> str:
    if SECOND_NETWORK in about:
        return f"A ResNet-50 v2 and a small {about[SECOND_NETWORK]['architecture']} that turn"
    return "A ResNet-50 v2 that turns"


def _border(spec: PreprocessSpec) -> str:
    return f", with a black border of {spec.border:g} of its sides" if spec.border else ""


def ends_at_stage3(about: Mapping[str, Any]) -> bool:
    """Whether a bundle's facts tell of a network without stage 4."""
    return bool(about.get("stages", 4) == 3)


def _learnt(about: Mapping[str, Any]) -> str:
    """What was trained for what, and what is read of it."""
    learnt = "- Stage 4 was trained to predict what the teacher says of augmented views."
    read = "stages 3 and 4 vary"
    if ends_at_stage3(about):
        learnt = """- It ends at stage 3. All of it was trained on augmented views: to predict what
  the teacher says of them, to find the other view of a frame among other frames, and to keep what
  the initial weights read."""
        read = "stage 3 vary"
    if "self_distillation" in about:
        blocks = about["self_distillation"]["blocks"]
        learnt += f"""
  Then the read-out and the last {blocks} blocks of stage 3 were trained to give one view of a frame
  the mean embedding of several."""
    if SECOND_NETWORK in about:
        second = about[SECOND_NETWORK]
        learnt += f"""
- Beside it stands {second["architecture"]} with the weights of ImageNet, which learnt nothing
  here. It makes {second["share"]:.0%} of the squared length of the embedding."""
        read = "both networks vary"
    return f"""{learnt} The embedding is a linear projection
  of how strongly the features of {read} over the frame, whitened in part and steadied against
  augmentation (`training/experiments.md` says what each part is worth)."""


def licences(facts: ExportFacts) -> str:
    """Where the parts come from and under which terms."""
    sets = "\n".join(f"- {c['dataset']}: {c['licence']}" for c in facts.corpus)
    return f"""# Licences

The trained network is part of Sonoprobe, Apache-2.0. It was made from:

- teacher: {facts.teacher}
- initial weights: {facts.initial_weights}

and from frames of these sets, none of which is contained in this bundle:

{sets}
"""


def benchmark_section(benchmark: Mapping[str, Any]) -> str:
    """The card's part on numbers, Markdown; ``benchmark`` as ``evaluation.summary`` gives it."""
    outside = [s["name"] for s in benchmark["sets"] if not s["in_domain"]]
    inside = [s["name"] for s in benchmark["sets"] if s["in_domain"]]
    parts = [
        BENCHMARK_TITLE,
        f"""Balanced accuracy in percent of the service's own classifier, mean of
{benchmark["seeds"]} draws of k labelled frames per class; support and test never share a patient,
video or near-duplicate.
`full`: grouped 5-fold probe on everything; `knn`: 5 nearest neighbours. All encoders saw the same
splits. `{benchmark["shipped"]}` gives what the service gives for `region=none`, and its rows in
other ways what the service gives after its analysis; the others were centred by the
{benchmark["centred_by"]}, then brought to unit length.{_replaced(benchmark)}""",
    ]
    if outside:
        parts += [
            f"Mean over {', '.join(outside)} (never trained on):",
            _scores_table(benchmark["mean_over_sets"]),
            f"`{benchmark['shipped']}` minus the others, mean over these sets, 95 % interval:",
            _difference_table(benchmark["shipped_minus"]),
        ]
        if benchmark.get("served_minus"):
            parts += [
                f"`{benchmark['shipped']}_served` minus the others, the same way:",
                _difference_table(benchmark["served_minus"]),
            ]
    if benchmark.get("ways"):
        parts += [_WAYS.format(benchmark["shipped"]), _ways_table(benchmark["ways"])]
    for name, scores in benchmark["per_set"].items():
        note = " (in-domain: frames of this set were trained on, without labels)"
        parts += [f"{name}{note if name in inside else ''}:", _scores_table(scores)]
    if benchmark["cost"]:
        parts += [
            "Cost of one frame, with one core of the machine of the evaluation:",
            _cost_table(benchmark),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _replaced(benchmark: Mapping[str, Any]) -> str:
    scores: Iterable[str] = next(iter(benchmark["per_set"].values()), ())
    names = [name for name in scores if name.startswith("before_") and "_served" not in name]
    return f" `{names[0]}` is the encoder that it replaces." if names else ""


def _scores_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(next(iter(scores.values())))
    rows = [[name, *(f"{row[c]:.1f}" for c in columns)] for name, row in scores.items()]
    return table(["encoder", *(f"{c} shot" if c.isdigit() else c for c in columns)], rows)


def _difference_table(differences: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    if not differences:
        return ""
    columns = list(next(iter(differences.values())))
    rows = [[name, *(_interval(e[c]) for c in columns)] for name, e in differences.items()]
    return table(["minus", *(f"{c} shot" if c.isdigit() else c for c in columns)], rows)


def _ways_table(ways: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    columns = list(next(iter(next(iter(ways.values())).values())))
    rows = [
        [way, part, *(_interval(found.get(column)) for column in columns)]
        for way, parts in ways.items()
        for part, found in parts.items()
    ]
    return table(["way", "on", *(f"{c} shot" if c.isdigit() else c for c in columns)], rows)


def _interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['mean']:+.1f} [{_of(estimate['low'])}, {_of(estimate['high'])}]"


def _of(value: float | None) -> str:
    return "?" if value is None else f"{value:+.1f}"


def _cost_table(benchmark: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            f"{cost['parameters'] / 1e6:.1f}",
            "-" if cost["file_bytes"] is None else f"{cost['file_bytes'] / 1e6:.1f}",
            f"{cost['multiply_adds'] / 1e9:.2f}",
            *(f"{ms:.1f}" for ms in cost["cpu_ms"].values()),
        ]
        for name, cost in benchmark["cost"].items()
    ]
    batches = next(iter(benchmark["cost"].values()))["cpu_ms"]
    times = [f"ms at batch {batch}" for batch in batches]
    return table(["encoder", "parameters, M", "file, MB", "multiply-adds, G", *times], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def write_benchmark(folder: Path, benchmark: Mapping[str, Any]) -> Manifest:
    """Write the numbers into a bundle's card and manifest; its networks and id stay as they are.

    Raises:
        ArtifactMismatch: the folder holds no sound bundle.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    path = folder / CARD_NAME
    text = path.read_text(encoding="utf-8")
    before, _, after = text.partition(f"\n{BENCHMARK_TITLE}\n")
    _, heading, later = after.partition("\n## ")
    rest = f"{heading}{later}" if heading else ""
    path.write_text(f"{before.rstrip()}\n\n{benchmark_section(benchmark)}{rest}", encoding="utf-8")
    stated = replace(
        manifest,
        files=tuple(describe_file(folder, file.name) for file in manifest.files),
        about=dict(manifest.about) | {"benchmark": dict(benchmark)},
    )
    document = json.dumps(stated.to_json(), indent=1) + "\n"
    (folder / MANIFEST_NAME).write_text(document, encoding="utf-8")
    verify_files(folder, read_manifest(folder))
    return stated
