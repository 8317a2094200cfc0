"""Tell ultrasound frames from other pictures by their embedding: fit, measure, write to a bundle.

The test is one linear score. It is fitted on the corpus that may be trained on against pictures
that ship in Python packages or are drawn here, and judged on frames of other published sets and
pictures that it was not fitted on: each kind is left out in turn, and each fifth of the pictures of
all kinds. Needs scikit-image (its sample pictures), and the folder that SONOPROBE_SHARED names
(else ``../shared``).

Shape suffixes: N frames or pictures, D embedding width, HW picture.
"""

import argparse
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from not_ultrasound_pictures import Picture, pictures
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from service.embedding.bundle import (
    MANIFEST_NAME,
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

ROOT = Path(__file__).parents[1]
BUNDLE, SAMPLES = (
    ROOT / "service" / "embedding" / "default_bundle",
    ROOT / "service" / "cli" / "samples",
)
PENALTY_C = 1.0
SPARED = 0.002  # of the corpus frames of patients, their source left out of the fit, that may fail
NO_PATIENTS = ("pluslib_phantom", "simulated")  # taught, but no measure of what clinics send
FOLDS = 5
SMALL, SMALL_PX = " (small)", 64


@dataclass(frozen=True)
class Strangers:
    """By kind of picture: unit embeddings, and the number of the fold of each."""

    rows: dict[str, Doubles]
    folds: dict[str, npt.NDArray[np.int64]]

    def without(self, fold: int) -> dict[str, Doubles]:
        """All kinds, without the pictures of a fold."""
        return {kind: rows[self.folds[kind] != fold] for kind, rows in self.rows.items()}


def main() -> None:
    """Measure and print; with --write, put the test into the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder of features")
    parser.add_argument("--frames", type=int, default=150, help="of each source, at most")
    parser.add_argument("--write", action="store_true", help="write the test into the bundle")
    given = parser.parse_args()
    encoder = bundle_encoders(BUNDLE)[0]
    corpus, bench = frames(encoder, given.frames, given.cache)
    corpus["simulated"] = simulated(encoder)
    others = strangers(encoder, pictures())
    weights_D, bias, least = fit(corpus, others.rows)
    found: dict[str, Any] = dict(report(corpus, bench, others, least))
    found["false_alarms"] = false_alarms(bench, weights_D, bias, least)
    found["least"] = round(least, 3)
    print(json.dumps(found, indent=1))
    if given.write:
        write(weights_D, bias, least, found)
    if given.json:
        print(json.dumps(found))


def frames(
    encoder: BundleEncoder, most: int, cache: Path
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Unit embeddings by source: of the corpus, and of the sets that nothing may be fitted on."""
    shared = Path(os.environ.get("SONOPROBE_SHARED") or ROOT.parent / "shared")
    by_source: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for row in read_rows(shared / "data" / "manifest.csv"):
        by_source[row.use, row.dataset].append(row)
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, Doubles]] = {"corpus": {}, "bench": {}}
    for (use, name), rows in sorted(by_source.items()):
        if use in found:
            chosen = [rows[i] for i in sorted(rng.permutation(len(rows))[:most])]
            found[use][name] = unit(features(encoder, chosen, cache))
            if use == "corpus":
                found[use][name + SMALL] = unit(embed(encoder, [small(row) for row in chosen]))
    full = [
        decode(f.read_bytes(), max_pixels=10**8)
        for f in sorted((shared / "data" / "fullres").glob("*.*g"))
    ]
    found["bench"]["full screens"] = unit(embed(encoder, [frame.pixels_HW for frame in full]))
    return found["corpus"], found["bench"]


def small(row: Frame) -> npt.NDArray[np.uint8]:
    """The frame at the resolution of a thumbnail: such are uploaded too, and look unlike others."""
    frame = decode(row.path.read_bytes(), max_pixels=10**8).pixels_HW
    shown = Image.fromarray(frame)
    shown.thumbnail((SMALL_PX, SMALL_PX))
    return np.asarray(shown)


def simulated(encoder: BundleEncoder) -> Doubles:
    """Of the frames that the demo uploads."""
    files = sorted(SAMPLES.rglob("*.png"))
    return unit(embed(encoder, [decode(f.read_bytes(), max_pixels=10**6).pixels_HW for f in files]))


def strangers(encoder: BundleEncoder, made: list[Picture]) -> Strangers:
    """Unit embeddings of pictures by kind, and the fold of each: parts of one stay together."""
    rows, folds = {}, {}
    for kind in dict.fromkeys(picture.kind for picture in made):
        own = [picture for picture in made if picture.kind == kind]
        rows[kind] = unit(embed(encoder, [picture.pixels_HW for picture in own]))
        folds[kind] = np.array([picture.whole % FOLDS for picture in own])
    return Strangers(rows, folds)


def unit(rows_ND: npt.NDArray[np.floating]) -> Doubles:
    """Rows at unit length, as the service serves them."""
    wide_ND = rows_ND.astype(np.float64)
    return wide_ND / np.linalg.norm(wide_ND, axis=1, keepdims=True)


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
    least = float(np.quantile(np.concatenate(left_out), SPARED))
    return *linear(corpus, others), least


def source(name: str) -> str:
    """Of frames as they are or reduced."""
    return name.removesuffix(SMALL)


def report(
    corpus: dict[str, Doubles], bench: dict[str, Doubles], others: Strangers, least: float
) -> dict[str, dict[str, Row]]:
    """Pictures by tests that were fitted without them, or without their kind; bench frames."""
    bench_ND = np.concatenate(list(bench.values()))
    kinds, parts = {}, {}
    folds = [linear(corpus, others.without(fold)) for fold in range(FOLDS)]
    for kind, rows_ND in others.rows.items():
        rest = {k: v for k, v in others.rows.items() if k != kind}
        weights_D, bias = linear(corpus, rest)
        kinds[kind] = told(bench_ND @ weights_D + bias, rows_ND @ weights_D + bias, least)
        scores_FN = np.stack([rows_ND @ w_D + b for w_D, b in folds])
        own_N = scores_FN[others.folds[kind], np.arange(len(rows_ND))]
        mean_N = np.mean([bench_ND @ w_D + b for w_D, b in folds], axis=0)
        parts[kind] = told(mean_N, own_N, least)
    return {"kind_left_out": kinds, "pictures_left_out": parts}


def told(inside_N: Doubles, outside_N: Doubles, least: float) -> Row:
    """AUROC of frames against pictures, and shares below the threshold."""
    truth = np.r_[np.ones(len(inside_N)), np.zeros(len(outside_N))]
    return {
        "pictures": len(outside_N),
        "auroc": round(float(roc_auc_score(truth, np.r_[inside_N, outside_N])), 4),
        "caught": round(float((outside_N < least).mean()), 3),
        "false_alarms": round(float((inside_N < least).mean()), 4),
    }


def false_alarms(
    bench: dict[str, Doubles], weights_D: Doubles, bias: float, least: float
) -> dict[str, Row]:
    """Share of real frames that the shipped test would turn away, by set."""
    return {
        name: {
            "frames": len(rows),
            "share": round(float((rows @ weights_D + bias < least).mean()), 4),
        }
        for name, rows in bench.items()
    }


def write(weights_D: Doubles, bias: float, least: float, found: dict[str, Any]) -> None:
    """Put the file into the bundle, list it in the manifest, and say what it is worth."""
    slim_D = weights_D.astype(np.float32)
    np.savez(BUNDLE / ULTRASOUND_NAME, weights_D=slim_D, bias=bias, least=least)
    manifest = read_manifest(BUNDLE)
    document = manifest.to_json()
    kept = [file for file in document["files"] if file["name"] != ULTRASOUND_NAME]
    own = describe_file(BUNDLE, ULTRASOUND_NAME)
    document["files"] = [*kept, {"name": own.name, "bytes": own.bytes, "sha256": own.sha256}]
    document["about"]["ultrasound_test"] = found
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (BUNDLE / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    verify_files(BUNDLE, read_manifest(BUNDLE))


if __name__ == "__main__":
    main()
