"""Real data for the journeys, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from everfit.cli import main

SHARED = Path(__file__).resolve().parents[3] / "shared/data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout."""
    if not SHARED.exists():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def elec2(shared: Path) -> pl.DataFrame:
    """The electricity market with the time of each half-hour, which the file leaves out."""
    frame = pl.read_csv(shared / "elec2/elec.csv")
    start = datetime(1996, 5, 7, tzinfo=UTC)
    half_hours = pl.int_range(frame.height, eager=True) * 1_800_000_000
    at = (half_hours + int(start.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(at.alias("at"))


@dataclass(frozen=True, slots=True)
class Done:
    """A command that came to its end, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def everfit(tmp_path: Path) -> Command:
    """Run the real command in ``tmp_path``, in a process of its own."""

    def run(*arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "everfit.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "160", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the same in this process, without the second that its start takes."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["everfit", *arguments])
        capsys.readouterr()
        code: str | int | None = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return Done(int(code or 0), printed.out, printed.err)

    return run
