"""Versions of classifiers in addresses: a number, ``published`` or ``latest``."""

import asyncio
from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Query

from service.api.state import Service, WorkspaceId
from service.classifiers.registry import Classifier, ClassifierVersion

PATTERN = r"^([1-9][0-9]{0,8}|published|latest)$"
_DESCRIPTION = "Its number, `published` or `latest`."
VersionName: TypeAlias = Annotated[str, Path(pattern=PATTERN, description=_DESCRIPTION)]
VersionAsked: TypeAlias = Annotated[str, Query(pattern=PATTERN, description=_DESCRIPTION)]
_Found: TypeAlias = tuple[Classifier, ClassifierVersion]


async def version_in_path(
    name: str, version: VersionName, service: Service, workspace_id: WorkspaceId
) -> _Found:
    """The version that a path names. Raises UnknownItem."""
    return await asyncio.to_thread(service.registry.find, workspace_id, name, version)


async def version_in_query(
    name: str, service: Service, workspace_id: WorkspaceId, version: VersionAsked = "published"
) -> _Found:
    """The version that a query parameter names, else the published one. Raises UnknownItem."""
    return await asyncio.to_thread(service.registry.find, workspace_id, name, version)


VersionInPath: TypeAlias = Annotated[_Found, Depends(version_in_path)]
VersionInQuery: TypeAlias = Annotated[_Found, Depends(version_in_query)]
