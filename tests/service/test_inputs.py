"""Bodies as odd clients send them: each answer is what its sender can act on, and never a 500."""

import base64
import io
import json

import pytest
from PIL import Image, PngImagePlugin

from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, path: str, body: bytes, kind: str = "application/json"):
    return client.request("POST", path, content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", b"null"),
        ("/v1/embeddings", b"[]"),
        ("/v1/embeddings", b"[" * 100_000),
        ("/v1/collections", b"[" * 100_000),
        ("/v1/collections", b"\xff"),
        ("/v1/classifiers", b"null"),
        ("/v1/embeddings", b'{"images": NaN}'),
    ],
)
def test_json_that_is_no_object_is_one_code_and_one_status(client, path: str, body: bytes) -> None:
    with refused("invalid_input", 422):
        post(client, path, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"images": []}),
        ("/v1/embeddings", {"images": [7]}),
        ("/v1/collections", {"name": "a b"}),
        ("/v1/collections", {"name": "a", "description": "\ud800"}),
        ("/v1/classifiers", {"name": "k", "examples": [{"image": "aGk="}]}),
        ("/v1/classifiers", {"name": "k"}),
    ],
)
def test_json_of_a_wrong_shape_names_its_field(client, path: str, body: dict) -> None:
    with refused("validation_error", 422):
        post(client, path, json.dumps(body).encode())


def test_one_image_of_bad_base64_fails_alone(client, collection, frames) -> None:
    images = [b64(frames["cyst"][0]), "###", b64(frames["cyst"][1])]
    body = json.dumps({"images": images}).encode()
    for path in ("/v1/embeddings", f"/v1/collections/{collection}/scans"):
        answer = post(client, path, body)
        assert answer.status_code == 207
        codes = [item.get("problem", {}).get("code") for item in answer.json()["items"]]
        assert codes == [None, "invalid_input", None]


def test_options_of_a_json_body_count_more_than_those_of_the_address(client, frames) -> None:
    images = [b64(frames["cyst"][0])]
    path = "/v1/embeddings?dtype=int8&encoding_format=base64"
    plain = post(client, path, json.dumps({"images": images}).encode()).json()
    assert (plain["dtype"], plain["encoding_format"]) == ("int8", "base64")
    body = {"images": images, "encoding_format": "float"}
    named = post(client, path, json.dumps(body).encode()).json()
    assert named["dtype"] == "int8"
    assert isinstance(named["items"][0]["embedding"], list)


def test_the_error_of_one_raw_image_is_the_answer(client, collection) -> None:
    dicom = b"\0" * 128 + b"DICM" + b"\0" * 100
    clip = b"\0\0\0\x18ftypmp42" + b"\0" * 100
    for path in ("/v1/embeddings", f"/v1/collections/{collection}/scans"):
        with refused("corrupt_image", 422):
            post(client, path, clip, "video/mp4")
        with refused("unsupported_format", 415):  # no pixel data
            post(client, path, dicom, "application/dicom")
    with refused("unsupported_format", 415):
        post(client, f"/v1/collections/{collection}/search", dicom, "application/dicom")


def test_a_classifier_is_fitted_from_images_in_json(client, frames) -> None:
    images = [(scene, image) for scene in ("cyst", "stone") for image in frames[scene][:3]]
    body = {
        "name": "json",
        "examples": [{"image": b64(i), "label": s, "subject_id": s + s} for s, i in images],
    }
    made = post(client, "/v1/classifiers", json.dumps(body).encode()).json()
    assert made["classes"] == ["cyst", "stone"]
    body["name"], body["examples"][0]["image"] = "json2", "###"
    with refused("invalid_input", 422):
        post(client, "/v1/classifiers", json.dumps(body).encode())
    assert [found["name"] for found in client.classifiers()] == ["json"]
    client.delete_classifier("json")


@pytest.mark.parametrize("scan_id", ["a/b", "..", "a\\b", "", "x" * 129, "a\nb"])
def test_a_scan_id_that_no_address_can_hold_is_refused(
    client, collection, frames, scan_id: str
) -> None:
    with refused("validation_error", 422):
        client.add_scans(collection, frames["cyst"][:1], [{"scan_id": scan_id}])


@pytest.mark.parametrize("scan_id", ["1.2.840.113619", "a?b#c", "50%", "häm 1", "a;b=c&d"])
def test_every_other_scan_id_is_read_and_deleted_by_the_client(
    client, collection, frames, scan_id: str
) -> None:
    client.add_scans(collection, frames["cyst"][:1], [{"scan_id": scan_id}])
    assert client.scan(collection, scan_id)["scan_id"] == scan_id
    assert client.thumbnail(collection, scan_id)
    assert client.delete_scan(collection, scan_id)["deleted"] == scan_id


@pytest.mark.parametrize("subject_id", ["12/345", "a?b", "50%", "häm 1"])
def test_a_subject_of_any_name_can_be_erased(client, collection, frames, subject_id: str) -> None:
    client.add_scans(collection, frames["cyst"][:1], [{"subject_id": subject_id}])
    assert len(client.erase_subject(subject_id)["scans"]) == 1
    assert client.collection(collection)["scans"] == 0


def test_a_vector_of_absurd_size_is_refused_not_rounded_to_infinity(client, collection) -> None:
    with refused("validation_error", 422):
        client.search(collection, {"vector": [1e300] + [0.0] * 511})


def test_names_that_callers_choose_are_masked_in_validation_errors(
    client, collection, frames
) -> None:
    for part in ({"labels": {"DOE": ""}}, {"attributes": {"DOE": [1]}}):
        with pytest.raises(ApiError) as caught:
            client.add_scans(collection, frames["cyst"][:1], [part])
        assert caught.value.code == "validation_error"
        assert "DOE" not in str(caught.value)
        assert ".*" in str(caught.value)


def test_a_thumbnail_carries_the_pixels_and_nothing_else(client, collection, frames) -> None:
    picture = Image.open(io.BytesIO(frames["cyst"][0]))
    said = PngImagePlugin.PngInfo()
    said.add_text("PatientName", "DOE^JOHN")
    exif = Image.Exif()
    exif[0x010E] = "DOE^JOHN"  # ImageDescription
    sent = []
    for kind, options in (("PNG", {"pnginfo": said}), ("JPEG", {"exif": exif})):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        sent.append(buffer.getvalue())
        assert b"DOE^JOHN" in sent[-1]
    for item in client.add_scans(collection, sent)["items"]:
        small = client.thumbnail(collection, item["scan"]["scan_id"])
        assert b"DOE" not in small
        assert set(Image.open(io.BytesIO(small)).info) <= {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
        }


def test_a_raw_upload_carries_its_facts_in_the_address(client, collection, frames) -> None:
    address = f"/v1/collections/{collection}/scans"
    facts = "scan_id=s1&subject_id=p1&study_id=st1&label=finding:cyst&label=side:left"
    stored = post(client, f"{address}?{facts}", frames["cyst"][0], "image/png").json()
    scan = stored["items"][0]["scan"]
    assert (scan["scan_id"], scan["subject_id"], scan["study_id"]) == ("s1", "p1", "st1")
    assert scan["labels"] == {"finding": "cyst", "side": "left"}
    for wrong in ("label=finding", "label=a:b&label=a:c"):
        with refused("invalid_input", 422):
            post(client, f"{address}?{wrong}", frames["cyst"][1], "image/png")
    with refused("validation_error", 422):
        post(client, f"{address}?scan_id=a/b", frames["cyst"][1], "image/png")
    with refused("invalid_input", 422):  # a form says it in metadata
        client.request("POST", f"{address}?subject_id=p", files=[("files", ("a", b"x"))])


def test_a_batch_whose_items_all_fail_alike_is_refused(client, collection, frames) -> None:
    with refused("unsupported_format", 415):
        client.add_scans(collection, [b"text", b"more text"])
    client.add_scans(collection, frames["cyst"][:1], [{"scan_id": "a"}])
    with refused("name_taken", 409):
        client.add_scans(collection, frames["cyst"][1:2], [{"scan_id": "a"}])


def test_scans_of_files_are_listed_by_their_digests(client, collection, frames) -> None:
    stored = client.add_scans(collection, frames["cyst"][:2])["items"]
    digests = [item["scan"]["image"]["sha256"] for item in stored]
    ids = [item["scan"]["scan_id"] for item in stored]
    assert client.known(collection, [*digests, "0" * 64]) == dict(zip(digests, ids, strict=True))
    path = f"/v1/collections/{collection}/scans"
    with refused("invalid_input", 422):
        client.request("GET", path, params={"sha256": digests, "subject_id": "p1"})
    with refused("too_many_items", 413):
        client.request("GET", path, params={"sha256": ["0" * 4] * 501})
