"""Clips and DICOM through HTTP: one scan, its frames, and the same pixels once."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.embedding.pooling import FrameEmbedding, pool, without_repeats
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging import dicom_files as made

PIXELS = {
    scene: [np.asarray(Image.open(file).convert("L").resize((160, 144))) for file in files]
    for scene, files in (
        (
            folder.name,
            sorted(folder.glob("*.png")),
        )
        for folder in sorted((Path(__file__).parents[2] / "service" / "cli" / "samples").iterdir())
        if folder.is_dir()
    )
}
# Two scenes in one clip, each shown twice in a row.
CLIP = np.stack([PIXELS[scene][i] for scene in ("cyst", "mass") for i in (0, 0, 1, 1)])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def embedded(client: Client, data: bytes, **options: str) -> dict:
    return client.embed([data], **options)["items"][0]


def test_a_clip_embeds_as_the_unit_mean_of_its_frames(client: Client) -> None:
    # A clip has one region, a still its own: the whole frame is the same in both.
    options = {"frames": "all", "pool": "none", "region": "none"}
    item = embedded(client, made.dicom(CLIP, FrameTime=40), **options)
    image = item["image"]
    assert (image["kind"], image["format"], image["frames"], image["frames_used"]) == (
        "cine",
        "dicom",
        8,
        8,
    )
    assert image["frame_rate_hz"] == 25
    assert [frame["index"] for frame in item["frames"]] == list(range(8))
    assert item["frames"][3]["time_s"] == pytest.approx(0.12)
    frames_TD = np.array([frame["embedding"] for frame in item["frames"]])
    mean_D = frames_TD.mean(0)
    np.testing.assert_allclose(item["embedding"], mean_D / np.linalg.norm(mean_D), atol=1e-6)
    # int8 kernels differ between a batch and a single frame in the last bits.
    alone_D = np.array(embedded(client, png(CLIP[6]), region="none")["embedding"])
    assert float(alone_D @ frames_TD[6]) > 0.999


def test_a_form_or_a_query_chooses_frames_and_a_wrong_choice_is_refused(client: Client) -> None:
    data = made.dicom(CLIP)
    item = embedded(client, data, frames="uniform:2", pool="none")
    assert [frame["index"] for frame in item["frames"]] == [2, 6]
    assert "frames" not in embedded(client, data, frames="uniform:2")
    assert "frames" not in embedded(client, png(CLIP[0]), pool="none")
    with pytest.raises(ApiError, match="validation_error"):
        client.embed([data], frames="uniform:0")


def test_one_picture_in_dicom_embeds_as_the_same_picture_in_png(client: Client) -> None:
    one = embedded(client, made.dicom(CLIP[:1], made.RLE))
    same = embedded(client, png(CLIP[0]))
    assert one["image"]["kind"] == "frame"
    assert one["image"]["content_sha256"] == same["image"]["content_sha256"]
    assert float(np.dot(one["embedding"], same["embedding"])) > 0.999


def test_a_cine_is_one_scan_and_a_hit_names_its_nearest_frame(client, collection) -> None:
    said = [{"scan_id": "clip", "subject_id": "p1"}]
    client.add_scans(
        collection, [made.dicom(CLIP, FrameTime=40)], said, frames="all", region="none"
    )
    others = [png(pixels) for pixels in PIXELS["stone"][:3]]
    client.add_scans(collection, others, [{"subject_id": f"p{i + 2}"} for i in range(3)])
    assert client.collection(collection)["scans"] == 4
    query = png(PIXELS["mass"][1])
    hits = client.search_image(collection, query, {"k": 4, "region": "none"})["items"]
    by_id = {hit["scan"]["scan_id"]: hit for hit in hits}
    frame = by_id["clip"]["frame"]
    assert frame["index"] in (6, 7)
    assert frame["time_s"] == pytest.approx(frame["index"] * 0.04)
    assert frame["score"] > 0.99 > by_id["clip"]["score"]
    assert [hit["frame"] for hit in hits if hit["scan"]["scan_id"] != "clip"] == [None] * 3
    best = client.search_image(collection, query, {"k": 1, "match": "frame", "region": "none"})[
        "items"
    ]
    assert best[0]["scan"]["scan_id"] == "clip"
    assert best[0]["score"] == best[0]["frame"]["score"]


def test_search_by_frames_keeps_filters_groups_and_deletions(client, collection) -> None:
    clips = [CLIP[:4], CLIP[4:], np.stack(PIXELS["stone"][:4])]
    said = [{"scan_id": f"c{i}", "subject_id": f"p{i // 2}"} for i in range(3)]
    client.add_scans(collection, [made.dicom(clip) for clip in clips], said)
    query = png(PIXELS["mass"][0])

    def found(**options: object) -> list[str]:
        options |= {"match": "frame"}
        hits = client.search_image(collection, query, options)["items"]
        return [hit["scan"]["scan_id"] for hit in hits]

    assert found()[0] == "c1"
    assert sorted(found()) == ["c0", "c1", "c2"]
    assert found(group_by="subject") == ["c1", "c2"]
    assert "c1" not in found(filter={"not_subject_id": "p0"})
    assert found(min_score=0.99) == ["c1"]
    client.delete_scan(collection, "c1")
    assert "c1" not in found()
    client.erase_subject("p1")
    assert found() == ["c0"]


def test_the_same_pixels_in_other_bytes_are_one_scan(client, collection) -> None:
    first, second = PIXELS["mass"][:2]
    files = [png(first), made.dicom(first[None]), made.dicom(first[None], made.J2K_LOSSLESS)]
    items = client.add_scans(collection, [*files, png(second)])["items"]
    assert [item["created"] for item in items] == [True, False, False, True]
    assert len({item["scan"]["scan_id"] for item in items}) == 2
    clip = np.stack([first, second])
    items = client.add_scans(collection, [made.dicom(clip), made.dicom(clip, made.RLE)])["items"]
    assert [item["created"] for item in items] == [True, False]
    assert items[0]["scan"]["image"]["kind"] == "cine"


def test_a_bad_clip_fails_alone_and_a_patient_is_in_no_answer(client, collection) -> None:
    good = made.dicom(CLIP)
    answer = client.request(
        "POST",
        f"/v1/collections/{collection}/scans",
        files=[("files", ("a", data)) for data in (good, good[:5000], png(CLIP[0]))],
    )
    codes = [item.get("problem", {}).get("code") for item in answer.json()["items"]]
    assert codes == [None, "corrupt_image", None]
    assert made.NAME not in answer.text
    assert made.NAME.encode() in good


def test_clips_over_the_limits_answer_413_with_their_own_code(client: Client) -> None:
    for data, code in (
        (made.dicom(np.zeros((40, 64, 96), np.uint8), FrameTime=9000), "clip_too_long"),
        (made.dicom(CLIP, Rows=65535, Columns=65535), "image_too_large"),
    ):
        with pytest.raises(ApiError) as caught:
            client.request("POST", "/v1/embeddings", content=data)
        assert (caught.value.code, caught.value.status) == (code, 413)


def frame(angle: float, copies: int = 1) -> FrameEmbedding:
    return FrameEmbedding(0, None, np.array([np.cos(angle), np.sin(angle)], np.float32), copies)


def test_pooling_weighs_copies_and_gives_a_unit_row() -> None:
    pooled_D = pool((frame(0.0, 3), frame(np.pi / 2)))
    np.testing.assert_allclose(pooled_D, np.array([3, 1]) / np.sqrt(10), atol=1e-6)
    np.testing.assert_allclose(pool((frame(0.0), frame(np.pi))), [1, 0], atol=1e-6)


def test_near_identical_frames_are_kept_once_and_counted() -> None:
    kept = without_repeats((frame(0.0), frame(0.001), frame(1.0), frame(0.002), frame(1.001)))
    assert [k.copies for k in kept] == [3, 2]
    np.testing.assert_allclose(pool(kept), pool((frame(0.0, 3), frame(1.0, 2))), atol=1e-6)
