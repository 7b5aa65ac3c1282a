"""One request of the control plane, as those who answer it see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from everfit.kernel import Transaction, Workspace
from everfit.web import Receive, Reply, Scope, StreamedReply, fields, read_body

T = TypeVar("T")


class Plane(Protocol):
    """What answering needs of the control plane."""

    workspace: Workspace
    most_body_bytes: int

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` gives once it is on disk."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` reads, on a thread."""
        ...

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, run beside the event loop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: where it came in, and what stands in its path."""

    plane: Plane
    scope: Scope
    receive: Receive
    names: dict[str, str]

    async def body(self) -> bytes:
        """Return the whole body; raises TooLarge, Disconnected."""
        return await read_body(self.scope, self.receive, most=self.plane.most_body_bytes)

    @property
    def query(self) -> str:
        """Return what stands behind the question mark."""
        return str(self.scope["query_string"].decode("latin-1"))

    def header(self, name: bytes) -> str | None:
        """Return a header by its name in lower case, or None."""
        found = fields(self.scope).get(name)
        return None if found is None else str(found.decode("latin-1"))


Answering = Callable[[Asked], Awaitable[Reply | StreamedReply]]
