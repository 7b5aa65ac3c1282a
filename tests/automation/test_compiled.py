"""What is released is compiled first where that is proved to answer the same, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everfit.automation import Loop, open_project, standing, start_retraining, timeline
from everfit.compiling import CompiledModel
from everfit.kernel import Worker
from everfit.packages import FittedModel
from everfit.registry import get_compiled, get_version, load_package
from everfit.serving import ModelServer
from everfit.steps import StepPool

POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1_000))
    sky = rng.choice(["clear", "rain"], 1_000)
    y = 3 * a - b + (sky == "rain") + rng.normal(0, 0.1, 1_000)
    pl.DataFrame({"a": a, "b": b, "sky": sky, "y": y}).write_csv(tmp_path / "rows.csv")
    (tmp_path / "everfit.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def pool(folder: Path) -> Iterator[StepPool]:
    project = open_project(folder)
    with StepPool(project.workspace, 1) as opened:
        yield opened
    project.workspace.close()


def released(folder: Path, pool: StepPool, *, compiles: bool) -> Loop:
    loop = Loop(open_project(folder), pool, compiles=compiles)
    start_retraining(loop.project, reason="test")
    Worker(loop.workspace, loop.handlers, name="test").run_pending()
    return loop


def test_a_release_is_compiled_proved_and_served_compiled(folder: Path, pool: StepPool) -> None:
    loop = released(folder, pool, compiles=True)
    with loop.workspace.reading() as tx:
        version = get_version(tx, "small", 1)
        found = get_compiled(tx, version)
        [event] = tx.events("model-compiled")
        [champion] = [row for row in standing(loop.project, tx) if row[0] == "champion"]
        [told] = [turn.sentence for turn in timeline(tx.events()) if turn.event == event.number]
    assert found is not None
    assert champion[2] == f"answers requests, compiled: {found.reason}"
    assert told == f"v1 is compiled: {found.reason}"
    assert found.content == event.data["content"] is not None
    assert found.reason.startswith("equal on ")
    rows = pl.DataFrame({"a": [0.1, -2.0], "b": [1.0, 0.5], "sky": ["rain", None]})
    native = load_package(loop.workspace, version).predict(rows)
    with ModelServer(loop.workspace, "small", writer="test", durable=False) as server:
        assert isinstance(server.loaded.champion.model, CompiledModel)
        answers = server.predict(rows)
    np.testing.assert_allclose(answers.predictions, native, rtol=1e-9)


def test_what_is_damaged_or_missing_is_asked_natively(folder: Path, pool: StepPool) -> None:
    loop = released(folder, pool, compiles=True)
    with loop.workspace.reading() as tx:
        found = get_compiled(tx, get_version(tx, "small", 1))
    assert found is not None
    assert found.content is not None
    loop.workspace.blobs.remove(found.content)
    with ModelServer(loop.workspace, "small", writer="test", durable=False) as server:
        assert isinstance(server.loaded.champion.model, FittedModel)


def test_nothing_is_compiled_where_nobody_wants_it(folder: Path, pool: StepPool) -> None:
    loop = released(folder, pool, compiles=False)
    with loop.workspace.reading() as tx:
        assert get_compiled(tx, get_version(tx, "small", 1)) is None
    with ModelServer(loop.workspace, "small", writer="test", durable=False) as server:
        assert isinstance(server.loaded.champion.model, FittedModel)
