"""Which collections and classifiers the request of an operation names.

They are stored beside the request, which is deleted when the work ends: a key that is limited to
names sees the operations about these names only.
"""

from collections.abc import Callable, Mapping
from typing import Any

from service.catalog.operation_records import NamedItems
from service.classifiers.requests import ExampleSelection, FitRequest, RefitFromSource
from service.errors import InputError
from service.jobs.job_requests import (
    ExportRequest,
    ImportRequest,
    LayoutRequest,
    ReembedRequest,
    RefitRequest,
)


def names_in(kind: str, request: Mapping[str, Any]) -> NamedItems:
    """What the request of this kind names; nothing if it concerns more than named items."""
    read = _READERS.get(kind)
    try:
        return NamedItems() if read is None else read(request)
    except InputError:  # it fails later, where it is read to be worked on
        return NamedItems()


def _of_fit(document: Mapping[str, Any]) -> NamedItems:
    request = FitRequest.from_json(document)
    unlabelled = request.options.unlabelled
    pool = None if unlabelled is None else unlabelled.collection
    return NamedItems((*_collections(request.examples), *filter(None, [pool])), (request.name,))


def _of_refit(document: Mapping[str, Any]) -> NamedItems:
    if "classifiers" in document:
        return NamedItems(classifiers=RefitRequest.from_json(document).classifiers)
    request = RefitFromSource.from_json(document)
    unlabelled = request.options.unlabelled
    pool = None if unlabelled is None else unlabelled.collection
    source = () if request.source is None else _collections(request.source)
    return NamedItems((*source, *filter(None, [pool])), (request.name,))


def _collections(selection: ExampleSelection) -> tuple[str, ...]:
    named = (selection.collection, *(scan.collection for scan in selection.scans))
    return tuple(name for name in named if name is not None)


_READERS: dict[str, Callable[[Mapping[str, Any]], NamedItems]] = {
    "fit": _of_fit,
    "refit": _of_refit,
    "reembed": lambda document: NamedItems((ReembedRequest.from_json(document).collection,)),
    "layout": lambda document: NamedItems((LayoutRequest.from_json(document).collection,)),
    "export": lambda document: NamedItems((ExportRequest.from_json(document).collection,)),
    "import": lambda document: NamedItems((ImportRequest.from_json(document).collection,)),
}
