"""Calls of one endpoint answered together, by a thread of their own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue

from everfit.serving.batches import Asked, ask, fail, fitting, keep, tell
from everfit.serving.core import ModelServer
from everfit.serving.load import Loaded
from everfit.serving.model import Answers
from everfit.serving.score import Question


class CallBatches:
    """Asks the model once for all calls that wait, as `Batches` does, but without an event loop.

    Each call has a thread that waits for its answer. The thread between ``start`` and ``close``
    takes what has come in since it took the last lot; what nobody waits for it leaves out.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"rpc-{server.endpoint}")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End the thread once all is answered."""
        self._asked.put(None)
        self._thread.join()

    def ask(self, rows: Question, loaded: Loaded) -> Future[Answers]:
        """Return where the answers for ``rows`` will be, or what ``predict`` would have raised.

        They are in the log then. What is cancelled before its turn is not asked for.
        """
        future: Future[Answers] = Future()
        self._asked.put(Asked(rows, loaded, _as_they_are, future))
        return future

    def _run(self) -> None:
        rest: list[Asked] = []
        while waiting := self._waiting(rest):
            count = fitting(waiting, self._server.bounds.rows)
            batch, rest = list(filter(_is_wanted, waiting[:count])), waiting[count:]
            if batch:
                self._answer(batch)

    def _waiting(self, rest: list[Asked]) -> list[Asked]:
        """Return what waits, ``rest`` first, once there is something; nothing at the end."""
        waiting = list(rest)
        while not waiting or not self._asked.empty():
            asked = self._asked.get()
            if asked is None:
                self._asked.put(None)
                break
            waiting.append(asked)
        return waiting

    def _answer(self, batch: list[Asked]) -> None:
        try:
            lots = ask(self._server, batch)
            keep(self._server, lots)
            tell(lots)
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            fail(batch, error)


def _as_they_are(answers: Answers) -> Answers:
    return answers


def _is_wanted(asked: Asked) -> bool:
    """Return whether somebody waits for the answer; from now on that is not asked again."""
    return isinstance(asked.future, Future) and asked.future.set_running_or_notify_cancel()
