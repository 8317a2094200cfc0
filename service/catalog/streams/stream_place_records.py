"""Places of live streams: who holds one."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

StreamOwner: TypeAlias = Literal["key", "workspace"]


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """A place that one open stream holds.

    Attributes:
        author_id: of the key, or of the holder of tokens; None = nobody is asked for a key.
    """

    place_id: str
    workspace_id: str
    author_id: str | None


@dataclass(frozen=True, slots=True)
class MaxStreams:
    """How many streams may be open at a time, over all replicas."""

    of_workspace: int
    of_author: int

    def passed_by(
        self, place: StreamPlace, of_workspace: int, of_author: int
    ) -> StreamOwner | None:
        """Who would have too many with one more than these; None = the place is free."""
        if of_workspace >= self.of_workspace:
            return "workspace"
        if place.author_id is not None and of_author >= self.of_author:
            return "key"
        return None
