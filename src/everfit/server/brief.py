"""Brief writes: all that came in during some turns of the event loop share a trip to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from everfit.kernel import Committer, Outcome, Transaction
from everfit.web import Gathering

Asked = tuple[Callable[[Transaction], Any], "asyncio.Future[Outcome | None]"]


class BriefWrites:
    """Commits on the event loop's own thread, as long as nothing has to be waited for.

    While it commits, requests gather in the sockets, and the next turns of the loop read them.
    """

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._gathering: Gathering[Asked] = Gathering(self._commit)

    def done(self, work: Callable[[Transaction], Any]) -> asyncio.Future[Outcome | None]:
        """Return the future of what came of ``work``; of None where it has to be submitted."""
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._gathering.add((work, future))
        return future

    def _commit(self, gathered: list[Asked]) -> None:
        # Whoever has left by now asked for nothing any more.
        left = [(work, future) for work, future in gathered if not future.done()]
        outcomes = self._committer.attempt([work for work, _ in left]) if left else ()
        for number, (_, future) in enumerate(left):
            future.set_result(outcomes[number] if number < len(outcomes) else None)
