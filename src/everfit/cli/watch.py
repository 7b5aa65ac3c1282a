"""``everfit label``, ``status``, ``why`` and ``metrics``."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from everfit.automation import Project, standing
from everfit.cli import show
from everfit.cli.project import opened
from everfit.data import Source, collect
from everfit.errors import EverfitError, StaleRevision
from everfit.governance import Question, prediction_reasons
from everfit.governance import why as explain_id
from everfit.kernel import as_utc
from everfit.measures.figures import counted
from everfit.monitoring import Monitor, receive_labels, ten_metrics

IN = click.option(
    "--in", "folder", default=".", type=click.Path(path_type=Path), help="The project's folder."
)

PREDICTION = "p_"


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@IN
def label(table: Path, folder: Path) -> None:
    """Hand in labels: a table with `id` or `key`, and `label`.

    The names that the policy gives to the key and to the target are understood as well.
    """
    project = opened(folder)
    source = Source(location=str(table.resolve()), query=None)
    most = project.workspace.settings.max_columns
    rows = collect(source, base=folder, max_columns=most)
    usual = {project.policy.truth.key: "key", project.policy.data.target: "label"}
    renamed = {own: name for own, name in usual.items() if own and name not in rows.columns}
    rows = rows.rename(renamed, strict=False)
    receipt = receive_labels(project.workspace, project.policy.model, rows)
    show.console.print(f"{counted(receipt.accepted, 'label')} kept")
    waiting = _sweep(project)
    if waiting:
        show.console.print(
            f"{counted(waiting, 'label')} in all wait for a prediction of their id or key"
        )


def _swept(folder: Path) -> Project:
    """Return the project, opened, with everything taken in that its logs hold by now."""
    project = opened(folder)
    _sweep(project)
    return project


def _sweep(project: Project) -> int:
    """Take in what the logs hold, and return how many labels wait for their prediction."""
    monitor = Monitor(project.workspace, project.policy.model, project.monitor_config())
    try:
        return monitor.sweep(project.workspace.clock.now()).pending
    except StaleRevision:
        return 0  # Another process has just done so.


@click.command()
@IN
def status(folder: Path) -> None:
    """Show what runs, what waits for whom, and what is next."""
    project = _swept(folder)
    with project.workspace.reading() as tx:
        found = standing(project, tx)
    show.table(project.policy.model, ("what", "state", "detail"), found)


@click.command()
@click.argument("identifier")
@IN
@click.option("--json", "as_json", is_flag=True, help="As JSON; of a prediction with all reasons.")
def why(identifier: str, folder: Path, as_json: bool) -> None:
    """Explain a prediction, an alert, a verdict, a release, a version or a run by its id.

    What moved a prediction is computed again, from the logged inputs and the version that answered.
    """
    project = _swept(folder)
    question = Question(workspace=project.workspace, model=project.policy.model)
    with project.workspace.reading() as tx:
        lines = explain_id(question, tx, identifier)
        found: dict[str, Any] = {"id": identifier, "known": lines}
        if as_json and identifier.startswith(PREDICTION):
            try:
                found["explanation"] = prediction_reasons(question, tx, identifier)
            except EverfitError as error:
                found["explanation"] = None
                found["unexplained"] = error.message
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    for line in lines:
        show.console.print(line, soft_wrap=True)


@click.command()
@IN
@click.option("--since", type=click.DateTime(), help="From when; default: 30 days ago.")
@click.option("--until", type=click.DateTime(), help="Until when; default: now.")
def metrics(folder: Path, since: datetime | None, until: datetime | None) -> None:
    """Print the ten metrics, each computed from recorded events (docs/metrics.md)."""
    project = _swept(folder)
    end = as_utc(until) if until else project.workspace.clock.now()
    start = as_utc(since) if since else end - timedelta(days=30)
    with project.workspace.reading() as tx:
        found = ten_metrics(project.workspace, tx, project.policy.model, since=start, until=end)
    show.metrics(found)
