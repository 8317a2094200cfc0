"""What a version was fitted from, held to the limits of the caller.

A refit, a review of unlabelled scans and the count of changed labels read collections that the
request does not name.
"""

from service.access.keys import Caller
from service.access.name_limits import NamedItems, current_limits
from service.api.dependencies import Services
from service.classifiers.label_source import SourceChanges, collections_read
from service.classifiers.registry import ClassifierVersion


def require_sources(service: Services, caller: Caller, name: str, version: str) -> None:
    """Blocks. Raises UnknownItem: no such version, or the caller may not name what it reads."""
    if not caller.limits.is_unlimited:
        _, found = service.registry.find(caller.workspace_id, name, version)
        caller.limits.require(NamedItems(collections=collections_read(found)))


def source_changes(
    service: Services, workspace_id: str, name: str, version: ClassifierVersion
) -> SourceChanges | None:
    """As the registry counts them; None if the caller may not name the source. Blocks."""
    if not all(map(current_limits().has_collection, collections_read(version))):
        return None
    return service.registry.source_changes(workspace_id, name, version)
