"""What a key may do: scopes, and the roles that bundle them.

A route names the scopes that it needs (``service.api.permissions``); docs/access.md lists both
tables, and a test compares them with this module.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from service.errors import InputError

SCOPES: Mapping[str, str] = {
    "encoder.read": "read the manifest and the model card of the encoder",
    "embed": "embed images that are not stored",
    "collection.read": "list and read collections",
    "collection.write": "create, change and re-embed collections, rename labels in all scans",
    "collection.delete": "delete a collection with its scans",
    "collection.export": "write a collection into the folder of exports",
    "collection.import": "read a collection from the folder of exports",
    "scan.read": "list, read and count scans, with labels, thumbnails and embeddings",
    "scan.write": "upload scans; with `scan.read`, copy them to another collection",
    "scan.label": "with `scan.read`, change labels, attributes and ids of a scan",
    "scan.delete": "delete a scan",
    "search": "find similar scans",
    "predict": "predict with a classifier",
    "classifier.read": "read classifiers, versions, examples and reports",
    "outcome.write": "tell what predictions turned out to be",
    "classifier.evaluate": "measure a version on further examples",
    "classifier.write": "fit, refit and import classifiers, change their versions",
    "classifier.publish": "choose the version that predicts",
    "classifier.delete": "delete a classifier with its versions",
    "classifier.export": "export a version, with embeddings of its examples",
    "subject.read": "read what is held of a patient",
    "subject.erase": "erase a patient or a study everywhere",
    "operation.read": "list and read operations",
    "operation.cancel": "stop operations",
    "usage.read": "read how much of its limits the own key has used",
    "audit.read": "read the audit log of the workspace",
    "admin": "manage keys, policy and trusted signatures of the workspace, read its usage",
    "metrics.read": "read the metrics of the whole service, where they ask for a key",
    "service.admin": "create, suspend and delete workspaces of the whole service",
}
METRICS_READ = "metrics.read"
SERVICE_ADMIN = "service.admin"
# Of no role: they reach beyond the workspace of the key. Only the command line gives them, to keys
# of the default workspace, so no administrator of a workspace can have them or pass them on.
OF_THE_SERVICE = frozenset({METRICS_READ, SERVICE_ADMIN})

_READER = (
    "encoder.read",
    "embed",
    "collection.read",
    "scan.read",
    "search",
    "predict",
    "classifier.read",
    "classifier.evaluate",
    "operation.read",
    "usage.read",
)
_ANNOTATOR = (*_READER, "scan.label", "outcome.write")
_CURATOR = (
    *_ANNOTATOR,
    "scan.write",
    "scan.delete",
    "collection.write",
    "classifier.write",
    "classifier.publish",
    "classifier.delete",
    "classifier.export",
    "operation.cancel",
)
_OPERATOR = (
    "encoder.read",
    "collection.read",
    "collection.write",
    "collection.delete",
    "collection.export",
    "collection.import",
    "subject.read",
    "subject.erase",
    "operation.read",
    "operation.cancel",
    "usage.read",
)
_AUDITOR = (
    "encoder.read",
    "collection.read",
    "classifier.read",
    "operation.read",
    "audit.read",
    "usage.read",
)
ADMIN = "admin"
ROLES: Mapping[str, frozenset[str]] = {
    "reader": frozenset(_READER),
    "annotator": frozenset(_ANNOTATOR),
    "curator": frozenset(_CURATOR),
    "operator": frozenset(_OPERATOR),
    "auditor": frozenset(_AUDITOR),
    ADMIN: frozenset(SCOPES) - OF_THE_SERVICE,
}


@lru_cache(maxsize=1000)  # each request asks
def effective_scopes(roles: tuple[str, ...], scopes: tuple[str, ...]) -> frozenset[str]:
    """All that roles and scopes allow; names that this version does not know allow nothing."""
    allowed = frozenset(scopes) & SCOPES.keys()
    return allowed.union(*(ROLES.get(role, frozenset()) for role in roles))


def require_known(roles: Iterable[str], scopes: Iterable[str]) -> None:
    """Raises InputError: a role or a scope that does not exist."""
    for kind, names, known in (("roles", roles, ROLES), ("scopes", scopes, SCOPES)):
        if not set(names) <= known.keys():
            raise InputError(f"expected only known {kind}: {', '.join(known)}")
