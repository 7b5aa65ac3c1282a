"""A training that is killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from everfit import registry, tracking
from everfit.errors import Cancelled
from everfit.kernel import Workspace
from everfit.steps import StepPool, run_steps
from everfit.training import TrainingRequest, train

Make = Callable[..., TrainingRequest]

PROGRAM = """
import sys
from pathlib import Path
from everfit.data import Source
from everfit.kernel import load_settings, open_workspace
from everfit.steps import StepPool
from everfit.training import CandidateSpec, TrainingRequest, train

class Told:
    def step_started(self, name): pass
    def step_finished(self, result): print(result.name, flush=True)
    def note(self, text): pass

base = Path(sys.argv[1])
workspace = open_workspace(load_settings(base / "project", environment={}), durable=False)
request = TrainingRequest(
    model="bike", source=Source(location="hour.csv"), base=base, target="cnt",
    time="dteday + hr", exclude=("casual", "registered", "instant"), metric="mae",
    candidates=(CandidateSpec(name="linear"), CandidateSpec(name="boosting")),
)
with StepPool(workspace, processes=1) as pool:
    train(workspace, request, run_id="run_1", progress=Told(), pool=pool)
"""


def killed_after(step: str, base: Path) -> list[str]:
    """Run the program until it says that ``step`` is done, kill it; return the steps it did."""
    command = [sys.executable, "-c", PROGRAM, str(base)]
    seen: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            seen.append(line.strip())
            if step in seen:
                break
        child.kill()
    assert child.returncode == -signal.SIGKILL, f"ended by itself after {seen}"
    return seen


def test_a_training_killed_twice_goes_on_where_it_was(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike()
    early = killed_after("segregated", request.base)
    late = killed_after("packed", request.base)
    assert set(early) < set(late)

    result = train(workspace, request, run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        steps = {step.name: step for step in run_steps(tx, "run_1")}
        versions = registry.list_versions(tx, "bike")
        kinds = [event.kind for event in tx.events()]
    assert all(steps[name].cached for name in late)
    assert [version.number for version in versions] == [1]
    assert kinds == [
        "experiment-created",
        "run-started",
        "dataset-stored",
        "version-registered",
        "run-finished",
    ]
    # What the killed attempts had done belongs to this run's account.
    assert result.metrics["cpu_seconds"] >= result.leaderboard[0].cpu_seconds > 0


def test_a_cancelled_training_ends_cancelled_and_registers_nothing(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    @dataclass
    class Stopped:
        def check(self) -> None:
            raise Cancelled("stopped by a person", hint="Start it again if it is wanted.")

    with pytest.raises(Cancelled):
        train(workspace, bike(), run_id="run_1", pool=pool, lease=Stopped())
    with workspace.reading() as tx:
        run = tracking.get_run(tx, "run_1")
        assert (run.status, run.error) == (tracking.RunStatus.CANCELLED, "stopped by a person")
        assert registry.list_versions(tx, "bike") == []
