"""The table: lines with a value for each server, their ratio, a floor and the bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bench.tracking.servers import Server


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one line of the table measures, and the bar it is held against; nothing gates."""

    what: str
    unit: str
    more_is_better: bool = False
    compared: bool = True  # whether a ratio says anything
    times: float | None = None  # bar: so many times better than the other server
    at_most: float | None = None  # bar: not more than this
    of_floor: float | None = None  # bar: at least this share of the floor

    def ratio(self, one: float | None, other: float | None) -> float | None:
        """Return how many times better the one is than the other, where that can be said."""
        better, worse = (one, other) if self.more_is_better else (other, one)
        return better / worse if self.compared and better is not None and worse else None

    def bar(self, one: float | None, other: float | None, floor: float | None) -> str:
        """Return the bar in words, with whether it is met where that can be said."""
        if self.times is not None:
            return f"{self.times:g}x{_told(self.ratio(one, other), self.times)}"
        if self.of_floor is not None:
            known = None if one is None or not floor else one / floor
            return f"{self.of_floor:g} of floor{_told(known, self.of_floor)}"
        if self.at_most is not None:
            known = None if one is None else -one
            return f"<= {self.at_most:g}{_told(known, -self.at_most)}"
        return ""


class Section(Protocol):
    """A group of measurements that is repeated as one."""

    @property
    def title(self) -> str:
        """Return what the lines have in common."""

    @property
    def lines(self) -> Mapping[str, Line]:
        """Return the lines, by the key of their figures."""

    def prepare(self, server: Server) -> None:
        """Bring in the data that is measured against."""

    def once(self, server: Server) -> Mapping[str, float]:
        """Measure each line once; a line may be left out."""

    def floor(self) -> Mapping[str, float]:
        """Measure what the machine could do without any server; empty where there is no floor."""


@dataclass(kw_only=True)
class Results:
    """What was measured in one section: medians by line, for each server and for the floor."""

    by_server: dict[str, dict[str, float]] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)  # server -> why it was not measured


@dataclass(frozen=True, kw_only=True)
class Table:
    """Prints results; the first server is the one that is held against the bars, if any is."""

    servers: tuple[str, ...]
    judged: bool

    def head(self) -> None:
        columns = "".join(f"{name[:11]:>12}" for name in self.servers)
        ratio = f"{'ratio':>10}" if len(self.servers) == 2 else ""
        print(f"{'what':<48}{'unit':<12}{columns}{ratio}{'floor':>12}  bar")

    def section(self, title: str, lines: Mapping[str, Line], results: Results) -> None:
        print(f"-- {title}")
        for name, why in results.broken.items():
            print(f"!! {name} is left out. {why}")
        for key, line in lines.items():
            values = [results.by_server.get(name, {}).get(key) for name in self.servers]
            floor = results.floor.get(key)
            if floor is None and not any(value is not None for value in values):
                continue
            self._line(line, values, floor)

    def _line(self, line: Line, values: list[float | None], floor: float | None) -> None:
        cells = "".join(f"{_number(value):>12}" for value in values)
        one, other = values[0], values[1] if len(values) == 2 else None
        if len(values) == 2:
            known = line.ratio(one, other)
            cells += f"{_number(known) + ('' if known is None else 'x'):>10}"
        bar = line.bar(one if self.judged else None, other, floor)
        print(f"{line.what:<48}{line.unit:<12}{cells}{_number(floor):>12}  {bar}", flush=True)


def _told(value: float | None, needed: float) -> str:
    return "" if value is None else ", met" if value >= needed else ", MISSED"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    size = abs(value)
    if size == int(size) if size < 1e15 else True:
        return f"{value:,.0f}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"
