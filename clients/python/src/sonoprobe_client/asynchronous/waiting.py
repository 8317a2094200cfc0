"""How asynchronous calls wait: over anyio, which httpx needs too, so under asyncio and trio."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def sleep(seconds: float) -> None:
    """Let others work meanwhile."""
    await anyio.sleep(seconds)


async def in_thread(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do what reads files or compresses pictures beside the event loop."""
    return await anyio.to_thread.run_sync(work, *arguments)
