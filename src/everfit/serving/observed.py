"""What a server as a whole counts: every request once, by endpoint or as belonging to none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

import msgspec

from everfit.kernel import Workspace
from everfit.serving.core import ModelServer
from everfit.serving.counts import SERVER, Counts, merged_endpoints
from everfit.serving.exchange import Exchange
from everfit.serving.exposition import Prices, exposition
from everfit.serving.metering import Overhead, this_process
from everfit.serving.model import Answers
from everfit.serving.traffic import Tally
from everfit.web import Scope

log = logging.getLogger(__name__)
ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(dict[str, Counts])
# What asks whether there is a model to answer with.
PROBES = {f"GET {path}" for path in ("/v2/health/ready", "/v2/models/{name}/ready")}
PROBES |= {"GET /ping", "GET /health"}


class Noted(Protocol):
    """A request as it is counted; ``counted`` is None where it asked for no predictions."""

    scope: Scope
    name: str
    route: str
    counted: ModelServer | None
    answers: Answers | None
    rows: int
    refused: str | None


class SpanRecorder(Protocol):
    """Makes traces of requests."""

    def record(self, call: Noted, status: int, seconds: float) -> None:
        """Note a request that has just been answered and took so many seconds."""
        ...

    def close(self) -> None:
        """Send what is not sent yet."""
        ...


class Observation:
    """Counts the requests of a server's endpoints, and what they cost.

    With ``spans``, each becomes one. With an ``exchange`` there are other workers of the same
    server: a worker that takes another one's place goes on from what that one told last, and
    nobody is shown more of a worker than it has told, so that no counter ever goes back.
    """

    def __init__(
        self,
        workspace: Workspace,
        servers: Mapping[str, ModelServer],
        *,
        spans: SpanRecorder | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._workspace = workspace
        self._spans = spans
        self._servers = servers
        self._tally = Tally()
        self._cpu_before = 0.0
        self._overhead = Overhead([server.traffic for server in servers.values()])
        self._exchange = exchange
        before = exchange.last() if exchange else None
        if before:
            self.begin_from(DECODER.decode(before))

    def note(self, call: Noted, status: int, seconds: float) -> None:
        """Count one request that was answered, or refused, with ``status``."""
        if self._spans is not None:
            self._spans.record(call, status, seconds)
        now = self._workspace.clock.now()
        if call.counted is not None:
            call.counted.traffic.note(
                now,
                status,
                seconds * 1000,
                call.answers,
                rows=call.rows,
                route=call.route,
                refused=call.refused,
            )
            return
        self._tally.count(call.route, status, seconds, call.refused)
        if call.route in PROBES:
            named = self._servers.get(call.name)
            for server in [named] if named else self._servers.values():
                server.traffic.probed(now)

    def begin_from(self, counts: Mapping[str, Counts]) -> None:
        """Go on from what a process before this one had counted: no counter goes back.

        Call it before the first request.
        """
        for endpoint, server in self._servers.items():
            server.traffic.begin_from(counts.get(endpoint, Counts()))
        own = counts.get(SERVER, Counts())
        self._tally.begin_from(own)
        self._cpu_before = own.process.cpu_seconds if own.process else 0.0

    def settle(self) -> None:
        """Share out among the endpoints what the process spent since the last time."""
        self._overhead.settle()

    def counts(self) -> dict[str, Counts]:
        """Return what was counted by endpoint, and under `SERVER` what belongs to none."""
        self.settle()
        own = self._tally.counts()
        own.process = this_process()
        own.process.cpu_seconds += self._cpu_before
        return {SERVER: own, **{name: one.traffic.counts() for name, one in self._servers.items()}}

    def tell(self) -> None:
        """Tell the other workers what this one has counted; raises OSError where it cannot."""
        if self._exchange:
            self._exchange.tell(self._encoded)

    def totals(self) -> dict[str, Counts]:
        """Return the counts of all workers together, the others' as they told them last."""
        if self._exchange is None:
            return self.counts()
        try:
            own = self._exchange.tell(self._encoded)
        except OSError as error:
            log.warning("what was counted cannot be told to the other workers: %s", error)
            own = self._exchange.last() or ENCODER.encode({})
        return merged_endpoints(map(DECODER.decode, (own, *self._exchange.others())))

    def close(self) -> None:
        """Send the spans that are not sent yet."""
        if self._spans is not None:
            self._spans.close()

    def page(self) -> bytes:
        """Return the counts of all workers in Prometheus' text format."""
        return exposition(self.totals(), prices_of(self._workspace)).encode()

    def _encoded(self) -> bytes:
        return ENCODER.encode(self.counts())


def open_spans(workspace: Workspace) -> SpanRecorder | None:
    """Return what makes traces where the settings name a place for them, else None.

    That may be a variable of the environment which is there for other programs: without the
    packages nothing is sent, and the log says so.
    """
    url = workspace.settings.traces_to
    if not url:
        return None
    try:
        found: SpanRecorder = import_module("everfit.serving.spans").Spans(url)
    except ImportError as error:
        log.warning("no traces go to %s: %s; `pip install 'everfit[otel]'` has it", url, error)
        return None
    return found


def prices_of(workspace: Workspace) -> Prices:
    """Return the prices of the settings."""
    settings = workspace.settings
    return Prices(
        currency=settings.currency,
        per_cpu_hour=settings.price_per_cpu_hour,
        per_gib_hour=settings.price_per_gib_hour,
    )
