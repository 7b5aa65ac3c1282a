"""Brief writes: all that came in during one turn of the event loop share a trip to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from everfit.kernel import Committer, Outcome, Transaction


class BriefWrites:
    """Commits on the event loop's own thread, as long as nothing has to be waited for.

    While it commits, requests gather in the sockets; the next turn of the loop reads them all,
    and so the next commit has company without anybody having waited for it.
    """

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._gathered: list[tuple[Callable[[Transaction], Any], asyncio.Future[Any]]] = []

    def done(self, work: Callable[[Transaction], Any]) -> asyncio.Future[Outcome | None]:
        """Return the future of what came of ``work``; of None where it has to be submitted."""
        loop = asyncio.get_running_loop()
        if not self._gathered:
            loop.call_soon(self._commit)
        future: asyncio.Future[Outcome | None] = loop.create_future()
        self._gathered.append((work, future))
        return future

    def _commit(self) -> None:
        # Whoever has left by now asked for nothing any more.
        gathered = [(work, future) for work, future in self._gathered if not future.done()]
        self._gathered = []
        outcomes = self._committer.attempt([work for work, _ in gathered]) if gathered else ()
        for number, (_, future) in enumerate(gathered):
            future.set_result(outcomes[number] if number < len(outcomes) else None)
