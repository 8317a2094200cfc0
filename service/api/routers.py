"""The routers of the service, in the order of the OpenAPI document."""

from fastapi import FastAPI

from service.api.pages import console, docs
from service.api.routes import (
    audit_routes,
    classifier_routes,
    collection_routes,
    embedding_routes,
    evaluation_routes,
    key_routes,
    label_routes,
    monitor_routes,
    operation_routes,
    policy_routes,
    prediction_routes,
    scan_routes,
    search_routes,
    signing_key_routes,
    subject_routes,
    system_routes,
    version_routes,
    workspace_routes,
)
from service.api.streams.stream_route import stream_routes

ROUTERS = tuple(
    module.router
    for module in (
        system_routes,
        embedding_routes,
        collection_routes,
        label_routes,
        scan_routes,
        search_routes,
        classifier_routes,
        version_routes,
        evaluation_routes,
        prediction_routes,
        monitor_routes,
        subject_routes,
        operation_routes,
        key_routes,
        workspace_routes,
        audit_routes,
        signing_key_routes,
        policy_routes,
        console,
        docs,
    )
)


def install(app: FastAPI) -> None:
    """Give an app every route, those of WebSockets too."""
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes.extend(stream_routes())
