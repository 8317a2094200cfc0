"""Fit the test that tells ultrasound frames from other pictures, measure it, write it to a bundle.

The test is one linear score of the embedding. Its positives are the corpus that may be trained on,
its negatives pictures that ship in Python packages or are drawn here. It is evaluated on frames of
other published sets and on pictures that it was not fitted on: each kind of picture is left out in
turn, and each fifth of the pictures of all kinds. Needs scikit-image (for its sample pictures) and
the folder that SONOPROBE_SHARED names (else ``../shared``).

Shape suffixes: N frames or pictures, D embedding width, HW picture.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from harness import ROOT, argument_parser, required_shared_folder, write_report
from other_pictures import Picture, pictures
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from service.arrays import unit_rows
from service.embedding.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    ULTRASOUND_NAME,
    describe_file,
    read_manifest,
    verify_files,
)
from service.imaging.formats.decode import decode
from training.catalogue.manifest import ManifestRow as Frame
from training.catalogue.manifest import read_manifest as read_rows
from training.evaluation.cache import features
from training.evaluation.encoders import BundleEncoder, bundle_encoders, embed

Doubles: TypeAlias = npt.NDArray[np.float64]
Row: TypeAlias = dict[str, float]

SAMPLES = ROOT / "service" / "cli" / "samples"
PENALTY_C = 1.0
MAX_FAILED = 0.002  # share of corpus frames of patients that may fail when their source is left out
SIMULATED = "simulated"
NO_PATIENTS = ("pluslib_phantom", SIMULATED)  # fitted, but unlike what clinics send
FOLDS = 5
SMALL, PART, SMALL_PART = VARIANTS = (" (small)", " (part)", " (small part)")
SMALL_PX = 64
PART_SHARE = 0.6  # of both sides: tissue that fills its frame, as in a region without margins


@dataclass(frozen=True)
class Negatives:
    """By kind of picture: unit embeddings, and the number of the fold of each."""

    rows: dict[str, Doubles]
    folds: dict[str, npt.NDArray[np.int64]]

    def without(self, fold: int) -> dict[str, Doubles]:
        """All kinds, without the pictures of a fold."""
        return {kind: rows[self.folds[kind] != fold] for kind, rows in self.rows.items()}


def main() -> None:
    """Measure and print; with --write, put the test into the bundle."""
    parser = argument_parser(__doc__)
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder of features")
    parser.add_argument("--frames", type=int, default=150, help="of each source, at most")
    parser.add_argument("--write", action="store_true", help="write the test into the bundle")
    arguments = parser.parse_args()
    encoder = bundle_encoders(SHIPPED_BUNDLE)[0]
    corpus, bench = frames(encoder, arguments.frames, arguments.cache)
    corpus |= simulated(encoder)
    others = embed_pictures(encoder, pictures())
    weights_D, bias, threshold = fit(corpus, others.rows)
    figures: dict[str, Any] = dict(report(corpus, bench, others, threshold))
    figures["false_alarms"] = false_alarms(bench, weights_D, bias, threshold)
    figures["least"] = round(threshold, 3)
    print(json.dumps(figures, indent=1))
    if arguments.write:
        write(weights_D, bias, threshold, figures)
    write_report(figures, arguments)


def frames(
    encoder: BundleEncoder, limit: int, cache: Path
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Unit embeddings by source: of the corpus, and of the sets that are never fitted on."""
    shared = required_shared_folder()
    by_source: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for row in read_rows(shared / "data" / "manifest.csv"):
        by_source[row.use, row.dataset].append(row)
    rng = np.random.default_rng(0)
    rows_of: dict[str, dict[str, Doubles]] = {"corpus": {}, "bench": {}}
    for (use, name), rows in sorted(by_source.items()):
        if use in rows_of:
            chosen = [rows[i] for i in sorted(rng.permutation(len(rows))[:limit])]
            rows_of[use][name] = unit(features(encoder, chosen, cache))
            if use == "corpus":
                for variant in VARIANTS:
                    varied = [varied_frame(row, variant) for row in chosen]
                    rows_of[use][name + variant] = unit(embed(encoder, varied))
    full = [
        decode(f.read_bytes(), max_pixels=10**8)
        for f in sorted((shared / "data" / "fullres").glob("*.*g"))
    ]
    rows_of["bench"]["full screens"] = unit(embed(encoder, [frame.pixels_HW for frame in full]))
    return rows_of["corpus"], rows_of["bench"]


def varied_frame(row: Frame, variant: str) -> npt.NDArray[np.uint8]:
    """The frame at the size of a thumbnail, its middle, or both: such frames are uploaded too."""
    frame_HW = decode(row.path.read_bytes(), max_pixels=10**8).pixels_HW
    if variant != SMALL:
        margins = [round(side * (1 - PART_SHARE) / 2) for side in frame_HW.shape]
        rows, columns = (slice(m, s - m) for m, s in zip(margins, frame_HW.shape, strict=True))
        frame_HW = frame_HW[rows, columns]
    image = Image.fromarray(frame_HW)
    if variant != PART:
        image.thumbnail((SMALL_PX, SMALL_PX))
    return np.asarray(image)


def simulated(encoder: BundleEncoder) -> dict[str, Doubles]:
    """Unit embeddings of the frames that the demo uploads; each scene counts as a source."""
    rows: dict[str, Doubles] = {}
    for folder in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.png"))
        pixels = [decode(f.read_bytes(), max_pixels=10**6).pixels_HW for f in files]
        rows[f"{SIMULATED} ({folder.name})"] = unit(embed(encoder, pixels))
    return rows


def embed_pictures(encoder: BundleEncoder, images: list[Picture]) -> Negatives:
    """Unit embeddings of pictures by kind, and the fold of each: parts of one stay together."""
    rows, folds = {}, {}
    for kind in dict.fromkeys(picture.kind for picture in images):
        own = [picture for picture in images if picture.kind == kind]
        rows[kind] = unit(embed(encoder, [picture.pixels_HW for picture in own]))
        folds[kind] = np.array([picture.whole % FOLDS for picture in own])
    return Negatives(rows, folds)


def unit(rows_ND: npt.NDArray[np.floating]) -> Doubles:
    """Rows at unit length, as the service serves them."""
    return unit_rows(rows_ND.astype(np.float64))


def linear(positives: dict[str, Doubles], negatives: dict[str, Doubles]) -> tuple[Doubles, float]:
    """Weights and bias of a logistic regression in which each source counts the same."""
    parts = [*positives.values(), *negatives.values()]
    truth_N = np.concatenate(
        [np.full(len(rows), i < len(positives)) for i, rows in enumerate(parts)]
    )
    sides = [len(positives) if i < len(positives) else len(negatives) for i in range(len(parts))]
    weights_N = np.concatenate(
        [
            np.full(len(rows), 500 / side / len(rows))
            for rows, side in zip(parts, sides, strict=True)
        ]
    )
    model = LogisticRegression(C=PENALTY_C, max_iter=2000)
    model.fit(np.concatenate(parts), truth_N, weights_N)
    return model.coef_[0], float(model.intercept_[0])


def fit(corpus: dict[str, Doubles], others: dict[str, Doubles]) -> tuple[Doubles, float, float]:
    """The shipped test; its threshold from corpus sources that were left out in turn."""
    left_out = []
    for name in sorted({source(k) for k in corpus} - set(NO_PATIENTS)):
        weights_D, bias = linear({k: v for k, v in corpus.items() if source(k) != name}, others)
        left_out += [v @ weights_D + bias for k, v in corpus.items() if source(k) == name]
    threshold = float(np.quantile(np.concatenate(left_out), MAX_FAILED))
    return *linear(corpus, others), threshold


def source(name: str) -> str:
    """The source of frames as they are or varied."""
    return name.partition(" (")[0]


def report(
    corpus: dict[str, Doubles], bench: dict[str, Doubles], others: Negatives, threshold: float
) -> dict[str, dict[str, Row]]:
    """Rates of tests that were fitted without each kind, or without the pictures tested."""
    bench_ND = np.concatenate(list(bench.values()))
    kinds, parts = {}, {}
    folds = [linear(corpus, others.without(fold)) for fold in range(FOLDS)]
    for kind, rows_ND in others.rows.items():
        rest = {k: v for k, v in others.rows.items() if k != kind}
        weights_D, bias = linear(corpus, rest)
        kinds[kind] = rates(bench_ND @ weights_D + bias, rows_ND @ weights_D + bias, threshold)
        scores_FN = np.stack([rows_ND @ w_D + b for w_D, b in folds])
        own_N = scores_FN[others.folds[kind], np.arange(len(rows_ND))]
        mean_N = np.mean([bench_ND @ w_D + b for w_D, b in folds], axis=0)
        parts[kind] = rates(mean_N, own_N, threshold)
    return {"kind_left_out": kinds, "pictures_left_out": parts}


def rates(inside_N: Doubles, outside_N: Doubles, threshold: float) -> Row:
    """AUROC of frames against pictures, and shares below the threshold."""
    truth = np.r_[np.ones(len(inside_N)), np.zeros(len(outside_N))]
    return {
        "pictures": len(outside_N),
        "auroc": round(float(roc_auc_score(truth, np.r_[inside_N, outside_N])), 4),
        "caught": round(float((outside_N < threshold).mean()), 3),
        "false_alarms": round(float((inside_N < threshold).mean()), 4),
    }


def false_alarms(
    bench: dict[str, Doubles], weights_D: Doubles, bias: float, threshold: float
) -> dict[str, Row]:
    """Share of real frames that the shipped test rejects, by set."""
    return {
        name: {
            "frames": len(rows),
            "share": round(float((rows @ weights_D + bias < threshold).mean()), 4),
        }
        for name, rows in bench.items()
    }


def write(weights_D: Doubles, bias: float, threshold: float, figures: dict[str, Any]) -> None:
    """Write the test and its figures into the bundle and its manifest."""
    slim_D = weights_D.astype(np.float32)
    np.savez(SHIPPED_BUNDLE / ULTRASOUND_NAME, weights_D=slim_D, bias=bias, least=threshold)
    manifest = read_manifest(SHIPPED_BUNDLE)
    document = manifest.to_json()
    kept = [file for file in document["files"] if file["name"] != ULTRASOUND_NAME]
    own = describe_file(SHIPPED_BUNDLE, ULTRASOUND_NAME)
    document["files"] = [*kept, {"name": own.name, "bytes": own.bytes, "sha256": own.sha256}]
    document["about"]["ultrasound_test"] = figures
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (SHIPPED_BUNDLE / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    verify_files(SHIPPED_BUNDLE, read_manifest(SHIPPED_BUNDLE))


if __name__ == "__main__":
    main()
