"""Brief writes: all that came in during one turn of the event loop share a trip to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from everfit.kernel import Committer, Outcome, Transaction

# Some hundredths of a millisecond in all.
MOST_TURNS = 4


class BriefWrites:
    """Commits on the event loop's own thread, as long as nothing has to be waited for.

    While it commits, requests gather in the sockets, and the next turns of the loop read them.
    Callers who were answered together come back one after the other: where the commit before had
    company, the first of them waits up to ``MOST_TURNS`` turns for as many others.
    """

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._gathered: list[tuple[Callable[[Transaction], Any], asyncio.Future[Any]]] = []
        self._turns = 0
        self._company = 0

    def done(self, work: Callable[[Transaction], Any]) -> asyncio.Future[Outcome | None]:
        """Return the future of what came of ``work``; of None where it has to be submitted."""
        loop = asyncio.get_running_loop()
        if not self._gathered:
            loop.call_soon(self._turn, loop)
        future: asyncio.Future[Outcome | None] = loop.create_future()
        self._gathered.append((work, future))
        return future

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if len(self._gathered) < self._company and self._turns < MOST_TURNS:
            self._turns += 1
            loop.call_soon(self._turn, loop)
            return
        self._turns, self._company = 0, len(self._gathered)
        self._commit()

    def _commit(self) -> None:
        # Whoever has left by now asked for nothing any more.
        gathered = [(work, future) for work, future in self._gathered if not future.done()]
        self._gathered = []
        outcomes = self._committer.attempt([work for work, _ in gathered]) if gathered else ()
        for number, (_, future) in enumerate(gathered):
            future.set_result(outcomes[number] if number < len(outcomes) else None)
