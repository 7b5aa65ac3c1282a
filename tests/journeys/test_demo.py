"""The main job, as `make demo` runs it: a year of bike rentals over real HTTP."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from everfit.cli.demo import planted

Everfit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def told(tmp_path: Path, shared: Path, everfit: Everfit) -> str:
    """Return what the demo prints on the real rentals."""
    done = everfit("demo", "--data", str(shared / "bike/hour.csv"), "--home", str(tmp_path / "d"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_story_is_told_to_its_end(told: str, tmp_path: Path, everfit: Everfit) -> None:
    assert re.search(r"v1 is live", told)
    trained = re.findall(r"v(\d+) trained \((?!a colleague)", told)
    assert len(trained) >= 8
    assert len(re.findall(r"v\d+ is live", told)) >= 4
    quick_fix = re.search(r"v(\d+) trained \(a colleague's quick fix\)", told)
    assert quick_fix is not None
    bad = quick_fix[1]
    assert re.search(rf"gate +v{bad} pass", told), "the gates cannot see what is wrong with it"
    assert re.search(rf"rollback +v{bad} rolled back: \d+ errors in \d+ requests", told)
    assert f"v{bad} is live" not in told
    removed = re.search(r"the loop removed (-?[\d.]+)% of the mean absolute error", told)
    assert removed is not None
    assert float(removed[1]) > 10
    assert re.search(r"model uptime +1 ", told), "the rollback kept every request answered"
    for metric in (
        "model performance",
        "data quality",
        "model drift",
        "deployment frequency",
        "deployment success rate",
        "prediction latency",
        "cost",
        "resource utilisation",
        "feedback-loop effectiveness",
    ):
        assert metric in told
    # What it left behind can be asked and audited like any project.
    audited = everfit("audit", "verify", "--in", str(tmp_path / "d"))
    assert "chain unbroken" in audited.stdout
    asked = everfit("why", f"v{bad}", "--in", str(tmp_path / "d"))
    assert "a colleague's quick fix" in asked.stdout


def test_without_real_rows_a_stream_with_planted_drift_stands_in() -> None:
    stream = planted()
    assert stream.height == (365 + 366) * 24
    assert stream["cnt"].to_list() == (stream["casual"] + stream["registered"]).to_list()
    before, after = stream["cnt"][: 24 * 547].mean(), stream["cnt"][24 * 547 :].mean()
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after > 1.2 * before
    assert planted().equals(stream)
