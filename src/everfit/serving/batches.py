"""Requests of one endpoint answered together: those that came while the last ones were answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
import polars as pl

from everfit.errors import EverfitError
from everfit.serving.combine import Scoring, answers
from everfit.serving.core import ModelServer
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Rows
from everfit.serving.plain import Plain
from everfit.serving.score import Question
from everfit.web import Gathering

T = TypeVar("T")

# What takes less is done on the event loop, to ask the model as well as to log what it said: to
# hand it to a thread costs a tenth of that, and nobody else is answered so much later.
BRIEF_SECONDS = 0.001
# What a row is taken to cost before any was asked.
FIRST_SECONDS = 0.00002


class Asked(msgspec.Struct, frozen=True, eq=False):
    """One request: its rows, the models whose signature they were decoded by, and its future.

    That gets what ``write`` makes of the answers.
    """

    rows: Question
    loaded: Loaded
    write: Callable[[Answers], Any]
    future: asyncio.Future[Any] | Future[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Lot:
    """Requests that were asked as one, and what was said to them or why nothing was."""

    asked: Sequence[Asked]
    said: tuple[Scoring, Answers] | EverfitError


class Batches:
    """Asks the model once for all rows that wait, and logs at once all that was answered.

    There is no time to wait for: a request that comes alone is answered alone, and what comes
    while a batch is answered is the next one. A model that takes as long for sixteen rows as for
    one answers sixteen times as many callers. Where a batch fails each request of it is asked for
    again by itself: one caller's rows never cost another one the answer.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._gathering: Gathering[Asked] = Gathering(self._begin)
        self._row_seconds = FIRST_SECONDS
        self._keep_seconds = BRIEF_SECONDS
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"predict-{server.endpoint}")

    def ask(
        self, rows: Question, loaded: Loaded, write: Callable[[Answers], T]
    ) -> asyncio.Future[T]:
        """Return where that will be which ``write`` makes of the answers, or what it would raise.

        They are in the log then; raises as ``predict``.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._gathering.add(Asked(rows, loaded, write, future))
        return future

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _begin(self, waiting: list[Asked]) -> None:
        waiting = [asked for asked in waiting if not asked.future.done()]
        if not waiting:
            return
        count = fitting(waiting, self._server.bounds.rows)
        batch, rest = waiting[:count], waiting[count:]
        lots = None
        if self._is_brief(batch):
            # A fault of ours is met on the thread once more, and told to those who asked.
            with suppress(Exception):
                lots = self._scored(batch)
        if lots is not None and self._keep_seconds < BRIEF_SECONDS:
            self._gathering.put_back(rest)
            self._end_at_once(batch, lots)
            return
        self._gathering.hold()
        self._gathering.put_back(rest)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._kept, batch, lots)
        running.add_done_callback(partial(self._end, batch))

    def _is_brief(self, batch: Sequence[Asked]) -> bool:
        """Return whether the batch is asked in next to no time, without a frame."""
        if not batch[0].loaded.needs_no_frame:
            return False
        rows = sum(asked.rows.height for asked in batch)
        plain = all(isinstance(asked.rows, Plain) for asked in batch)
        return plain and rows * self._row_seconds < BRIEF_SECONDS

    def _scored(self, batch: Sequence[Asked]) -> list[Lot]:
        # Not the clock's time: on the thread it holds waits for the interpreter, which would keep
        # a model there that is quick enough for the event loop.
        began = time.thread_time()
        scored = ask(self._server, batch)
        rows = sum(asked.rows.height for asked in batch)
        self._row_seconds = (time.thread_time() - began) / max(1, rows)
        return scored

    def _kept(self, batch: Sequence[Asked], scored: list[Lot] | None) -> list[Lot]:
        """Return what is said to each part of the batch, in the log by then."""
        lots = scored or self._scored(batch)
        began = time.perf_counter()
        keep(self._server, lots)
        self._keep_seconds = time.perf_counter() - began
        return lots

    def _end_at_once(self, batch: Sequence[Asked], lots: list[Lot]) -> None:
        try:
            self._kept(batch, lots)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            fail(batch, error)
        else:
            tell(lots)

    def _end(self, batch: Sequence[Asked], done: asyncio.Future[list[Lot]]) -> None:
        self._gathering.go_on()
        failure = done.exception()
        if failure is not None:
            fail(batch, failure)
        else:
            tell(done.result())


def tell(lots: Sequence[Lot]) -> None:
    """Tell each request what it makes of its part of the answers, or why there is none."""
    for lot in lots:
        for asked, share in _shares(lot):
            if asked.future.done():
                continue
            told = share if isinstance(share, EverfitError) else _written(asked, share)
            if isinstance(told, BaseException):
                asked.future.set_exception(told)
            else:
                asked.future.set_result(told)


def _written(asked: Asked, answers: Answers) -> Any:
    try:
        return asked.write(answers)
    except Exception as error:  # noqa: BLE001 - it is told to the one whose answers they are
        return error


def _shares(lot: Lot) -> list[tuple[Asked, Answers | EverfitError]]:
    said = lot.said
    if isinstance(said, EverfitError):
        return [(asked, said) for asked in lot.asked]
    answers = said[1]
    if len(lot.asked) == 1:
        return [(lot.asked[0], answers)]
    shares: list[tuple[Asked, Answers | EverfitError]] = []
    end = 0
    for asked in lot.asked:
        begin, end = end, end + asked.rows.height
        shares.append((asked, answers.part(begin, end)))
    return shares


def fail(lot: Sequence[Asked], failure: BaseException) -> None:
    """Tell each request why there is no answer."""
    for asked in lot:
        if not asked.future.done():
            asked.future.set_exception(failure)


def fitting(waiting: Sequence[Asked], most: int) -> int:
    """Return how many of the first requests are of one plan and together have ``most`` rows."""
    first = waiting[0]
    total = 0
    for number, asked in enumerate(waiting):
        total += asked.rows.height
        other = asked.loaded is not first.loaded
        if number and (other or total > most or _timed(asked) != _timed(first)):
            return number
    return len(waiting)


def _timed(asked: Asked) -> bool:
    return asked.rows.times is not None


def ask(server: ModelServer, batch: Sequence[Asked]) -> list[Lot]:
    """Return what is said to the requests together, or to each where they fail together.

    They are asked for one by one as well where the candidate fails: its error counts against it
    in the rows that brought it about, and in no others.
    """
    together = _said(server, batch)
    if isinstance(together, EverfitError):
        mixed = True
    else:
        # A candidate that could not even be loaded fails whatever the rows are.
        mixed = together[0].failed is not None and batch[0].loaded.problem is None
    if mixed and len(batch) > 1:
        return [Lot([asked], _said(server, [asked])) for asked in batch]
    return [Lot(batch, together)]


def keep(server: ModelServer, lots: Sequence[Lot]) -> None:
    """Bring what is answered into the log."""
    server.keep([lot.said for lot in lots if not isinstance(lot.said, EverfitError)])


def _said(server: ModelServer, lot: Sequence[Asked]) -> tuple[Scoring, Answers] | EverfitError:
    try:
        scoring = server.ask(_merged([asked.rows for asked in lot]), lot[0].loaded)
    except EverfitError as error:
        return error
    return scoring, answers(scoring)


def _merged(parts: Sequence[Question]) -> Question:
    if len(parts) == 1:
        return parts[0]
    keys: list[str | None] | None = None
    if any(part.keys is not None for part in parts):
        keys = [key for part in parts for key in part.keys or [None] * part.height]
    times = None
    if parts[0].times is not None:
        times = pl.concat([part.times for part in parts if part.times is not None])
    plain = [part for part in parts if isinstance(part, Plain)]
    if len(plain) == len(parts):
        return Plain.joined(plain, keys, times)
    return Rows(frame=_frame(parts), keys=keys, times=times)


def _frame(parts: Sequence[Question]) -> pl.DataFrame:
    """Return one frame of the parts; those that are none yet become it in runs."""
    frames: list[pl.DataFrame] = []
    for plain, run in itertools.groupby(parts, lambda part: isinstance(part, Plain)):
        found = list(run)
        frames += [_merged(found).frame] if plain else [part.frame for part in found]
    return pl.concat(frames)
