"""Compare runs: what each was made with and gave, side by side, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from everfit.measures.figures import counted
from everfit.tracking.model import Run

Fact = str | float
ABSENT = "-"
MOST_SHOWN = 48


class Section(StrEnum):
    """What a fact of a run is about, in the order in which it is shown."""

    RUN = "run"
    PARAMS = "params"
    METRICS = "metrics"
    TAGS = "tags"
    DATA = "data"
    CODE = "code"
    FILES = "files of code"
    ENVIRONMENT = "environment"
    STEPS = "steps"


# A run that lacks one of these recorded nothing of the kind: its gaps are no differences.
WHOLE = frozenset({Section.FILES, Section.ENVIRONMENT, Section.STEPS})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run with its facts by section and name."""

    run: Run
    facts: Mapping[Section, Mapping[str, Fact]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fact as each of the compared runs has it, None where a run lacks it."""

    section: Section
    name: str
    values: tuple[Fact | None, ...]

    @property
    def differs(self) -> bool:
        """Return whether not all runs have the same value; NaN is the same as NaN."""
        return any(_other(self.values[0], value) for value in self.values[1:])

    @property
    def change(self) -> float | None:
        """Return by which share of the first of two numbers the second differs, if it has one."""
        if len(self.values) != 2 or not all(isinstance(value, float) for value in self.values):
            return None
        before, after = (float(value) for value in self.values if value is not None)
        share = (after - before) / abs(before) if before else float("inf")
        return share if abs(share) < float("inf") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """What is recorded of several runs, fact by fact; ``str`` shows where they differ."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]

    @property
    def differences(self) -> tuple[Row, ...]:
        """Return the facts that are not the same in all runs."""
        return tuple(row for row in self.rows if row.differs)

    def __str__(self) -> str:
        return self.text()

    def text(self, *, everything: bool = False) -> str:
        """Return a table of the facts that differ, or of ``everything``."""
        rows = self.rows if everything else self.differences
        lines = [["", *(run.name for run in self.runs)], ["", *(run.id for run in self.runs)]]
        section = None
        for row in rows:
            if row.section is not section:
                section = row.section
                lines.append([str(section)])
            lines.append([f"  {row.name}", *_cells(row)])
        if not rows:
            lines.append([f"no difference in {counted(len(self.rows), 'recorded fact')}"])
        return _aligned(lines)


def compare(records: Sequence[RunRecord]) -> RunComparison:
    """Return every fact of ``records`` side by side, each section by name."""
    rows: list[Row] = []
    for section in Section:
        held = [record.facts.get(section, {}) for record in records]
        rows += _rows(section, held)
    return RunComparison(runs=tuple(record.run for record in records), rows=tuple(rows))


def _rows(section: Section, held: Sequence[Mapping[str, Fact]]) -> list[Row]:
    if section in WHOLE and any(held) and not all(held):
        sizes = tuple(f"{len(facts):,} recorded" if facts else None for facts in held)
        return [Row(section=section, name="all", values=sizes)]
    names: Iterable[str] = sorted({name for facts in held for name in facts})
    return [
        Row(section=section, name=name, values=tuple(facts.get(name) for facts in held))
        for name in names
    ]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    # A line of one cell is a title, and may be as long as it likes.
    table = [line for line in lines if len(line) > 1]
    widths = [max(map(len, column)) for column in zip_longest(*table, fillvalue="")]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def installed(lock: str) -> dict[str, str]:
    r"""Return name and version of everything that an environment lock lists.

    Examples
    --------
    >>> installed("# python 3.11.2 (CPython)\nnumpy==2.1.0\n")
    {'python': '3.11.2 (CPython)', 'numpy': '2.1.0'}
    """
    found = {}
    for line in lock.splitlines():
        name, _, version = line.removeprefix("# ").replace("==", " ", 1).partition(" ")
        if name:
            found[name] = version
    return found


def _other(one: Fact | None, another: Fact | None) -> bool:
    # NaN is the only value that differs from itself.
    both_nan = one != one and another != another
    return one != another and not both_nan


def _cells(row: Row) -> list[str]:
    cells = [_shown(value) for value in row.values]
    if row.differs and len(set(cells)) == 1:
        cells = _told_apart([ABSENT if value is None else str(value) for value in row.values])
    change = row.change
    return [*cells, "" if change is None or not row.differs else f"{change:+.1%}"]


def _shown(value: Fact | None) -> str:
    if value is None:
        return ABSENT
    if not isinstance(value, str):
        return f"{value:.6g}"
    plain = " ".join(value.split())
    if len(plain) == DIGEST_LENGTH and set(plain) <= HEXADECIMAL:
        return plain[:12]
    return _cut(plain)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _told_apart(texts: Sequence[str]) -> list[str]:
    """Return texts that begin alike, each from shortly before the place where they part.

    Examples
    --------
    >>> _told_apart(["a" * 60 + "b", "a" * 60 + "c"])
    ['…aaaaaaaaab', '…aaaaaaaaac']
    """
    columns = enumerate(zip(*texts, strict=False))
    alike = next(
        (place for place, letters in columns if len(set(letters)) > 1), min(map(len, texts))
    )
    if alike < MOST_SHOWN - 1:
        return [_cut(repr(text)) for text in texts]
    return [_cut(f"…{text[alike - 9 :]}") for text in texts]


DIGEST_LENGTH, HEXADECIMAL = 64, frozenset("0123456789abcdef")
