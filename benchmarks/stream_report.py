"""Do answers of live streams flicker, and are their probabilities calibrated? On real cines.

Two parts, both with patients apart. Frames go through the path of a stream: regions held over the
scene, encoder, ``StreamAnswers``.

1. Labelled cines (POCOVID: lung, covid or regular, three frames a second): calibration error,
   Brier score and accuracy of each frame alone, of plain and of independent averages, and of the
   average of the streams; coverage of the sets; changes of the decision a second.
2. Cines at their full rate (eyes and phantoms of eyes, hearts), by a classifier of organs that was
   taught on other cines: changes of the decision a second.

About two minutes on two cores. Needs the shared data; ``--cache`` keeps the embeddings.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from harness import argument_parser, required_shared_folder, write_report

from service.classifiers.prediction import Acquisition
from service.classifiers.streaming.stream_answers import StreamAnswers
from service.classifiers.streaming.stream_records import EACH_FRAME, STEADY, Steadiness, StreamFrame
from service.embedding.encoder import Encoder
from service.embedding.onnx_session import open_text_finder
from service.fewshot.calibrator import reliability
from service.fewshot.classifier import FewShotClassifier
from service.fewshot.classifier_fit import fit_classifier
from service.fewshot.head import softmax
from service.fewshot.temporal.logit_average import Averaging, LogitAverage
from service.imaging.analysis.frame_analysis import use_one_thread
from service.imaging.analysis.live_scene import LiveScene
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from service.opening.encoder_opening import open_encoder
from service.settings import Settings
from training.catalogue.manifest import read_manifest

POCOVID_HZ = 3.0  # at which its frames were taken from the videos
REPEATS, FOLDS, SHOWN = 5, 5, 8  # draws of folds; frames of each cine that a fit sees
MIN_FRAMES = 10  # of a cine that is measured
NOWHERE = Acquisition("", 0, 0)
# Videos of one patient or one source, as their names say.
PATIENT = re.compile(r"(Reg_pat\d+|volpecelli|emdocs|Reg_Image)")
EYES = ("cine/butterfly-ocular-phantom.mp4", "cine/clarius-ocular-short.mp4")
EYES += ("cine/sonosite-anon-eye1-video.mp4",)
HEARTS = ("dicom/fo-dicom+fo-dicom/DIRW0007", "dicom/pydicom+pydicom/examples_ybr_color.dcm")
OTHER_ORGANS = {"ccaui": "carotid", "hc18_subset": "head", "usgra_nerve": "nerve"}
OTHERS_OF_EACH = 60


@dataclass
class Cine:
    """Frames of one cine in order; N rows of width D, their times, and findings."""

    label: str
    patient: str
    rows_ND: Any
    times_N: Any
    findings: list[frozenset[str]]


class Frames:
    """Embeds pictures as a stream does."""

    def __init__(self, encoder: Encoder, cache: Path | None) -> None:
        use_one_thread()
        self._encoder, self._finder, self._cache = encoder, open_text_finder(), cache

    def embed(self, files: list[Path], hz: float | None) -> tuple[Any, Any, list[frozenset[str]]]:
        """All frames of some files as one stream; ``hz`` = None: the rate of the file."""
        name = hashlib.sha256(f"{[str(f) for f in files]} {hz} v1".encode()).hexdigest()[:24]
        kept = None if self._cache is None else self._cache / f"{name}.npz"
        if kept is not None and kept.exists():
            with np.load(kept) as stored:
                found = [frozenset(filter(None, text.split(","))) for text in stored["findings"]]
                return stored["rows"], stored["times"], found
        scene, rows, times, findings = LiveScene(self._finder, "auto"), [], [], []
        for file in files:
            image = read(file.read_bytes(), parse_sampling("all"), DecodeLimits())
            rate = hz or image.info.frame_rate_hz or 25.0
            for frame in image:
                times.append(len(times) / rate)
                used = scene.use(frame.pixels, times[-1])
                inputs = np.stack([preprocess(u[None], self._encoder.spec)[0] for u in used])
                mean_D = self._encoder.encode(inputs).mean(0)
                rows.append(mean_D / np.linalg.norm(mean_D))
                findings.append(frozenset(f.reason for f in scene.findings))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            text = [",".join(sorted(f)) for f in findings]
            np.savez(kept, rows=np.array(rows), times=np.array(times), findings=np.array(text))
        return np.array(rows), np.array(times), findings


def lung_cines(frames: Frames, folder: Path) -> list[Cine]:
    """The videos of POCOVID."""
    by_video = defaultdict(list)
    for row in read_manifest(folder / "manifest.csv"):
        if row.dataset == "pocovid" and row.label in ("covid", "regular"):
            by_video[row.group, row.label].append(row.path)
    cines = []
    for (video, label), paths in sorted(by_video.items()):
        ordered = sorted(paths, key=_frame_number)
        found = PATIENT.search(video)
        patient = found[0] if found else video
        embedded = frames.embed([folder / path for path in ordered], POCOVID_HZ)
        cines.append(Cine(label, patient, *embedded))
    return cines


def _frame_number(path: str) -> int:
    found = re.search(r"frame(\d+)", str(path))
    return int(found[1]) if found else 0


def fitted(cines: list[Cine], seed: int) -> FewShotClassifier:
    """Taught with some frames of each cine, patients as groups."""
    rng = np.random.default_rng(seed)
    rows, labels, groups = [], [], []
    for cine in cines:
        for n in rng.permutation(len(cine.rows_ND))[:SHOWN]:
            rows.append(cine.rows_ND[n])
            labels.append(cine.label)
            groups.append(cine.patient)
    return fit_classifier(np.array(rows), {None: labels}, groups, encoder_id="e").classifier


def folds(cines: list[Cine], seed: int) -> Iterator[tuple[list[Cine], list[Cine]]]:
    """Cines to teach and cines of other patients."""
    patients = np.unique([cine.patient for cine in cines])
    place = dict(zip(np.random.default_rng(seed).permutation(patients), range(999), strict=False))
    for fold in range(FOLDS):
        mine = [c for c in cines if place[c.patient] % FOLDS == fold]
        rest = [c for c in cines if place[c.patient] % FOLDS != fold]
        tested = [c for c in mine if len(c.rows_ND) >= MIN_FRAMES]
        if tested and len({c.label for c in rest}) == 2:
            yield rest, tested


def correlation(residuals: list[Any]) -> float:
    """Of residuals of one cine: the intraclass correlation ICC(1), by one-way ANOVA."""
    sizes = np.array([len(r) for r in residuals])
    total = np.concatenate(residuals)
    between = sum(len(r) * (r.mean() - total.mean()) ** 2 for r in residuals) / (len(sizes) - 1)
    within = sum(((r - r.mean()) ** 2).sum() for r in residuals) / (sizes.sum() - len(sizes))
    usual = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    return float((between - within) / (between + (usual - 1) * within))


def averaged(logits_NC: Any, times_N: Any, averaging: Averaging) -> Any:
    """Logits of a running average after each frame."""
    average = LogitAverage(averaging)
    return np.stack([average.add(z, t).logits_C for z, t in zip(logits_NC, times_N, strict=True)])


def answers(model: FewShotClassifier, cine: Cine, steadiness: Steadiness) -> list[Any]:
    """The answers of a stream; the gate is left out, its frames are ultrasound."""
    loaded: Any = SimpleNamespace(model=model)
    stream = StreamAnswers(loaded, coverage=0.9, ultrasound=None, steadiness=steadiness)
    return [
        stream.answer(StreamFrame(row_D.astype(np.float32), found, NOWHERE, float(time_s)))
        for row_D, found, time_s in zip(cine.rows_ND, cine.findings, cine.times_N, strict=True)
    ]


def changes(said: list[Any]) -> int:
    """How often neighbours differ, from the first answer on."""
    first = next((n for n, answer in enumerate(said) if answer is not None), len(said))
    return sum(one != other for one, other in pairwise(said[first:]))


def decision(prediction: Any) -> str | None:
    """The answer to one prediction; None = abstained or not certain."""
    members = prediction.prediction_set
    if prediction.abstained is not None or (members is not None and len(members) != 1):
        return None
    return prediction.label


class Figures:
    """What is summed over cines; every cine counts once."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.seconds = 0.0
        self.frames = 0

    def add(self, cine: Cine, by_way: dict[str, list[Any]], truth: str) -> None:
        """One cine."""
        self.seconds += float(cine.times_N[-1] - cine.times_N[0])
        self.frames += len(cine.times_N)
        for way, said in by_way.items():
            self.sums[f"changes {way}"] += changes(said)
            self.sums[f"answered {way}"] += sum(s is not None for s in said)
            self.sums[f"right {way}"] += sum(s == truth for s in said if s is not None)

    def report(self, ways: list[str]) -> dict[str, Any]:
        """Of all cines."""
        rows = {}
        for way in ways:
            answered = self.sums[f"answered {way}"]
            rows[way] = {
                "changes_a_second": round(self.sums[f"changes {way}"] / self.seconds, 3),
                "answered": round(answered / self.frames, 3),
                "right_of_answered": round(self.sums[f"right {way}"] / max(1, answered), 3),
            }
        return rows


def said_by(model: FewShotClassifier, cine: Cine) -> dict[str, list[Any]]:
    """Decisions of each frame alone, of the average, and what the stream holds."""
    steady = answers(model, cine, STEADY)
    return {
        "frame": [decision(a.frame) for a in answers(model, cine, EACH_FRAME)],
        "average": [decision(a.smoothed) for a in steady],
        "held": [None if a.abstained else (*a.called, "none")[0] for a in steady],
    }


WAYS = ["frame", "average", "held"]


def lungs(cines: list[Cine], averagings: dict[str, Averaging]) -> dict[str, Any]:
    """Part 1."""
    rows: dict[str, list[Any]] = defaultdict(list)
    residuals: dict[str, list[Any]] = {"covid": [], "regular": []}
    figures, covered, sizes = Figures(), defaultdict(list), defaultdict(list)
    near, far = [], []
    for seed in range(REPEATS):
        for rest, tested in folds(cines, seed):
            model = fitted(rest, seed)
            head = model.heads[None]
            temperature = head.calibrator.calibration.temperature
            number = {name: c for c, name in enumerate(head.head.classes)}
            for cine in tested:
                logits_NC = head.head.logits(cine.rows_ND)
                odds_N = (logits_NC[:, 1] - logits_NC[:, 0]) / temperature
                residuals[cine.label].append(odds_N)
                truth = number[cine.label]
                for way, averaging in averagings.items():
                    shares_NC = softmax(averaged(logits_NC, cine.times_N, averaging) / temperature)
                    weight = 1 / len(shares_NC)
                    rows[way].append((shares_NC, truth, weight))
                    sets = head.calibrator.conformal.sets(shares_NC, 0.9)
                    if sets.members_NC is not None:
                        covered[way].append(sets.members_NC[:, truth].mean())
                        sizes[way].append(sets.members_NC.sum(1).mean())
                figures.add(cine, said_by(model, cine), cine.label)
                near += cosines_to_running_mean(cine.rows_ND)
                other = rest[int(np.argmax([len(c.rows_ND) for c in rest]))]
                far += (cine.rows_ND @ other.rows_ND.mean(0)).tolist()
    pooled = [
        [r - np.mean([x.mean() for x in group]) for r in group] for group in residuals.values()
    ]
    report: dict[str, Any] = {
        "cines": sum(len(group) for group in residuals.values()) // REPEATS,
        "correlation_within_a_cine": round(correlation([r for group in pooled for r in group]), 3),
        "cosine_with_running_mean": {
            "percentiles_0.1_1_5": np.percentile(near, [0.1, 1, 5]).round(3).tolist(),
            "another_cine_50_95_99": np.percentile(far, [50, 95, 99]).round(3).tolist(),
        },
        "decisions": figures.report(WAYS),
        "calibration": {},
    }
    for way, parts in rows.items():
        shares_MC = np.concatenate([shares for shares, _, _ in parts])
        truth_M = np.concatenate([np.full(len(shares), truth) for shares, truth, _ in parts])
        weights_M = np.concatenate([np.full(len(s), w) for s, _, w in parts])
        weights_M = balanced(truth_M, weights_M)
        found = reliability(shares_MC, truth_M, weights_M)
        right = (shares_MC.argmax(1) == truth_M) @ weights_M / weights_M.sum()
        report["calibration"][way] = {
            "ece": round(found.ece, 4),
            "brier": round(found.brier, 4),
            "log_loss": round(found.log_loss, 4),
            "accuracy": round(float(right), 4),
            "coverage_of_90_percent_sets": round(float(np.mean(covered[way])), 3)
            if covered
            else None,
            "classes_in_a_set": round(float(np.mean(sizes[way])), 3) if sizes else None,
        }
    return report


def balanced(truth_M: Any, weights_M: Any) -> Any:
    """Classes count equally, as the probabilities suppose."""
    totals = np.bincount(truth_M, weights=weights_M)
    return weights_M / totals[truth_M]


def cosines_to_running_mean(rows_ND: Any) -> list[float]:
    """Of each frame with the mean that a stream compares it with."""
    found, sum_D = [], rows_ND[0]
    for row_D in rows_ND[1:]:
        found.append(float(sum_D @ row_D / np.linalg.norm(sum_D)))
        sum_D = 0.8 * sum_D + row_D
    return found


def organs(frames: Frames, lung: list[Cine], folder: Path) -> dict[str, Any]:
    """Part 2."""
    others: list[Cine] = []
    by_organ = defaultdict(list)
    for row in read_manifest(folder / "manifest.csv"):
        if row.dataset in OTHER_ORGANS:
            by_organ[row.dataset].append(row)
    for dataset, rows in by_organ.items():
        step = max(1, len(rows) // OTHERS_OF_EACH)
        for row in rows[::step]:
            embedded = frames.embed([folder / row.path], 1.0)
            others.append(Cine(OTHER_ORGANS[dataset], f"{dataset} {row.group}", *embedded))
    others += [replace(cine, label="lung") for cine in lung]
    moving = [
        Cine(organ, path, *frames.embed([folder / path], None))
        for organ, paths in (("eye", EYES), ("heart", HEARTS))
        for path in paths
    ]
    total, report = Figures(), {}
    for cine in moving:
        taught = [c for c in moving if c is not cine]
        model = fitted([*others, *taught], 0)
        said = said_by(model, cine)
        total.add(cine, said, cine.label)
        figures = Figures()
        figures.add(cine, said, cine.label)
        report[Path(cine.patient).stem] = {"frames": len(cine.times_N), **figures.report(WAYS)}
    return {"all": total.report(WAYS), **report}


def main() -> None:
    """Measure, and print."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--cache", type=Path, help="folder that keeps the embeddings")
    parser.add_argument("--sweep", action="store_true", help="other constants of the average too")
    arguments = parser.parse_args()
    folder = required_shared_folder() / "data"
    frames = Frames(open_encoder(Settings()), arguments.cache)
    averagings = {
        "frame": Averaging(time_constant_s=0.0),
        "stream": Averaging(),
        "mean_as_one_frame": Averaging(correlation=1.0),
        "independent_frames": Averaging(correlation=0.0),
    }
    if arguments.sweep:
        for constant_s in (0.3, 0.7, 1.0, 1.5, 3.0):
            for share in (0.5, 0.6, 0.7, 0.8, 0.9):
                averagings[f"{constant_s}s r={share}"] = Averaging(constant_s, share)
    cines = lung_cines(frames, folder)
    report = {"lungs": lungs(cines, averagings), "organs": organs(frames, cines, folder)}
    for part, figures in report.items():
        print(part)
        for name, value in figures.items():
            if isinstance(value, dict):
                print(f"  {name}")
                for key, row in value.items():
                    print(f"    {key:28}{row}")
            else:
                print(f"  {name:30}{value}")
    write_report(report, arguments)


if __name__ == "__main__":
    main()
