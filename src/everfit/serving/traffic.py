"""What one endpoint was asked and how it answered: counted, and noted in the request log."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import polars as pl

from everfit.errors import NoRelease
from everfit.kernel import Workspace
from everfit.monitoring import PROBE, REQUEST_SCHEMA, request_log
from everfit.serving.admission import Admission
from everfit.serving.counts import EDGES, SIZES, Counts, Latencies, Served, copied
from everfit.serving.families import LOCAL
from everfit.serving.metering import LOG, MODEL, SHARED, Loading, Metered
from everfit.serving.model import Answers

MIXED = "mixed"
# Of probes that come closer together than this, one is logged.
PROBED = timedelta(seconds=1)
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
OK, NOT_READY = 200, NoRelease.status
# So many requests are remembered while none can be logged.
MOST_WAITING = 100_000


class Tally:
    """Counts as they grow; any number of threads may count at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        # The same objects as in the counts, found in one step.
        self._routes: dict[tuple[str, int], Latencies] = {}
        self._arms: dict[tuple[int, str], Served] = {}
        # Of this process alone: what went before is not in them.
        self.metered = 0.0
        self.noted = 0

    def counts(self) -> Counts:
        """Return what was counted so far, as a value of its own."""
        with self._lock:
            return copied(self._counts)

    def begin_from(self, counts: Counts) -> None:
        """Go on from what another process had counted; how it is at present stays as it is.

        Call it before the first request.
        """
        with self._lock:
            present = self._counts.present
            self._counts = copied(counts)
            self._counts.present = present
            self._routes.clear()
            self._arms.clear()

    def count(self, route: str, status: int, seconds: float, refused: str | None = None) -> None:
        """Count one request at ``route`` that was answered, or refused, with ``status``."""
        place = bisect_left(EDGES, seconds)
        with self._lock:
            self._counted(route, status, seconds, place, refused)

    def spent(self, part: str, *, cpu_seconds: float, seconds: float = 0.0, rows: int = 0) -> None:
        """Add what ``part`` cost: of the model, to ask it once for so many rows."""
        with self._lock:
            counts = self._counts
            counts.cpu_seconds[part] = counts.cpu_seconds.get(part, 0.0) + cpu_seconds
            if part == SHARED:
                return
            self.metered += cpu_seconds
            if part == MODEL:
                counts.batches.buckets[bisect_left(SIZES, rows)] += 1
                counts.batches.rows += rows
                took = counts.asks
            else:
                took = counts.appends if part == LOG else counts.loads
            took.buckets[bisect_left(EDGES, seconds)] += 1
            took.seconds += seconds

    def _counted(
        self, route: str, status: int, seconds: float, place: int, refused: str | None
    ) -> None:
        found = self._routes.get((route, status))
        if found is None:
            found = self._counts.requests.setdefault(route, {}).setdefault(status, Latencies())
            self._routes[route, status] = found
        found.buckets[place] += 1
        found.seconds += seconds
        self.noted += 1
        if refused is not None:
            self._counts.refusals[refused] = self._counts.refusals.get(refused, 0) + 1

    def _answered(self, version: int, arm: str, rows: int, seconds: float, place: int) -> None:
        found = self._arms.get((version, arm))
        if found is None:
            found = self._counts.served.setdefault(version, {}).setdefault(arm, Served())
            self._arms[version, arm] = found
        found.predictions += rows
        found.latencies.buckets[place] += 1
        found.latencies.seconds += seconds


class Traffic(Tally):
    """Counts the requests of one endpoint and hands them to the request log.

    Requests are logged at the next ``flush``, not before they are answered: what a crash may
    cost is under a second of statistics, never a prediction.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoint: str,
        *,
        writer: str,
        durable: bool = True,
        admission: Admission,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self._admission = admission
        self._log = request_log(workspace, endpoint, writer=writer, durable=durable)
        self._waiting: list[tuple[Any, ...]] = []
        self._sizes: dict[int, int] = {}
        self._probed = datetime.min.replace(tzinfo=UTC)
        self._billed = (0.0, 0.0)

    def note(
        self,
        at: datetime,
        status: int,
        latency_ms: float,
        answers: Answers | None = None,
        *,
        rows: int = 0,
        route: str = LOCAL,
        refused: str | None = None,
    ) -> None:
        """Count one request of ``rows`` that was answered, or refused, with ``status``.

        ``route`` is its method and the template of its path, ``refused`` the code of the error.
        """
        seconds = latency_ms / 1000
        place = bisect_left(EDGES, seconds)
        version, arm = None, None
        pairs: Sequence[tuple[tuple[int, str], int]] = ()
        if answers is not None:
            rows = len(answers.ids)
            pairs = _pairs(answers)
            version, arm = pairs[0][0] if len(pairs) == 1 else (None, MIXED)
        with self._lock:
            self._counted(route, status, seconds, place, refused)
            for (one, other), count in pairs:
                self._answered(one, other, count, seconds, place)
            if answers is not None and answers.failed is not None:
                failures, candidate = self._counts.failures, answers.candidate or 0
                failures[candidate] = failures.get(candidate, 0) + rows
            self._waiting.append((at, status, rows, latency_ms, version, arm))

    def probed(self, at: datetime) -> None:
        """Note that somebody asked whether there is a model to answer with."""
        with self._lock:
            if at - self._probed < PROBED:
                return
            self._probed = at
            status = NOT_READY if self._counts.present.revision is None else OK
            self._waiting.append((at, status, 0, None, None, PROBE))

    def counts(self) -> Counts:
        """Return what was counted so far, and who is inside now."""
        found, admission = super().counts(), self._admission
        found.present.in_flight, found.present.bound = admission.inside, admission.places
        found.full_seconds += admission.full_seconds
        return found

    def begin_from(self, counts: Counts) -> None:
        """Go on from what another process had counted, and had logged."""
        super().begin_from(counts)
        self._billed = _bill(counts)

    def asking(self, rows: int) -> Metered:
        """Return the context in which the model is asked, once, for so many rows."""
        return Metered(self, MODEL, rows)

    def logging(self) -> Metered:
        """Return the context in which answers are brought into the prediction log."""
        return Metered(self, LOG)

    def loading(self, revision: int, versions: Collection[int]) -> Loading:
        """Return the context in which the models of a plan are loaded; it is in use afterwards."""
        return Loading(self, revision, versions)

    def took_up(self, revision: int, versions: Collection[int], *, added_bytes: int) -> None:
        """Say which plan is in use, of which versions, and what memory loading it added."""
        with self._lock:
            new = set(versions) - self._sizes.keys()
            sizes = {**self._sizes, **dict.fromkeys(new, added_bytes // max(len(new), 1))}
            self._sizes = {version: sizes[version] for version in versions}
            self._counts.present.revision = revision
            self._counts.present.loaded = 1
            self._counts.present.model_bytes = sum(self._sizes.values())

    def let_go(self) -> None:
        """Say that the models of the plan in use are no longer in memory."""
        with self._lock:
            self._sizes = {}
            self._counts.present.loaded = self._counts.present.model_bytes = 0

    @property
    def model_bytes(self) -> int:
        """Return how much memory loading the models in use added."""
        return self._counts.present.model_bytes

    def held(self, gib_seconds: float) -> None:
        """Add memory that was held for a time."""
        with self._lock:
            self._counts.gib_seconds += gib_seconds

    def flush(self) -> None:
        """Write the requests noted since the last time to the request log.

        What the endpoint cost since then is shared among them; probes cost nothing.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, []
            asked = sum(request[-1] != PROBE for request in waiting)
            before = self._billed
            bill = self._billed = _bill(self._counts) if asked else before
        if not waiting:
            return
        try:
            each = [(now - then) / max(asked, 1) for now, then in zip(bill, before, strict=True)]
            self._log.append(_table(waiting, *each))
        except BaseException:
            with self._lock:
                self._billed = before
                self._waiting = [*waiting, *self._waiting][-MOST_WAITING:]
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and close the request log."""
        self.flush()
        self._log.close()


def _bill(counts: Counts) -> tuple[float, float]:
    """Return the CPU time in seconds and the memory in GiB-seconds that were metered so far."""
    return sum(counts.cpu_seconds.values()), counts.gib_seconds


def _table(
    requests: Sequence[tuple[Any, ...]], cpu_seconds: float, gib_seconds: float
) -> pl.DataFrame:
    """Return the rows of the request log, where each request cost the same."""
    moments, *columns, arms = (list(column) for column in zip(*requests, strict=True))
    each = [0.0 if arm == PROBE else 1.0 for arm in arms]
    costs = [[one * cpu_seconds * 1000 for one in each], [one * gib_seconds for one in each]]
    # Seven times faster than to let Polars convert datetimes.
    since = [(at - EPOCH) // MICROSECOND for at in moments]
    at = pl.Series("at", since, dtype=pl.Int64).cast(REQUEST_SCHEMA["at"])
    named = zip(list(REQUEST_SCHEMA.items())[1:], [*columns, arms, *costs], strict=True)
    others = [pl.Series(name, values, dtype=kind) for (name, kind), values in named]
    return pl.DataFrame([at, *others])


def _pairs(answers: Answers) -> list[tuple[tuple[int, str], int]]:
    """Return how many rows each version answered in each arm."""
    versions, arms = answers.versions, answers.arms
    if answers.candidate is None or len(arms) == 1:
        return [((versions[0], arms[0]), len(arms))] if arms else []
    return list(Counter(zip(versions, arms, strict=True)).items())
