"""Real tables, cut small, and one pool of warm step processes for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everfit.data import Source
from everfit.kernel import load_settings, open_workspace
from everfit.steps import StepPool
from everfit.training import CandidateSpec, TrainingRequest

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
Make = Callable[..., TrainingRequest]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepPool]:
    settings = load_settings(tmp_path_factory.mktemp("pool"), environment={})
    workspace = open_workspace(settings, durable=False)
    with StepPool(workspace, processes=2) as pool:
        yield pool
    workspace.close()


def _cut(name: str, rows: int) -> pl.DataFrame:
    file = DATA / name
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return pl.read_csv(file, n_rows=rows)


@pytest.fixture
def bike(tmp_path: Path) -> Make:
    """Two thousand hours of bike rentals, as a request that may be changed."""
    _cut("bike/hour.csv", 2_000).write_csv(tmp_path / "hour.csv")

    def make(**changes: Any) -> TrainingRequest:
        given: dict[str, Any] = {
            "model": "bike",
            "source": Source(location="hour.csv"),
            "base": tmp_path,
            "target": "cnt",
            "time": "dteday + hr",
            "exclude": ("casual", "registered", "instant"),
            "metric": "mae",
            "candidates": (CandidateSpec(name="linear"), CandidateSpec(name="boosting")),
        }
        return TrainingRequest(**{**given, **changes})

    return make


@pytest.fixture
def adult(tmp_path: Path) -> Make:
    """Two thousand people of the census."""
    _cut("adult/adult.csv", 2_000).write_csv(tmp_path / "adult.csv")

    def make(**changes: Any) -> TrainingRequest:
        given: dict[str, Any] = {
            "model": "income",
            "source": Source(location="adult.csv"),
            "base": tmp_path,
            "target": "income-per-year",
            "metric": "roc_auc",
            "candidates": (CandidateSpec(name="linear"), CandidateSpec(name="naive_bayes")),
        }
        return TrainingRequest(**{**given, **changes})

    return make
