"""Classifiers: fit, list, read, publish a version, delete, import."""

import asyncio
from functools import partial

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.api.dependencies import KnownCaller, Service, WorkspaceId
from service.api.etags import IfMatch, created, with_etag
from service.api.idempotency import Idempotent
from service.api.labelled_examples import embed_labelled, read_labelled
from service.api.openapi import labelled_body
from service.api.paging import Paging, next_cursor, page_within
from service.api.permissions import PUBLISH, needs
from service.api.routes.operation_routes import ACCEPTED, Prefer, accepted, prefers_async
from service.api.routes.version_routes import version_created
from service.api.routing import StrictRoute
from service.api.shapes.base import Deleted, responses_of
from service.api.shapes.classifier_shapes import (
    ClassifierAnswer,
    ClassifierImportBody,
    ClassifierPage,
    ClassifierPatchBody,
    NewClassifierBody,
    RefitBody,
)
from service.api.shapes.version_shapes import VersionAnswer
from service.api.source_limits import require_sources, source_changes
from service.classifiers.document_rules import check_json
from service.classifiers.label_source import collections_read
from service.classifiers.registry import Classifier
from service.classifiers.views.upload_views import ViewsOfUploads
from service.jobs.operations import Operation

router = APIRouter(route_class=StrictRoute, prefix="/v1/classifiers", tags=["classifiers"])


@router.post(
    "",
    status_code=201,
    openapi_extra=labelled_body(NewClassifierBody),
    responses=responses_of(ClassifierAnswer, 201) | ACCEPTED,
    dependencies=[needs("classifier.write", limited="body")],
)
async def create_classifier(
    request: Request,
    service: Service,
    caller: KnownCaller,
    idempotent: Idempotent,
    prefer: Prefer = None,
) -> Response:
    """Fit from a task of a collection, named scans, labelled uploads, or a mix of them.

    ``kind: multi_label`` fits one head per label, for labels that can be present together; examples
    then have ``labels``, a list. Uploads are all or nothing: one unreadable image fails the
    request, because a classifier must be fitted from all examples that were sent.
    With ``Prefer: respond-async`` a fit from stored scans answers 202 with an operation to poll.
    """
    body, files = await read_labelled(request, service, NewClassifierBody)
    fit_request = body.request(caller.author)

    async def act() -> JSONResponse:
        if prefers_async(prefer) and not files:
            check = service.registry.check_sources
            unlabelled = fit_request.options.unlabelled
            await asyncio.to_thread(check, caller.workspace_id, fit_request.examples, unlabelled)
            start = service.operations.start
            operation = await asyncio.to_thread(
                start, caller.workspace_id, "fit", fit_request.to_json()
            )
            return accepted(operation, preferred=True)
        with_views: ViewsOfUploads = False
        if files:
            views_of = service.registry.upload_views.of_fit
            sources = (fit_request.options.views, fit_request.examples, len(files))
            with_views = await asyncio.to_thread(views_of, caller.workspace_id, *sources)
        uploads = await embed_labelled(service, body, files, with_views=with_views)
        fit = partial(service.registry.fit, caller.workspace_id, fit_request, uploads)
        return _created(await service.fits.run(fit))

    return await idempotent.run(act, "classifier", body, *files)


def _created(classifier: Classifier) -> JSONResponse:
    return created(ClassifierAnswer.of(classifier), f"/v1/classifiers/{classifier.name}")


@router.get("", dependencies=[needs("classifier.read", limited="shown")])
async def list_classifiers(
    service: Service, caller: KnownCaller, workspace_id: WorkspaceId, paging: Paging
) -> ClassifierPage:
    """Classifiers with the reports of their published versions, sorted by name."""
    page = await asyncio.to_thread(
        page_within,
        caller.limits,
        partial(service.registry.list_classifiers, workspace_id),
        lambda classifier: caller.limits.has_classifier(classifier.name),
        limit=paging.limit,
        after=paging.after("classifiers"),
    )
    items = [ClassifierAnswer.of(classifier) for classifier in page.items]
    return ClassifierPage(items=items, next_cursor=next_cursor("classifiers", page.next_after))


@router.get("/{name}", dependencies=[needs("classifier.read")])
async def get_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, response: Response
) -> ClassifierAnswer:
    """Read one classifier with the report of its published version.

    ``source_changes`` counts the labels that are newer, changed or removed since that version.
    """
    classifier = await asyncio.to_thread(service.registry.get, workspace_id, name)
    published = classifier.published
    changes = await asyncio.to_thread(source_changes, service, workspace_id, name, published)
    return with_etag(response, ClassifierAnswer.of(classifier, changes))


@router.post(
    "/{name}/refit",
    status_code=201,
    responses=responses_of(VersionAnswer, 201) | ACCEPTED | {409: {}},
    dependencies=[needs("classifier.write")],
)
async def refit_classifier(
    name: str,
    body: RefitBody,
    service: Service,
    caller: KnownCaller,
    idempotent: Idempotent,
    if_match: IfMatch,
    prefer: Prefer = None,
) -> Response:
    """Fit a new version from the labels that the source of the classifier has now.

    Uploads and scans that were named stay. What was relabelled or dropped by hand stays so until
    the label of the scan changes. `nothing_changed` when the version has these labels already.
    """
    if body.publish:
        caller.require(PUBLISH)
    await asyncio.to_thread(require_sources, service, caller, name, body.version)
    refit_request = body.request(name, caller.author, if_match)

    async def act() -> JSONResponse:
        check = service.registry.check_refit
        await asyncio.to_thread(check, caller.workspace_id, refit_request)
        if prefers_async(prefer):

            def begun() -> Operation:
                _, base = service.registry.find(caller.workspace_id, name, body.version)
                document, reads = refit_request.to_json(), collections_read(base)
                return service.operations.start(caller.workspace_id, "refit", document, reads=reads)

            return accepted(await asyncio.to_thread(begun), preferred=True)
        refit = partial(service.registry.refit, caller.workspace_id, refit_request)
        return version_created(*await service.fits.run(refit))

    return await idempotent.run(act, "refit", name, str(if_match), body)


@router.patch("/{name}", dependencies=[needs("classifier.publish")])
async def update_classifier(
    name: str,
    body: ClassifierPatchBody,
    service: Service,
    workspace_id: WorkspaceId,
    response: Response,
    if_match: IfMatch,
) -> ClassifierAnswer:
    """Let another version predict from now on; an earlier one rolls back."""
    classifier = await asyncio.to_thread(
        service.registry.publish,
        workspace_id,
        name,
        body.published_version,
        if_revision=if_match,
    )
    return with_etag(response, ClassifierAnswer.of(classifier))


@router.delete("/{name}", dependencies=[needs("classifier.delete")])
async def delete_classifier(
    name: str, service: Service, workspace_id: WorkspaceId, if_match: IfMatch
) -> Deleted:
    """Delete one classifier with all its versions."""
    await asyncio.to_thread(service.registry.delete, workspace_id, name, if_revision=if_match)
    return Deleted(deleted=name)


@router.post(
    "/import",
    status_code=201,
    responses=responses_of(ClassifierAnswer, 201),
    dependencies=[needs("classifier.write", limited="body")],
)
async def import_classifier(
    body: ClassifierImportBody, service: Service, caller: KnownCaller, idempotent: Idempotent
) -> Response:
    """Create a classifier from an exported JSON document of the loaded encoder.

    The document is checked whole before anything is stored; `invalid_artifact` names the place of
    a value that no export has. `signature` of the answer says who signed it; a document that was
    changed after it was signed is refused with `broken_signature`.
    """
    # What is nested too deep, or is no Unicode, could not even be compared with a repetition.
    await asyncio.to_thread(check_json, body.classifier, "classifier")

    async def act() -> JSONResponse:
        import_ = service.registry.import_
        classifier = await asyncio.to_thread(
            import_, caller.workspace_id, body.name, body.classifier, caller.author
        )
        return _created(classifier)

    return await idempotent.run(act, "import", body)
