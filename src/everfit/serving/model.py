"""What goes into and comes out of a model server, and the bounds that protect it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

CHAMPION, CANARY = "champion", "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a server takes on: past any of these it refuses instead of slowing down.

    An endpoint answers ``in_flight`` requests at once, and up to ``crowd`` where that many are
    answered within ``queue_seconds``. ``upload_bytes`` is the memory for large bodies on their
    way; each body has ``read_seconds``.
    """

    body_bytes: int = 16 * 1024 * 1024
    rows: int = 10_000
    explained_rows: int = 100
    in_flight: int = 64
    crowd: int = 1024
    queue_seconds: float = 0.1
    upload_bytes: int = 256 * 1024 * 1024
    read_seconds: float = 10.0
    threads: int = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows to predict, typed by the signature, with the caller's keys and times if it gave any.

    ``outputs`` are the outputs asked for, ``binary`` those of them that are to come as bytes,
    ``request`` is the caller's own id of the request, ``timeout_us`` the microseconds in which it
    wants the answer, 0 for no end, and ``explain`` how many reasons each row is to have.
    """

    frame: pl.DataFrame
    keys: Sequence[str | None] | None = None
    times: pl.Series | None = None
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    request: str | None = None
    timeout_us: int = 0
    explain: int = 0

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return self.frame.height


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per row, in the order of the rows.

    ``scores`` are the probabilities of the predicted classes. ``versions`` say which version
    answered, ``arms`` to which arm the row was assigned: a row of the canary that the candidate
    could not score was answered by the champion. ``candidate`` is the version that is rolling
    out and ``failed`` its error, if any. Where these are a part of more that were asked for
    together, ``together`` is the rows of all. ``reasons`` are those of each row, as JSON values, if
    they were asked for.
    """

    ids: list[str]
    predictions: list[Any]
    scores: list[float] | None
    versions: list[int]
    arms: list[str]
    candidate: int | None = None
    failed: str | None = None
    together: int = 0
    reasons: Sequence[Mapping[str, Any]] = ()

    def part(self, start: int, end: int) -> Answers:
        """Return the answers from row ``start`` to before row ``end``."""
        rows = slice(start, end)
        return Answers(
            ids=self.ids[rows],
            predictions=self.predictions[rows],
            scores=None if self.scores is None else self.scores[rows],
            versions=self.versions[rows],
            arms=self.arms[rows],
            candidate=self.candidate,
            failed=self.failed,
            together=self.together or len(self.ids),
        )
