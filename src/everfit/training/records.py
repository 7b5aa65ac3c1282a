"""What is on record of runs, side by side: of trainings also the steps and the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from everfit import steps, tracking
from everfit.kernel import Blobs, Transaction, Workspace
from everfit.tracking import RunComparison, RunRecord, Section
from everfit.tracking.compare import compare

RESULT = "result.json"
"""Artifact with what a training gave."""


def run_record(tx: Transaction, blobs: Blobs, run_id: str) -> RunRecord:
    """Return the facts of one run.

    Raises
    ------
    NotFound
        If there is no such run, or what it kept is gone.
    """
    record = tracking.run_record(tx, blobs, run_id)
    made = {step.name: step.digest or step.status for step in steps.run_steps(tx, run_id)}
    kept = tracking.artifacts(tx, run_id)
    data = dict(record.facts.get(Section.DATA, {}))
    if made and RESULT in kept:
        data["dataset version"] = json.loads(blobs.get(kept[RESULT].digest))["dataset"]
    return replace(record, facts={**record.facts, Section.STEPS: made, Section.DATA: data})


def compare_runs(workspace: Workspace, references: Sequence[str]) -> RunComparison:
    """Return what is recorded of several runs, side by side.

    Parameters
    ----------
    references
        Ids, beginnings of ids, or names of runs.

    Raises
    ------
    NotFound, Invalid
        If a reference means no run, or several, or what a run kept is gone.
    """
    with workspace.reading() as tx:
        ids = [tracking.resolve_run(tx, reference).id for reference in references]
        return compare([run_record(tx, workspace.blobs, run_id) for run_id in ids])
