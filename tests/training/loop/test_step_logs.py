"""What steps log with ``everfit.log`` is in the run of their training, once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent

import pytest

from everfit import tracking
from everfit.errors import StepFailed
from everfit.kernel import Workspace
from everfit.reproduction import Verdict, reproduce_run
from everfit.steps import StepPool
from everfit.steps.model import Quiet
from everfit.tracking import RunQuery, get_run_data, metric_history, query_runs
from everfit.training import CandidateSpec, TrainingRequest, train

Make = Callable[..., TrainingRequest]
LINEAR = (CandidateSpec(name="linear"),)
HEAD = """
import os, pathlib, signal, time
import everfit
import polars as pl
from everfit.data import Split
HERE = pathlib.Path(__file__).parent
"""


def written(request: TrainingRequest, body: str) -> TrainingRequest:
    path = request.base / f"{request.base.name}.py"
    path.write_text(HEAD + dedent(body))
    return replace(request, pipeline=path)


def history(workspace: Workspace, key: str, run: str = "run_1") -> list[tuple[int, float]]:
    with workspace.reading() as tx:
        return [(point.step, point.value) for point in metric_history(tx, run, key)]


def counted(count: int) -> list[tuple[int, float]]:
    return [(number, float(number)) for number in range(count)]


BODY = """
def left(collected: pl.DataFrame) -> int:
    for number in range(400):
        everfit.log(left=number)
    return 1

def right(collected: pl.DataFrame) -> int:
    for number in range(400):
        everfit.log(right=number)
    child = os.fork()
    if not child:
        everfit.log(forked=1)
        os._exit(0)
    os.waitpid(child, 0)
    return 1

def prepared(collected: pl.DataFrame, left: int, right: int) -> pl.DataFrame:
    everfit.log({"rows": collected.height})
    everfit.log_params(kept="all")
    everfit.set_tags(team="a")
    (HERE / "note.txt").write_text("read me")
    everfit.log_file(HERE / "note.txt")
    return collected

def shared(segregated: Split) -> float:
    mean = float(segregated.train["cnt"].mean())
    everfit.log(mean=mean)
    return mean

class Mean:
    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, frame: pl.DataFrame) -> list[float]:
        return [self.value] * frame.height

def guess(segregated: Split, shared: float, by: float = 1.0) -> Mean:
    everfit.log_params(by=by)
    for loss in (3, 2, 1):
        everfit.log(loss=loss * by)
    return Mean(shared + by)
"""


def test_all_that_steps_log_is_in_the_run_of_their_training(
    any_workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    workspace = any_workspace
    guesses = CandidateSpec(name="guess", search={"by": [1.0, 2.0]})
    request = written(bike(candidates=(guesses,), trials=2), BODY)
    result = train(workspace, request, run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        [data], _ = query_runs(tx, RunQuery())
        files = tracking.artifacts(tx, "run_1")
    assert (data.run.id, data.run.status) == ("run_1", "finished")
    assert history(workspace, "left") == history(workspace, "right") == counted(400)
    assert history(workspace, "forked") == [(0, 1.0)]
    assert history(workspace, "rows") == [(0, 2_000.0)]
    assert (data.params["kept"], data.tags["team"]) == ("all", "a")
    assert workspace.blobs.get(files["note.txt"].digest) == b"read me"
    # Each trial under its own name; the model that came of it all, and only that, by the plain one.
    tried = {float(data.params[f"{trial}/by"]) for trial in ("guess", "guess 1")}
    assert tried == {score.params["by"] for score in result.leaderboard}
    best = float(data.params["by"])
    assert best == result.leaderboard[0].params["by"]
    assert history(workspace, "loss") == [(0, 3 * best), (1, 2 * best), (2, best)]
    assert len(history(workspace, "guess/loss")) == len(history(workspace, "guess 1/loss")) == 3
    assert len(history(workspace, "mean")) == len(history(workspace, "trials/mean")) == 1
    assert not list(workspace.home.glob("step-logs/*"))


def test_a_step_that_is_found_in_the_cache_logs_nothing(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = written(bike(candidates=LINEAR), BODY)
    for run in ("run_1", "run_2"):
        train(workspace, request, run_id=run, pool=pool)
    assert len(history(workspace, "left", "run_1")) == 400
    assert history(workspace, "left", "run_2") == []


DYING = """
def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    everfit.log_params(seen=1)
    again = (HERE / "died").exists()
    for number in range(900 if again else 500):
        everfit.log(loss=number)
        everfit.log(twice=number, step=number // 2)
    if not again:
        (HERE / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return collected
"""


def test_a_step_whose_process_is_killed_doubles_nothing_when_it_is_run_again(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    train(workspace, written(bike(candidates=LINEAR), DYING), run_id="run_1", pool=pool)
    assert history(workspace, "loss") == counted(900)
    twice = [(number // 2, float(number)) for number in range(900)]
    assert sorted(history(workspace, "twice")) == twice


PROGRAM = """
import sys
from pathlib import Path
from everfit.data import Source
from everfit.kernel import load_settings, open_workspace
from everfit.steps import StepPool
from everfit.training import CandidateSpec, TrainingRequest, train

base = Path(sys.argv[1])
workspace = open_workspace(load_settings(base / "project", environment={}), durable=False)
request = TrainingRequest(
    model="bike", source=Source(location="hour.csv"), base=base, target="cnt",
    time="dteday + hr", exclude=("casual", "registered", "instant"), metric="mae",
    candidates=(CandidateSpec(name="linear"),), pipeline=base / f"{base.name}.py",
)
with StepPool(workspace, processes=1) as pool:
    train(workspace, request, run_id="run_1", pool=pool)
"""
WAITING = """
def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    for number in range(300):
        everfit.log(loss=number)
    (HERE / "half").touch()
    while not (HERE / "go").exists():
        time.sleep(0.05)
    for number in range(300, 600):
        everfit.log(loss=number)
    return collected
"""


def test_what_is_logged_is_seen_at_once_and_once_though_the_training_is_killed(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = written(bike(candidates=LINEAR), WAITING)
    command = [sys.executable, "-c", PROGRAM, str(request.base)]
    with subprocess.Popen(command) as child:
        deadline = time.monotonic() + 60
        while not arrived(workspace):
            assert time.monotonic() < deadline, "nothing arrives while the step runs"
            time.sleep(0.1)
        child.kill()
    assert (request.base / "half").exists()
    (request.base / "go").touch()
    train(workspace, request, run_id="run_1", pool=pool)
    assert history(workspace, "loss") == counted(600)


def arrived(workspace: Workspace) -> bool:
    with workspace.reading() as tx:
        runs, _ = query_runs(tx, RunQuery())
    return bool(runs) and history(workspace, "loss") == counted(300)


def test_a_failed_step_leaves_what_it_logged(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        everfit.log(loss=1)
        everfit.log(loss=float("nan"))
        raise ValueError("it diverged")
    """
    with pytest.raises(StepFailed, match="it diverged"):
        train(workspace, written(bike(), body), run_id="run_1", pool=pool)
    assert [step for step, _ in history(workspace, "loss")] == [0, 1]
    with workspace.reading() as tx:
        assert get_run_data(tx, "run_1").run.status == "failed"


def test_what_the_training_itself_says_is_not_hidden_by_what_a_step_logs(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        everfit.log(mae=-1.0, step=99)
        everfit.log_params({"seed": 77, "best": "mine", "best.of": 3, "depth": 4})
        return collected
    """
    told: list[str] = []

    class Listening(Quiet):
        def note(self, text: str) -> None:
            told.append(text)

    request = written(bike(candidates=LINEAR), body)
    result = train(workspace, request, run_id="run_1", pool=pool, progress=Listening())
    with workspace.reading() as tx:
        data = get_run_data(tx, "run_1")
    assert {p.key: p.value for p in data.metrics}["mae"] == result.metrics["mae"]
    assert (data.params["seed"], data.params["best"]) == ("0", "linear")
    assert "not logged: the parameter 'best' is the training's own" in told
    assert any("seed" in text for text in told)


def test_a_run_that_a_step_starts_is_its_own_and_a_child_of_the_training(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        with everfit.start_run("inner", to=HERE / "project"):
            everfit.log(inner=1)
        everfit.start_run("left open", to=HERE / "project")
        everfit.log(inner=2)
        return collected

    def after(prepared: pl.DataFrame) -> int:
        everfit.log(outer=1)
        return 1
    """
    train(workspace, written(bike(candidates=LINEAR), body), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        runs, _ = query_runs(tx, RunQuery())
    found = {data.run.name: data for data in runs}
    assert set(found) == {"bike", "inner", "left open"}
    assert {found[name].run.parent for name in ("inner", "left open")} == {"run_1"}
    assert Counter(data.run.status for data in runs) == {"finished": 3}
    assert history(workspace, "outer") == [(0, 1.0)]
    assert history(workspace, "inner") == []


def test_a_reproduction_logs_nothing(workspace: Workspace, pool: StepPool, bike: Make) -> None:
    request = written(bike(candidates=LINEAR), BODY)
    train(workspace, request, run_id="run_1", pool=pool)
    found = reproduce_run(workspace, "run_1", project=request.base, pool=pool)
    assert found.verdict is Verdict.IDENTICAL
    assert history(workspace, "left") == counted(400)
    with workspace.reading() as tx:
        assert len(query_runs(tx, RunQuery())[0]) == 1
