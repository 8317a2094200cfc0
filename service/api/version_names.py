"""Versions in addresses: a number, ``published`` or ``latest``."""

import asyncio
from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Query

from service.api.dependencies import Service, WorkspaceId
from service.api.shapes.base import VERSION_NAME
from service.classifiers.registry import Classifier, ClassifierVersion

PATTERN = VERSION_NAME
_DESCRIPTION = "A number, `published` or `latest`."
VersionName: TypeAlias = Annotated[str, Path(pattern=PATTERN, description=_DESCRIPTION)]
_Named: TypeAlias = tuple[Classifier, ClassifierVersion]


async def version_in_path(
    name: str, version: VersionName, service: Service, workspace_id: WorkspaceId
) -> _Named:
    """The version in a path. Raises UnknownItem."""
    return await asyncio.to_thread(service.registry.find, workspace_id, name, version)


async def version_in_query(
    name: str,
    service: Service,
    workspace_id: WorkspaceId,
    version: Annotated[str, Query(pattern=PATTERN, description=_DESCRIPTION)] = "published",
) -> _Named:
    """The version in a query parameter, by default the published one. Raises UnknownItem."""
    return await asyncio.to_thread(service.registry.find, workspace_id, name, version)


VersionInPath: TypeAlias = Annotated[_Named, Depends(version_in_path)]
VersionInQuery: TypeAlias = Annotated[_Named, Depends(version_in_query)]
