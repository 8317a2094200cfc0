"""Requests with labelled examples: JSON, or a form with files and the part ``options``."""

import asyncio
from typing import TypeVar

from fastapi import Request

from service.access.audit.touched import touched, touched_patients
from service.access.workspace_rules import require_storable
from service.api.dependencies import Services
from service.api.shapes.classifier_shapes import ExampleSource, LabelledExample
from service.api.uploads import Upload, from_base64, read_upload
from service.classifiers.requests import UploadedExample
from service.classifiers.views.upload_views import ViewsOfUploads
from service.embedding.pipeline import EmbeddedImage, EmbedOptions
from service.errors import InputError, PolicyRefused, ServiceError, TooManyItems
from service.gallery.acceptance import image_of

B = TypeVar("B", bound=ExampleSource)


async def read_labelled(
    request: Request, service: Services, model: type[B]
) -> tuple[B, tuple[bytes, ...]]:
    """Read the body, and the image of each example that is not a stored scan.

    Raises:
        RequestValidationError: the body does not validate.
        InputError: neither JSON nor a form, or another number of files than of examples.
        TooManyItems: more images than a request may contain.
    """
    max_items = service.settings.max_items
    upload = await read_upload(request, max_items=max_items)
    if upload.document is None:
        body, files = await _from_form(upload, model)
    else:
        document = await upload.validated(model, upload.document)
        body, files = await asyncio.to_thread(_from_json, document, max_items)
    touched_patients(body.unstored)
    touched("scan", (example.scan_id for example in body.examples))
    return body, files


def _from_json(body: B, max_items: int) -> tuple[B, tuple[bytes, ...]]:
    examples = body.unstored
    if len(examples) > max_items:
        raise TooManyItems(f"expected at most {max_items} images, got {len(examples)}")
    return body, tuple(_image(example) for example in examples)


async def _from_form(upload: Upload, model: type[B]) -> tuple[B, tuple[bytes, ...]]:
    if upload.options is None:
        raise InputError("expected JSON, or a form with files and the part options")
    body = await upload.validated(model, upload.options)
    examples = body.unstored
    if any(example.image is not None for example in examples):
        raise InputError("expected the images of a form as its files")
    if len(examples) != len(upload.files):
        count = len(upload.files)
        raise InputError(f"expected one example per file, got {len(examples)} for {count}")
    return body, upload.files


def _image(example: LabelledExample) -> bytes:
    if example.image is None:
        raise InputError("expected scan_id or image in each example")
    return from_base64(example.image)


def _let_in(image: EmbeddedImage | ServiceError) -> EmbeddedImage | ServiceError:
    if isinstance(image, EmbeddedImage):
        try:
            require_storable(image_of(image), image.embedding_D)
        except PolicyRefused as error:
            return error
    return image


async def embed_labelled(
    service: Services, body: ExampleSource, files: tuple[bytes, ...], *, with_views: ViewsOfUploads
) -> list[UploadedExample]:
    """Embed all images or none, for a version that keeps them as examples.

    Raises:
        ServiceError: an image cannot be embedded, or the policy of the workspace refuses it; the
            message gives its position.
    """
    uploads = []
    embedded = await embed_each_labelled(service, body, files, are_kept=True, with_views=with_views)
    for index, upload in enumerate(embedded):
        if isinstance(upload, ServiceError):
            raise type(upload)(f"file {index}: {upload}") from upload
        uploads.append(upload)
    return uploads


async def embed_each_labelled(
    service: Services,
    body: ExampleSource,
    files: tuple[bytes, ...],
    *,
    are_kept: bool = False,
    with_views: ViewsOfUploads = False,
) -> list[UploadedExample | ServiceError]:
    """Embed each image, or say why it cannot be embedded.

    Args:
        are_kept: the examples are stored with a version, so the workspace must let them in.
        with_views: embed their views as well, of all files or of single frames alone.
    """
    if not files:
        return []
    options = EmbedOptions(with_views=with_views)
    embedded = await service.pipeline.embed_all(files, options)
    if are_kept:
        embedded = [_let_in(image) for image in embedded]
    return [
        image
        if isinstance(image, ServiceError)
        else UploadedExample(
            image.embedding_D,
            image.sha256,
            example.labelling,
            example.subject_id,
            example.study_id,
            file,
            image.views_VD,
        )
        for file, (image, example) in enumerate(zip(embedded, body.unstored, strict=True))
    ]
