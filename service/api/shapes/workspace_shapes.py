"""The shapes of workspaces."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from service.access.workspace_registry import Workspace, WorkspaceContents
from service.api.shapes.base import TIME, Answer, Body, PageAnswer, example_of
from service.api.shapes.key_shapes import KeyAnswer

WorkspaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class NewWorkspaceBody(Body):
    """A workspace to create."""

    model_config = example_of({"name": "ward-7"})

    name: WorkspaceName


class WorkspaceAnswer(Answer):
    """A workspace: nothing in it is seen from another one."""

    workspace_id: str = Field(examples=["ws_5f2b1c0d9e8a7463aa01"])
    name: str = Field(examples=["ward-7"])
    status: Literal["active", "suspended", "deleting"]
    created_at: str = Field(examples=[TIME])


class WorkspaceCreated(Answer):
    """A new workspace, and a key of its administrator, whose secret no other answer shows."""

    workspace: WorkspaceAnswer
    key: KeyAnswer
    secret: str = Field(examples=["sp_..."])


class WorkspaceDetail(WorkspaceAnswer):
    """A workspace, and how much is in it."""

    collections: int
    scans: int
    classifiers: int
    keys: int = Field(description="Revoked and expired ones included.")
    operations: int = Field(description="Of the last 30 days.")

    @classmethod
    def of(cls, workspace: Workspace, contents: WorkspaceContents) -> Self:
        """The answer for the records."""
        return cls.of_record(workspace, **{n: getattr(contents, n) for n in contents.__slots__})


class WorkspacePage(PageAnswer):
    """Workspaces, oldest first."""

    items: list[WorkspaceAnswer]
