"""What is held of a patient."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from service.access.name_limits import current_limits
from service.access.workspace_rules import sought_subjects, stored_subject
from service.api.dependencies import Service, WorkspaceId
from service.api.paging import Paging, next_cursor
from service.api.permissions import needs
from service.api.routing import StrictRoute
from service.api.shapes.subject_shapes import SubjectAnswer

router = APIRouter(route_class=StrictRoute, prefix="/v1/subjects", tags=["subjects"])
KIND = "subject"  # of the cursor, which may be logged: without the id


@router.get(
    "",
    name="read_subject_of_query",
    responses={404: {}},
    dependencies=[needs("subject.read", limited="shown")],
)
async def read_subject_of_query(
    service: Service,
    workspace_id: WorkspaceId,
    paging: Paging,
    subject_id: Annotated[str, Query(description="Any id, also one that a path cannot carry.")],
) -> SubjectAnswer:
    """Read what is held of one patient, as the route with the id in its path."""
    return await read_subject(subject_id, service, workspace_id, paging)


@router.get("/{subject_id:path}", dependencies=[needs("subject.read", limited="shown")])
async def read_subject(
    subject_id: str, service: Service, workspace_id: WorkspaceId, paging: Paging
) -> SubjectAnswer:
    """Read what the workspace holds of one patient: scans, studies, examples of classifiers."""
    read = service.gallery.subject
    limits = current_limits()
    if not limits.is_unlimited:
        read = partial(
            service.gallery.subject_within,
            has_collection=limits.has_collection,
            has_classifier=limits.has_classifier,
        )
    held, page = await service.read_rows(
        read,
        workspace_id,
        sought_subjects([subject_id]),
        limit=paging.limit,
        after=paging.after(KIND),
    )
    return SubjectAnswer.of(
        stored_subject(subject_id), held, page, next_cursor(KIND, page.next_after)
    )
