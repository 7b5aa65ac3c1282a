"""The same commands with everything recorded in Postgres."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

Everfit = Callable[..., subprocess.CompletedProcess[str]]

POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}}}
"""


def test_a_model_is_trained_gated_and_released(
    tmp_path: Path, everfit: Everfit, postgres_url: str
) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2_000))
    noise = rng.normal(0, 0.1, 2_000)
    pl.DataFrame({"a": a, "b": b, "y": 3 * a - b + noise}).write_csv(tmp_path / "rows.csv")
    (tmp_path / "everfit.yaml").write_text(POLICY)
    shared = {"EVERFIT_DATABASE_URL": postgres_url}
    done = everfit("run", **shared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v1 is live" in done.stdout
    assert not (tmp_path / ".everfit/everfit.db").exists()
    again = everfit("run", **shared)
    assert "unchanged" in again.stdout
    assert "v2" in again.stdout
    assert re.search(r"champion +v1 ", everfit("status", **shared).stdout)
    assert "chain unbroken" in everfit("audit", "verify", **shared).stdout
