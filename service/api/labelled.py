"""Labelled examples of a request: stored scans, uploads, or a mix; all or nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from service.api.classifier_schemas import (
    Classed,
    FitBody,
    LabelledInstance,
    Stored,
    UploadedExample,
)
from service.api.state import Services
from service.api.uploads import Upload, from_base64, validate
from service.api.wire import scan_filter
from service.classifiers.examples import Example, group_of, key_of
from service.classifiers.fitting import MULTI, SINGLE, FitOptions, Kind
from service.errors import InputError, ServiceError, TooManyItems, WrongKind

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Uploaded files, each with what was said of it."""

    files: tuple[bytes, ...]
    said: tuple[UploadedExample, ...]


NOTHING = Labelled((), ())


def from_form(upload: Upload, model: type[M]) -> tuple[M, Labelled]:
    """Files of a form with one example per file in ``metadata``. Raises InvalidBody, InputError."""
    sent = validate(model, upload.metadata)
    said: list[UploadedExample] = getattr(sent, "examples")  # noqa: B009 - each model has it
    if len(said) != len(upload.files):
        raise InputError(f"expected one example per file, got {len(said)} for {len(upload.files)}")
    return sent, Labelled(upload.files, tuple(said))


def from_instances(instances: Sequence[LabelledInstance], *, max_items: int) -> Labelled:
    """Images in JSON. Raises TooManyItems, InputError: one that cannot be read fails all."""
    if len(instances) > max_items:
        raise TooManyItems(f"expected at most {max_items} images, got {len(instances)}")
    return Labelled(tuple(from_base64(instance.image) for instance in instances), tuple(instances))


def key_for(kind: str, said: Classed) -> str:
    """The label that an example of this kind of classifier is learnt as.

    Raises:
        WrongKind: a label where a list is wanted, or the other way round.
    """
    if kind == MULTI and said.labels is not None:
        return key_of(said.labels)
    if kind == SINGLE and said.label is not None:
        return said.label
    raise WrongKind(
        "a multi-label classifier wants a list of labels per example, and tasks instead of a task; "
        "a single-label one wants a label, and a task"
    )


def options_for(kind: Kind, sent: FitBody) -> FitOptions:
    """What the request says of fitting; None where it says nothing."""
    weights = {} if sent.class_weights == "balanced" else sent.class_weights
    return FitOptions(
        kind, weights if isinstance(weights, dict) else None, sent.count, sent.thresholds
    )


async def gather(
    service: Services,
    workspace_id: str,
    stored: Stored,
    labelled: Labelled,
    kind: str = SINGLE,
) -> list[Example]:
    """Everything that the request names, in its order: scans first.

    Raises:
        WrongKind: labels that are not of this kind of classifier.
        UnknownItem: no such collection or scan.
        EncoderMismatch: of a collection.
        ServiceError: of the first image that cannot be embedded; it names its position.
    """
    found: list[Example] = []
    if stored.has_stored:
        found = await asyncio.to_thread(stored_examples, service, workspace_id, stored, kind)
    return found + await _uploaded(service, labelled, kind)


def stored_examples(
    service: Services, workspace_id: str, stored: Stored, kind: str
) -> list[Example]:
    """The scans that the request names, those of its task first. Raises as ``gather``."""
    sources, where = service.classifiers.sources, scan_filter(stored.filter)
    found: list[Example] = []
    if (stored.tasks and kind == SINGLE) or (stored.task is not None and kind == MULTI):
        raise WrongKind("expected a task of a single-label, or tasks of a multi-label classifier")
    if stored.tasks and stored.collection is not None:
        found += sources.of_tasks(workspace_id, stored.collection, stored.tasks, where)
    if stored.task is not None and stored.collection is not None:
        found += sources.of_task(workspace_id, stored.collection, stored.task, where)
    named: dict[str, list[tuple[str, str]]] = {}
    for scan in stored.scans:
        collection = scan.collection or stored.collection or ""
        named.setdefault(collection, []).append((scan.scan_id, key_for(kind, scan)))
    for collection, labels in named.items():
        found += sources.of_scans(workspace_id, collection, labels)
    return found


async def _uploaded(service: Services, labelled: Labelled, kind: str) -> list[Example]:
    if not labelled.files:
        return []
    labels = [key_for(kind, said) for said in labelled.said]  # before the work
    examples: list[Example] = []
    embedded = await service.pipeline.embed_all(labelled.files)
    for index, (found, said) in enumerate(zip(embedded, labelled.said, strict=True)):
        if isinstance(found, ServiceError):
            raise type(found)(f"file {index}: {found}") from found
        examples.append(
            Example(
                found.embedding_D,
                labels[index],
                group_of(said.subject_id, said.study_id, found.sha256),
                found.sha256,
                None,
                said.subject_id,
                said.study_id,
                file=index,
            )
        )
    return examples
