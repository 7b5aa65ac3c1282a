"""``everfit check``: the file, the steps, and whether both fit the data, all at once."""

from __future__ import annotations

from pathlib import Path

from everfit.automation.decode import param_names, parse, refuse
from everfit.automation.document import choices
from everfit.automation.model import Policy
from everfit.automation.project import PIPELINE, policy_text
from everfit.data import Schema, Source, collect, infer_schema
from everfit.errors import EverfitError, PipelineInvalid, Problem
from everfit.evaluation import Fair
from everfit.kernel import load_settings
from everfit.steps import Pipeline
from everfit.training import load_pipeline

OWN_ROWS = {"collected", "prepared"}


def check_project(folder: Path) -> tuple[Policy, Schema | None]:
    """Return the policy in ``folder`` and the schema of its data, None where steps make the rows.

    Raises
    ------
    PolicyInvalid
        Listing every problem of the policy, of the pipeline and of the columns they name.
    SourceMissing, DataInvalid
        If the policy is sound but its data cannot be read or used.
    """
    content = policy_text(folder)
    pipeline, problems = _pipeline(folder, content)
    settings = load_settings(folder)
    policy, found = parse(
        content, functions=set(pipeline.steps) if pipeline else (), currency=settings.currency
    )
    problems += found
    if not policy.data.source or (pipeline and OWN_ROWS & set(pipeline.steps)):
        refuse(problems)
        return policy, None
    try:
        schema = _schema(folder, policy, problems, settings.max_columns)
    except EverfitError as error:
        if not problems:
            raise
        problems.append(Problem(path="data.source", found=error.message, remedy=error.hint))
        schema = None
    refuse(problems)
    return policy, schema


def _pipeline(folder: Path, content: str) -> tuple[Pipeline | None, list[Problem]]:
    path = folder / PIPELINE
    if not path.exists():
        return None, []
    try:
        return load_pipeline(path, param_names(content)), []
    except PipelineInvalid as error:
        whole = Problem(path=PIPELINE, found=error.message, remedy=error.hint)
        return None, list(error.problems) or [whole]


def _schema(
    folder: Path, policy: Policy, problems: list[Problem], max_columns: int
) -> Schema | None:
    """Return the schema; columns that the data do not have are added to ``problems``."""
    data = policy.data
    source = Source(location=data.source, query=data.query)
    frame = collect(source, base=folder, max_columns=max_columns)
    problems += [
        Problem(
            path=path, found=f"the unknown column {name!r}", remedy=choices(name, frame.columns)
        )
        for path, name in _named_columns(policy)
        if name not in frame.columns
    ]
    if problems:
        return None
    return infer_schema(
        frame,
        target=data.target,
        time=data.time,
        task=policy.task,
        exclude=data.exclude,
        group=data.group,
        roles=data.roles,
        drop_missing_target=data.drop_missing_target,
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
