"""Fits that answer 202: what was asked is kept with the operation and read again by its thread."""

from collections.abc import Callable, Mapping
from typing import Any

from service.api.classifier_schemas import NewClassifierBody
from service.api.labelled import options_for, stored_examples
from service.api.schemas import JsonObject
from service.api.state import Caller, Services
from service.api.uploads import validate
from service.catalog.lifecycle_records import Operation
from service.catalog.records import Author
from service.errors import NameTaken
from service.jobs.operations import JobKind, Progress
from service.jobs.threads import gc_paused


def fit_request(body: NewClassifierBody, caller: Caller) -> JsonObject:
    """What the operation remembers: the body as it was sent, and whose key it was."""
    author = {"key_id": caller.author.key_id, "key_name": caller.author.key_name}
    return {"body": body.model_dump(mode="json", by_alias=True), "author": author}


def fit_kind(running: Callable[[], Services]) -> JobKind:
    """The kind of operation that fits; ``running`` is asked when one begins."""

    @gc_paused()
    def fit(operation: Operation, progress: Progress) -> Mapping[str, Any]:
        service, owner = running(), operation.workspace_id
        body = validate(NewClassifierBody, operation.request["body"])
        author = Author(**operation.request["author"])
        mark = {"operation_id": operation.operation_id}
        try:
            examples = stored_examples(service, owner, body, body.kind)
            progress.report(0, len(examples))
            service.classifiers.fit(
                owner,
                body.name,
                examples,
                author,
                options_for(body.kind, body),
                settings=mark,
                before_storing=progress.check,
            )
        except NameTaken:
            if not _is_ours(service, owner, body.name, mark):
                raise
        return {"classifier": body.name, "location": f"/v1/classifiers/{body.name}"}

    return JobKind(fit)


def _is_ours(service: Services, owner: str, name: str, mark: JsonObject) -> bool:
    """Whether an attempt before a restart stored the classifier and could not say so any more."""
    settings = service.catalog.get_version(owner, name, 1).settings
    return mark.items() <= settings.items()
