"""Runs of a folder from Python, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

import everfit
from everfit.errors import NotFound
from everfit.kernel import load_settings, open_workspace
from everfit.tracking import log_metrics, log_params, start_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    workspace = open_workspace(load_settings(tmp_path, environment={}), durable=False)
    with workspace.transaction() as tx:
        for number in range(3):
            run = start_run(tx, kind="notebook", name=f"r{number}", run_id=f"run_{number}")
            log_params(tx, run.id, {"depth": number, "seed": 0})
            log_metrics(tx, run.id, {"mae": 4.0 - number})
    workspace.close()
    return tmp_path


def test_runs_are_found_and_compared(folder: Path) -> None:
    best, *others = everfit.runs(folder=folder, filter="metrics.mae > 2", order_by=["metrics.mae"])
    assert (best.name, best.metrics, best.params) == (
        "r1",
        {"mae": 3.0},
        {"depth": "1", "seed": "0"},
    )
    assert [run.name for run in others] == ["r0"]
    compared = best.compare(*others, "r2")
    assert [row.name for row in compared.differences] == ["depth", "mae"]
    assert [row.values for row in compared.differences][1] == (3.0, 4.0, 2.0)
    assert "depth" in str(compared)


def test_one_run_is_found_by_its_name(folder: Path) -> None:
    run = everfit.find_run("r2", folder=folder)
    assert (run.id, run.kind, run.finished_at) == ("run_2", "notebook", None)
    assert isinstance(run, everfit.Run)


def test_a_folder_without_records_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is recorded"):
        everfit.runs(folder=tmp_path / "nowhere")
