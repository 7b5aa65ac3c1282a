"""Trainings side by side: their rows and the steps that gave something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from everfit.kernel import Workspace
from everfit.steps import StepPool
from everfit.tracking import Section
from everfit.training import CandidateSpec, TrainingRequest, compare_runs, train

Make = Callable[..., TrainingRequest]


def test_trainings_are_told_apart_by_what_they_were_given_and_by_their_steps(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike(candidates=(CandidateSpec(name="linear"),))
    train(workspace, request, run_id="run_1", pool=pool)
    train(workspace, request, run_id="run_2", pool=pool)
    other = replace(request, exclude=(*request.exclude, "temp"), seed=1)
    train(workspace, other, run_id="run_3", pool=pool)

    spent = {"cost", "cpu_seconds", "wall_seconds", "peak_bytes"}
    same = compare_runs(workspace, ["run_1", "run_2"])
    assert {row.name for row in same.differences} <= spent
    assert {Section.DATA, Section.STEPS, Section.ENVIRONMENT} <= {row.section for row in same.rows}

    changed = compare_runs(workspace, ["run_1", "run_3"])
    differing = {(row.section, row.name) for row in changed.differences if row.name not in spent}
    assert (Section.PARAMS, "seed") in differing
    assert (Section.METRICS, "mae") in differing
    steps = {name for section, name in differing if section is Section.STEPS}
    # The rows are the same ones; which columns are features is not.
    assert {"schema", "segregated", "linear", "fitted", "packed"} <= steps
    assert steps.isdisjoint({"collected", "prepared"})
    assert (Section.DATA, "dataset version") not in differing
