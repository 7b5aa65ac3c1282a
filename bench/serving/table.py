"""The table: a column for each server, ours against the best of the others and against bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.serving.measure import OVERLOADS, Figures


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, and the bar that the first server is held against; nothing gates."""

    what: str
    unit: str
    more_is_better: bool | None = None  # None: a ratio says nothing
    times: float | None = None  # bar: so many times better than the best peer
    at_most: float | None = None
    at_least: float | None = None

    def ratio(self, one: float | None, others: Sequence[float]) -> float | None:
        """Return how many times better the one is than the best of the others."""
        if one is None or self.more_is_better is None or not others:
            return None
        better, worse = (one, max(others)) if self.more_is_better else (min(others), one)
        return better / worse if worse else None

    def bar(self, one: float | None, ratio: float | None) -> str:
        """Return the bar in words, with whether it is met where that can be said."""
        if self.times is not None:
            return f"{self.times:g}x{_told(ratio, self.times)}"
        if self.at_least is not None:
            return f">= {self.at_least:g}{_told(one, self.at_least)}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}{_told(None if one is None else -one, -self.at_most)}"
        return ""


def lines(times: float, of_floor: float | None) -> Mapping[str, Line]:
    """Return the lines of one model, with its own bars for single rows."""
    found = {
        "rate": Line(
            what="one row a request, 16 clients",
            unit="requests/s",
            more_is_better=True,
            times=times,
        ),
        "of floor": Line(what="  of the constant answer", unit="%", at_least=of_floor),
        "of floor cpu": Line(what="  the same by server CPU", unit="%", at_least=of_floor),
        "p50": Line(what="  p50", unit="ms", more_is_better=False),
        "p99": Line(what="  p99", unit="ms", more_is_better=False),
        "cpu": Line(what="  server CPU", unit="us/request", more_is_better=False, times=times),
        "core": Line(what="  which had of its core", unit="%"),
        "client": Line(what="  the client's own CPU", unit="% of a core"),
        "failed": Line(what="  not answered with 200", unit="requests", at_most=0),
        "log costs": Line(what="  prediction log", unit="% of rate", at_most=15),
        "log costs cpu": Line(what="  the same by server CPU", unit="%", at_most=15),
        "half p50": Line(what="half load, open loop: p50", unit="ms", more_is_better=False),
        "half p99": Line(what="  p99", unit="ms", more_is_better=False, at_most=5),
        "half late": Line(what="  of it the client's own, p99", unit="ms"),
        "batch": Line(
            what="1,000 rows a request, 4 clients", unit="rows/s", more_is_better=True, times=10
        ),
        "batch cpu": Line(what="  server CPU", unit="us/row", more_is_better=False, times=10),
        "bulk": Line(
            what="  in its form for them (Arrow)", unit="rows/s", more_is_better=True, times=10
        ),
        "bulk cpu": Line(what="  server CPU", unit="us/row", more_is_better=False, times=10),
        "ready": Line(what="ready: first prediction", unit="s", more_is_better=False, at_most=2),
        "resident": Line(what="resident memory after it all", unit="MB", more_is_better=False),
        "largest": Line(what="  of it the largest process", unit="MB", at_most=150),
        "processes": Line(what="  processes", unit=""),
        "idle": Line(what="CPU while idle", unit="ms/s", more_is_better=False),
    }
    for often in OVERLOADS:
        found |= _overloaded(often)
    return found | {
        "swaps": Line(what="half load, revisions swapped under it", unit="swaps"),
        "swap failed": Line(what="  not answered with 200", unit="requests", at_most=0),
        "swap p99": Line(what="  p99", unit="ms"),
        "swap times": Line(what="  of the p99 without", unit="times", at_most=2),
    }


def _overloaded(often: int) -> Mapping[str, Line]:
    over = f"over {often}"
    return {
        f"{over} reached": Line(what=f"{often} times the capacity: sent", unit="capacities"),
        f"{over} goodput": Line(what="  answered in a second", unit="capacities", at_least=0.9),
        f"{over} refused": Line(what="  answered 429 or 503", unit="%"),
        f"{over} lost": Line(what="  no answer, or no connection free", unit="%"),
        f"{over} hinted": Line(what="  refusals with Retry-After", unit="%", at_least=100),
        f"{over} p99": Line(what="  p99 of the accepted", unit="ms"),
        f"{over} refused p99": Line(what="  p99 of the refused", unit="ms"),
    }


@dataclass(frozen=True, kw_only=True)
class Table:
    """Prints results. ``servers`` are columns in order; only ``peers`` are compared with."""

    servers: tuple[str, ...]
    peers: tuple[str, ...]
    judged: str | None

    def head(self) -> None:
        columns = "".join(f"{name[:11]:>12}" for name in self.servers)
        print(f"{'what':<40}{'unit':<12}{columns}{'best peer':>11}  bar")

    def section(
        self, title: str, lines: Mapping[str, Line], figures: Mapping[str, Figures]
    ) -> None:
        print(f"-- {title}")
        for key, line in lines.items():
            if any(key in found for found in figures.values()):
                self._line(line, {name: found.get(key) for name, found in figures.items()})

    def _line(self, line: Line, values: Mapping[str, float | None]) -> None:
        cells = "".join(f"{number(values.get(name)):>12}" for name in self.servers)
        one = values.get(self.judged) if self.judged else None
        others = [value for name in self.peers if (value := values.get(name)) is not None]
        ratio = line.ratio(one, others)
        against = "" if ratio is None else f"{number(ratio)}x"
        bar = line.bar(one, ratio)
        print(f"{line.what:<40}{line.unit:<12}{cells}{against:>11}  {bar}".rstrip(), flush=True)


def number(value: float | None) -> str:
    """Return a number in three or so digits."""
    if value is None or math.isnan(value):
        return "-"
    size = abs(value)
    if size == int(size):
        return f"{value:,.0f}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def _told(value: float | None, needed: float) -> str:
    return "" if value is None else ", met" if value >= needed else ", MISSED"
