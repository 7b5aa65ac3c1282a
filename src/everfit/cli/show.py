"""How commands draw: tables, sparklines, live progress. Nothing here decides anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from everfit.automation import Turn
from everfit.measures.figures import figure
from everfit.monitoring import Metric
from everfit.steps import StepResult

# A pipe or a log has no width of its own: 80 columns would break every table.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
COLOURS = {
    "trigger": "cyan",
    "train": "blue",
    "gate": "magenta",
    "release": "green",
    "rollback": "red",
    "alert": "yellow",
    "trouble": "red",
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
}
BARS = "▁▂▃▄▅▆▇█"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a title; numbers stand to the right."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, header_style="bold", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)


def _cell(value: object) -> Text:
    shown = figure(value) if isinstance(value, float) else str(value)
    return Text(shown, style=COLOURS.get(shown, ""))


def turn(item: Turn) -> None:
    """Print one line of the timeline."""
    console.print(
        Text.assemble(
            (f"{item.at:%Y-%m-%d %H:%M}  ", "dim"),
            (f"{item.sort:<9}", COLOURS.get(item.sort, "")),
            item.sentence,
        ),
        soft_wrap=True,
    )


def sparkline(values: Sequence[float], *, width: int = 72, top: float | None = None) -> str:
    """Return values as bars, averaged down to ``width`` characters.

    Examples
    --------
    >>> sparkline([0, 1, 2, 4], width=4)
    '▁▂▄█'
    """
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [
        sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)
    ]
    highest = max(means) if top is None else top
    scale = (len(BARS) - 1) / highest if highest > 0 else 0.0
    return "".join(BARS[min(len(BARS) - 1, int(value * scale))] for value in means)


class LiveProgress:
    """Shows the steps that run now, with their time, and one line for each that ended."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}
        self.live = Live(self, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def __rich__(self) -> Text:
        now = time.monotonic()
        names = [f"{name} {now - since:.1f}s" for name, since in list(self.running.items())]
        return Text("running: " + ", ".join(names) if names else "", style="cyan")

    def step_started(self, name: str) -> None:
        """Note that a step runs."""
        self.running[name] = time.monotonic()

    def step_finished(self, result: StepResult) -> None:
        """Print what a step took."""
        self.running.pop(result.name, None)
        if result.cached:
            took = "unchanged"
        else:
            took = f"{result.wall_seconds:6.2f} s  {result.peak_bytes / 2**20:6.0f} MiB"
        self.live.console.print(Text.assemble(("  done  ", "green"), f"{result.name:<28}{took}"))

    def note(self, text: str) -> None:
        """Print a sentence."""
        self.live.console.print(Text(f"  {text}"))


def metrics(found: Iterable[Metric]) -> None:
    """Print the ten metrics."""
    table(
        "the ten metrics",
        ("metric", "value", "unit", "detail"),
        [(m.name, "-" if m.value is None else m.value, m.unit, m.detail) for m in found],
    )
