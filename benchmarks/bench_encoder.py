"""The shipped encoder beside its ImageNet trunk and its teacher: accuracy, fidelity, size, speed.

Accuracy needs the labelled frames and weights of the folder that SONOPROBE_SHARED names (else
``../shared``); without it only size and speed are measured. Speed is compared with DINOv3 ViT-B/16
in PyTorch (float32, random weights, 224 px). The two take turns in this process and use the same
number of threads.
"""

import tempfile
from pathlib import Path
from typing import Any

from harness import argument_parser, print_report, shared_folder

from service.embedding.bundle import SHIPPED_BUNDLE, present_precisions
from service.embedding.bundle import read_manifest as read_bundle
from training.catalogue.manifest import read_manifest
from training.evaluation.cost import measure_costs
from training.evaluation.encoders import (
    BundleEncoder,
    FrameEncoder,
    bundle_encoders,
    imagenet_trunk,
    most_exact,
    paper_teacher,
    teacher,
)
from training.evaluation.run import EvaluationPlan, evaluate
from training.evaluation.scores import Effort
from training.evaluation.sets import read_sets, subsample
from training.evaluation.summary import console, mean_over_sets

QUICK_FRAMES, QUICK_SEEDS, SPEED_ROUNDS = 120, 5, 15
TEACHER = "dinov2_vits14_depthanything_v2_small.fp16.safetensors"
TRUNK = "resnet50v2_imagenet_stem_to_stage3.fp16.safetensors"


def plan_of(
    shared: Path, encoders: list[FrameEncoder], names: list[str], cache: Path, frames: int | None
) -> EvaluationPlan:
    """All frames of the bench sets and 20 seeds, or so many frames of each and 5 seeds."""
    rows = read_manifest(shared / "data" / "manifest.csv")
    corpus = [row for row in rows if row.use == "corpus"]
    sets = read_sets(rows, names)
    if frames is None:
        return EvaluationPlan(encoders, sets, corpus, cache, Effort(fractions=()), maps=False)
    return EvaluationPlan(
        encoders,
        [subsample(bench_set, frames) for bench_set in sets],
        corpus[:: max(1, len(corpus) // frames)],
        cache,
        Effort(seeds=QUICK_SEEDS, fractions=()),
        maps=False,
    )


def accuracy(
    shipped: BundleEncoder, reference: Path, plan_for: Any, shared: Path
) -> dict[str, Any]:
    """Means over sets, and what the shipped precision loses against fp32."""
    weights = shared / "weights"
    encoders: list[FrameEncoder] = [shipped]
    exact = most_exact(present_precisions(reference, read_bundle(reference)))
    if exact is not None:
        precise = bundle_encoders(reference, [exact])
        encoders += [encoder for encoder in precise if encoder.name != shipped.name]
    encoders += [teacher(weights / TEACHER), imagenet_trunk(weights / TRUNK)]
    document = evaluate(plan_for(encoders), {})
    print(console(document))
    means = mean_over_sets(document)
    means = {"shipped": means.pop(shipped.name)} | means
    figures: dict[str, Any] = {"mean_over_sets": means}
    fidelity = document["fidelity"].get(shipped.name.removeprefix("bundle_"))
    figures["int8_cosine_mean"] = fidelity["mean_cosine"] if fidelity else None
    figures["int8_probe_points_lost"] = fidelity["probe_points_lost"] if fidelity else None
    if fidelity is None:
        figures["int8_not_compared_because"] = "neither bundle nor --reference holds fp32 or fp16"
    else:
        figures["int8_compared_with"] = fidelity["against"]
    return figures


def speed(shipped: BundleEncoder, rounds: int) -> dict[str, float]:
    """Times faster than the paper's teacher on one frame, and how often smaller."""
    peer = paper_teacher()
    costs = measure_costs([shipped, peer], rounds=rounds, batches=(1, 8))
    ours, theirs = costs[shipped.name], costs[peer.name]
    return {
        "cpu_speedup_over_teacher": round(theirs.cpu_ms["1"] / ours.cpu_ms["1"], 2),
        "cpu_speedup_at_batch_8": round(theirs.cpu_ms["8"] / ours.cpu_ms["8"], 2),
        "cpu_ms": ours.cpu_ms["1"],
        "teacher_cpu_ms": theirs.cpu_ms["1"],
        "parameter_ratio": round(theirs.parameters / ours.parameters, 3),
        "threads": ours.threads,
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames and seeds")
    parser.add_argument("--frames", type=int, default=QUICK_FRAMES, help="of each set, if quick")
    parser.add_argument("--rounds", type=int, default=SPEED_ROUNDS, help="of the clock")
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument(
        "--reference", type=Path, help="full export folder that holds fp32; empty = the bundle"
    )
    parser.add_argument("--sets", default="", help="bench sets, comma-separated; empty = all")
    parser.add_argument("--cache", type=Path, help="folder that keeps features between runs")
    arguments = parser.parse_args()
    shipped = bundle_encoders(arguments.bundle)[0]
    size = sum(file.stat().st_size for file in arguments.bundle.rglob("*") if file.is_file())
    report: dict[str, Any] = speed(shipped, arguments.rounds) | {"bundle_mb": round(size / 1e6, 2)}
    shared = shared_folder()
    frames = arguments.frames if arguments.quick else None
    names = [name for name in arguments.sets.split(",") if name]
    if shared is None:
        absent = "no frames: SONOPROBE_SHARED and ../shared hold none"
        nothing = dict.fromkeys(("mean_over_sets", "int8_cosine_mean", "int8_probe_points_lost"))
        report |= nothing | {"not_judged_because": absent}
    else:
        with tempfile.TemporaryDirectory() as scratch:
            cache = arguments.cache or Path(scratch)
            report |= accuracy(
                shipped,
                arguments.reference or arguments.bundle,
                lambda encoders: plan_of(shared, encoders, names, cache, frames),
                shared,
            )
    print_report(report, arguments)


if __name__ == "__main__":
    main()
