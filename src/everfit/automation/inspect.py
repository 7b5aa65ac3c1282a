"""``everfit check`` beyond the file itself: whether the policy fits the data and the steps."""

from __future__ import annotations

from pathlib import Path

from everfit.automation.decode import FILE
from everfit.automation.document import choices
from everfit.automation.model import Policy
from everfit.data import Schema, Source, collect, infer_schema
from everfit.errors import PolicyInvalid, Problem
from everfit.evaluation import Fair
from everfit.training import Pipeline


def inspect_project(folder: Path, policy: Policy, pipeline: Pipeline | None) -> Schema | None:
    """Return the schema of the policy's data; None where the project collects them itself.

    Raises
    ------
    SourceMissing, DataInvalid
        If the data cannot be read or used.
    PolicyInvalid
        Naming every column of the policy that the data do not have.
    """
    if pipeline is not None and {"collected", "prepared"} & set(pipeline.steps):
        return None
    data = policy.data
    frame = collect(Source(location=data.source, query=data.query), base=folder)
    problems = [
        Problem(
            path=path, found=f"the unknown column {name!r}", remedy=choices(name, frame.columns)
        )
        for path, name in _named_columns(policy)
        if name not in frame.columns
    ]
    if problems:
        raise PolicyInvalid.of(FILE, problems, hint=f"{data.source} has the columns it has.")
    return infer_schema(
        frame,
        target=data.target,
        time=data.time,
        task=policy.task,
        exclude=data.exclude,
        group=data.group,
        roles=data.roles,
    )


def _named_columns(policy: Policy) -> list[tuple[str, str]]:
    """Return every column that the policy names, with the path where it does."""
    data = policy.data
    time = [part.strip() for part in data.time.split("+")] if data.time else []
    named = [("data.target", data.target), ("data.group", data.group)]
    named += [("data.time", name) for name in time]
    named += [("data.exclude", name) for name in data.exclude]
    named += [(f"data.roles.{name}", name) for name in data.roles]
    named += [(f"data.expect.{rule.column}", rule.column) for rule in data.expect]
    named += [("truth.key", policy.truth.key)]
    named += [("train.split.key", name) for name in policy.train.split.key]
    for index, gate in enumerate(policy.gates):
        if isinstance(gate, Fair):
            named += [(f"gate[{index}].fair.across", name) for name in gate.across]
    return [(path, name) for path, name in named if name is not None]
