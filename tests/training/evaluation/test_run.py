"""Frames in, one document out: sets, cache, encoders, and what is made of the document."""

import copy
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.embedding.bundle import read_manifest as read_bundle
from service.embedding.encoder import load_encoder
from service.errors import ArtifactMismatch, InputError
from service.imaging.analysis.preprocess import preprocess
from training.bundle.card import benchmark_section, write_benchmark
from training.catalogue.contents import content_of
from training.catalogue.manifest import load_frames, read_manifest
from training.evaluation.cache import features
from training.evaluation.cost import measure_costs, onnx_counts
from training.evaluation.document import read_document, write_document
from training.evaluation.encoders import (
    PIXEL_SPEC,
    PixelEncoder,
    bundle_encoders,
    embed,
    random_resnet50,
)
from training.evaluation.report import write_report
from training.evaluation.run import EvaluationPlan, evaluate
from training.evaluation.scores import Effort
from training.evaluation.sets import facts_of, read_sets, read_thinned_sets, subsample
from training.evaluation.summary import benchmark_of, console, mean_over_sets

BUNDLE = Path(__file__).parents[2] / "fixtures" / "bundle_v1"


@dataclass
class Counting:
    """Raw pixels that count how often they were asked for."""

    name: str = "counting"
    key: str = "counting"
    spec: Any = PIXEL_SPEC
    path: Path | None = None
    frames: int = 0
    pixels: PixelEncoder = field(default_factory=PixelEncoder)

    def forward(self, inputs_B3SS: np.ndarray) -> np.ndarray:
        self.frames += len(inputs_B3SS)
        return self.pixels.forward(inputs_B3SS)


@pytest.fixture(scope="module")
def document(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tiny bundle and raw pixels on both sets, with costs."""
    rows = read_manifest(manifest)
    encoders = [*bundle_encoders(BUNDLE), PixelEncoder()]
    plan = EvaluationPlan(
        encoders=encoders,
        sets=read_sets(rows),
        corpus=[row for row in rows if row.use == "corpus"],
        cache=tmp_path_factory.mktemp("cache"),
        effort=Effort(shots=(1, 5, 20), seeds=3, fractions=(0.25,), fraction_seeds=2),
        maps=False,
    )
    return evaluate(plan, measure_costs(encoders, rounds=1))


def test_sets_leave_out_conflicts_and_take_support_from_the_labelled_corpus(
    manifest: Path,
) -> None:
    lesions, lung = read_sets(read_manifest(manifest))
    assert len(lesions.rows) == 36
    assert not lesions.labelled.has_own_split
    assert not lesions.in_domain
    assert lung.in_domain
    assert lung.labelled.support_N.sum() == 12
    assert {row.use for row, s in zip(lung.rows, lung.labelled.support_N, strict=True) if s} == {
        "corpus"
    }


def test_facts_of_sets_change_with_a_label_a_group_or_a_frame(manifest: Path) -> None:
    lesions, lung = read_sets(read_manifest(manifest))
    labels, groups = (column.copy() for column in (lesions.labelled.labels_N,) * 2)
    labels[0], groups[0] = labels[-1], "another"
    others = [
        [lung, lesions],
        [lesions],
        [replace(lesions, rows=lesions.rows[::-1]), lung],
        *(
            [replace(lesions, labelled=replace(lesions.labelled, **changed)), lung]
            for changed in ({"labels_N": labels}, {"groups_N": groups})
        ),
    ]
    assert facts_of([lesions, lung]) == facts_of(read_sets(read_manifest(manifest)))
    assert len({facts_of(sets) for sets in [[lesions, lung], *others]}) == 6


def test_unknown_sets_are_refused_by_name(manifest: Path) -> None:
    with pytest.raises(InputError, match="thyroid"):
        read_sets(read_manifest(manifest), ["thyroid"])


def test_thinning_keeps_classes_and_whole_groups(manifest: Path) -> None:
    lesions, lung = read_sets(read_manifest(manifest))
    thinned, whole = read_thinned_sets(read_manifest(manifest), [f"{lesions.name}:18", lung.name])
    assert thinned.rows == subsample(lesions, 18).rows
    assert whole.rows == lung.rows
    assert len(subsample(lesions, 18).rows) == 18
    for full in (lesions, lung):
        part = subsample(full, len(full.rows) // 2)
        assert part.labelled.classes == full.labelled.classes
        assert part.labelled.has_own_split == full.labelled.has_own_split
        kept = set(part.labelled.groups_N)
        assert len(part.rows) == sum(group in kept for group in full.labelled.groups_N)


def test_a_second_run_computes_nothing_and_a_changed_file_is_computed_anew(
    manifest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(manifest.parent, folder)
    rows = read_sets(read_manifest(folder / "manifest.csv"), ["lesions"])[0].rows
    encoder, cache = Counting(), tmp_path / "cache"
    first = features(encoder, rows, cache)
    np.testing.assert_array_equal(features(encoder, rows, cache), first)
    assert encoder.frames == len(rows)
    before = content_of(rows)
    rows[0].path.write_bytes(rows[1].path.read_bytes())
    changed = features(encoder, rows, cache)
    assert content_of(rows) != before
    assert encoder.frames == 2 * len(rows)
    np.testing.assert_array_equal(changed[0], changed[1])


def test_the_bundle_is_judged_on_exactly_what_the_service_computes(manifest: Path) -> None:
    frames = load_frames(read_manifest(manifest)[:5])
    (encoder,) = bundle_encoders(BUNDLE)
    served = load_encoder(BUNDLE)
    expected = [served.encode(preprocess(frame[None], served.spec))[0] for frame in frames]
    # float32 in batches of another size
    np.testing.assert_allclose(embed(encoder, frames, batch=3), expected, atol=1e-5)


def test_a_precision_that_the_bundle_lacks_is_refused() -> None:
    with pytest.raises(ArtifactMismatch, match="int8"):
        bundle_encoders(BUNDLE, ["int8"])


def test_a_random_network_is_the_same_for_the_same_seed(manifest: Path) -> None:
    frames = load_frames(read_manifest(manifest)[:2])
    one, again, other = (embed(random_resnet50(seed), frames) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one[0] - one[1]).max() > 1e-4


def test_costs_count_weights_and_work() -> None:
    # One 32 x 32 convolution, 3 to 16 channels, on a 2 x 2 grid.
    assert onnx_counts(BUNDLE / "encoder.fp32.onnx") == (16 * 3 * 32 * 32 + 16, 4 * 16 * 3 * 32**2)
    costs = measure_costs([random_resnet50()], rounds=1, batches=(1,))["random_resnet50"]
    assert costs.parameters == 23_508_032
    # 4.1 G for ResNet-50 at 224 px in every table of such numbers.
    assert costs.multiply_adds == pytest.approx(4.1e9, rel=0.02)
    assert costs.cpu_ms["1"] > 0


def test_a_document_holds_every_encoder_on_every_set(document: dict[str, Any]) -> None:
    bundle = ["bundle_fp32", "bundle_fp32_centred", "bundle_fp32_served"]
    names = [*bundle, "pixels", "pixels_served"]
    assert [e["name"] for e in document["encoders"]] == names
    assert [e["centred"] for e in document["encoders"]] == [False, True, False, True, True]
    ways = ["whole", "whole", "served", "whole", "served"]
    assert [e["way"] for e in document["encoders"]] == ways
    assert list(document["results"]) == names
    assert list(document["results"]["pixels"]) == ["lesions", "lung"]
    assert list(document["paired"]) == names[1:]


def test_in_domain_sets_stay_out_of_the_mean(document: dict[str, Any]) -> None:
    result = document["results"]["pixels"]
    outside, everything = (mean_over_sets(document, w)["pixels"] for w in ("outside", "all"))
    assert outside["5"] == result["lesions"]["shots"]["5"]["mean"]
    both = [result[name]["shots"]["5"]["mean"] for name in ("lesions", "lung")]
    assert everything["5"] == pytest.approx(np.mean(both), abs=0.02)
    assert "20" not in outside


def test_paired_differences_are_the_differences_of_the_means(document: dict[str, Any]) -> None:
    means = mean_over_sets(document)
    for key in ("1", "5", "full"):
        expected = means["bundle_fp32"][key] - means["pixels"][key]
        found = document["paired"]["pixels"]["mean"][key]
        assert found["mean"] == pytest.approx(expected, abs=0.02)
        assert found["low"] <= found["mean"] <= found["high"]


def test_what_the_analysis_costs_is_the_difference_of_both_ways(document: dict[str, Any]) -> None:
    results = document["results"]
    for encoder, shown in (("bundle_fp32", "bundle_fp32_served"), ("pixels", "pixels_served")):
        for name in ("lesions", "lung"):
            found = document["ways"][encoder]["served"][name]["5"]
            both = [results[form][name]["shots"]["5"]["mean"] for form in (shown, encoder)]
            assert found["mean"] == pytest.approx(both[0] - both[1], abs=0.02)
    assert "| served | lesions |" in benchmark_section(benchmark_of(document))


def test_the_report_made_from_the_file_names_every_encoder_and_set(
    document: dict[str, Any], tmp_path: Path
) -> None:
    stored = read_document(write_document(document, tmp_path))
    page = write_report(stored, tmp_path).read_text()
    table = (tmp_path / "benchmark.md").read_text()
    for name in document["results"]:
        assert f"<td>{name}</td>" in page
        assert f"| {name} |" in table
        assert name in console(stored)
    assert "<th>recall at 5</th>" in page
    assert "lesions" in page
    assert "lung (in-domain" in table
    assert "http://" not in page
    assert "https://" not in page
    mean = mean_over_sets(stored)["pixels"]["5"]
    assert f"{mean:.1f}" in page
    assert f"| {mean:.1f} |" in table


def test_names_are_escaped_in_the_report(document: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(document).replace("lesions", "<b>bold</b>")
    page = write_report(json.loads(text), tmp_path).read_text()
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_other_schemas_and_broken_files_are_refused(
    document: dict[str, Any], tmp_path: Path
) -> None:
    path = write_document(document, tmp_path)
    path.write_text("{")
    with pytest.raises(InputError):
        read_document(path)
    write_document(document | {"schema_version": 99}, tmp_path)
    with pytest.raises(InputError, match="99"):
        read_document(path)
    part = copy.copy(document)
    del part["results"]
    write_document(part, tmp_path)
    with pytest.raises(InputError, match="results"):
        read_document(path)


def test_a_bundle_carries_the_numbers_and_stays_the_same_encoder(
    document: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(BUNDLE, folder)
    benchmark = json.loads(json.dumps(benchmark_of(document)))
    write_benchmark(folder, benchmark)
    once = (folder / "MODEL_CARD.md").read_text()
    write_benchmark(folder, benchmark)
    assert (folder / "MODEL_CARD.md").read_text() == once
    assert once.count("## Benchmark") == 1
    assert "| pixels |" in once
    assert once.startswith((BUNDLE / "MODEL_CARD.md").read_text().rstrip())
    assert read_bundle(folder).about["benchmark"] == benchmark
    assert load_encoder(folder).encoder_id == load_encoder(BUNDLE).encoder_id


def test_the_same_name_twice_is_refused(manifest: Path, tmp_path: Path) -> None:
    sets = read_sets(read_manifest(manifest))
    with pytest.raises(InputError, match="pixels"):
        evaluate(EvaluationPlan([PixelEncoder(), PixelEncoder()], sets, [], tmp_path), {})
