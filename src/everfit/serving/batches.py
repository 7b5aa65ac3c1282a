"""Requests of one endpoint answered together: those that came while the last ones were answered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl

from everfit.errors import EverfitError
from everfit.serving.core import ModelServer
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Rows
from everfit.serving.rows import Plain, RowsDecoder
from everfit.web import Gathering


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """One request: its rows, the models whose signature they were decoded by, and its future."""

    rows: Rows | Plain
    loaded: Loaded
    future: asyncio.Future[Answers]


class Batches:
    """Asks the model once for all rows that wait, on a thread of its own.

    There is no time to wait for: a request that comes alone is answered alone, and what comes
    while a batch is answered is the next one. A model that takes as long for sixteen rows as for
    one answers sixteen times as many callers. Where a batch fails each request of it is asked for
    again by itself: one caller's rows never cost another one the answer.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._gathering: Gathering[_Asked] = Gathering(self._begin)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"predict-{server.endpoint}")

    async def answer(self, rows: Rows | Plain, loaded: Loaded) -> Answers:
        """Return the answers for ``rows``, which are in the log then; raises as ``predict``."""
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._gathering.add(_Asked(rows=rows, loaded=loaded, future=future))
        return await future

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _begin(self, waiting: list[_Asked]) -> None:
        waiting = [asked for asked in waiting if not asked.future.done()]
        if not waiting:
            return
        count = _fitting(waiting, self._server.bounds.rows)
        batch, rest = waiting[:count], waiting[count:]
        self._gathering.hold()
        self._gathering.put_back(rest)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, _answered, self._server, batch)
        running.add_done_callback(lambda done: self._end(batch, done))

    def _end(self, batch: list[_Asked], done: asyncio.Future[list[Answers | EverfitError]]) -> None:
        self._gathering.go_on()
        failure = done.exception()
        if failure is not None:
            for asked in batch:
                if not asked.future.done():
                    asked.future.set_exception(failure)
            return
        for asked, outcome in zip(batch, done.result(), strict=True):
            if asked.future.done():
                continue
            if isinstance(outcome, Answers):
                asked.future.set_result(outcome)
            else:
                asked.future.set_exception(outcome)


def _fitting(waiting: Sequence[_Asked], most: int) -> int:
    """Return how many of the first requests are of one plan and together have ``most`` rows."""
    first = waiting[0]
    total = 0
    for number, asked in enumerate(waiting):
        total += asked.rows.height
        other = asked.loaded is not first.loaded
        if number and (other or total > most or _timed(asked) != _timed(first)):
            return number
    return len(waiting)


def _timed(asked: _Asked) -> bool:
    return asked.rows.times is not None


def _answered(server: ModelServer, batch: Sequence[_Asked]) -> list[Answers | EverfitError]:
    """Return the answers of each request, or the error for it alone."""
    if len(batch) == 1:
        return [_alone(server, batch[0])]
    try:
        answers = server.predict_together(_merged(batch), batch[0].loaded)
    except EverfitError:
        # Whose rows it was shows when each is asked for alone.
        answers = None
    if answers is None:
        return [_alone(server, asked) for asked in batch]
    ends = list(itertools.accumulate(asked.rows.height for asked in batch))
    return [
        answers.part(end - asked.rows.height, end) for asked, end in zip(batch, ends, strict=True)
    ]


def _alone(server: ModelServer, asked: _Asked) -> Answers | EverfitError:
    rows = _merged([asked])
    try:
        return server.predict(rows.frame, rows.keys, rows.times, loaded=asked.loaded)
    except EverfitError as error:
        return error


def _merged(batch: Sequence[_Asked]) -> Rows:
    decoder = batch[0].loaded.decoder
    parts = [asked.rows for asked in batch]
    keys: list[str | None] | None = None
    if any(part.keys is not None for part in parts):
        keys = [key for part in parts for key in part.keys or [None] * part.height]
    times = None
    if parts[0].times is not None:
        times = pl.concat([part.times for part in parts if part.times is not None])
    return Rows(frame=_frame(decoder, parts), keys=keys, times=times)


def _frame(decoder: RowsDecoder, parts: Sequence[Rows | Plain]) -> pl.DataFrame:
    plain: list[tuple[Any, ...]] = []
    frames: list[pl.DataFrame] = []
    for part in parts:
        if isinstance(part, Plain):
            plain += part.values
            continue
        if plain:
            frames.append(decoder.frame(plain))
            plain = []
        frames.append(part.frame)
    if plain:
        frames.append(decoder.frame(plain))
    return frames[0] if len(frames) == 1 else pl.concat(frames)
