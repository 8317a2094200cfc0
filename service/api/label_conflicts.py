"""Examples of a classifier whose labels contradict each other."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query

from service.api.answers import says
from service.api.judgement_answers import ConflictsAnswer
from service.api.predictions import Version
from service.api.schemas import JsonObject
from service.api.state import Service, WorkspaceId
from service.api.wire import label_json, reference_json
from service.classifiers.examples import Example

router = APIRouter(prefix="/v1", tags=["classifiers"])


@router.get("/classifiers/{name}/conflicts", response_model=None, responses=says(ConflictsAnswer))
async def list_conflicts(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    version: Version = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JsonObject:
    """Pairs of examples that look alike and carry different labels, the most alike first."""
    _, found = await service.fits.run(
        partial(service.classifiers.find, workspace_id, name, version)
    )
    pairs = await service.fits.run(
        partial(service.evaluator.conflicts, workspace_id, name, found.number)
    )
    items = [
        {
            "similarity": cosine,
            "first": _side(first, found.kind),
            "second": _side(second, found.kind),
        }
        for first, second, cosine in pairs[:limit]
    ]
    return {"classifier": name, "version": found.number, "total": len(pairs), "items": items}


def _side(example: Example, kind: str) -> JsonObject:
    return reference_json(example) | label_json(example.label, kind)
