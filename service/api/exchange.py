"""Collections as folders of files: export and import, as operations."""

import asyncio
import re

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from service.api.life_schemas import ExportBody, ImportBody
from service.api.operations import ACCEPTED, accepted, started
from service.api.schemas import NAME
from service.api.state import Service, Services, WorkspaceId
from service.errors import InputError, NameTaken, UnknownItem

router = APIRouter(prefix="/v1/collections", tags=["collections"])
NAME_RULE = re.compile(NAME)


@router.post("/{collection}/export", status_code=202, response_model=None, responses=ACCEPTED)
async def export_collection(
    collection: str, body: ExportBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Write a collection as Parquet into the folder of exports that the operator set."""
    await asyncio.to_thread(service.catalog.get_collection, workspace_id, collection)
    if await asyncio.to_thread(_is_there, service, workspace_id, body.to):
        raise NameTaken("an export of this name is there already")
    request = {"collection": collection, "to": body.to}
    return accepted(await started(service, workspace_id, "export", request))


@router.post("/{collection}/import", status_code=202, response_model=None, responses=ACCEPTED)
async def import_collection(
    collection: str, body: ImportBody, service: Service, workspace_id: WorkspaceId
) -> JSONResponse:
    """Read an exported collection; it is created when there is none of this name."""
    if not NAME_RULE.fullmatch(collection):
        raise InputError("expected a name of 1 to 64 letters, digits, dots, dashes")
    if not await asyncio.to_thread(_is_there, service, workspace_id, body.source):
        raise UnknownItem("no export of this name in the workspace's folder")
    request = {"collection": collection, "from": body.source}
    return accepted(await started(service, workspace_id, "import", request))


def _is_there(service: Services, workspace_id: str, export: str) -> bool:
    folder = service.settings.exchange_dir
    if folder is None:
        raise UnknownItem("no folder of exports is set: SONOPROBE_EXCHANGE_DIR")
    return (folder / workspace_id / export).is_dir()
