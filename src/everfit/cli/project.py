"""``everfit init`` and ``everfit check``."""

from __future__ import annotations

from pathlib import Path

import click

from everfit.automation import (
    Project,
    check_project,
    explain,
    open_project,
    start_project,
)
from everfit.cli import show
from everfit.data import Task

FOLDER = click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))


def opened(folder: Path) -> Project:
    """Return the project in ``folder``, opened until the command ends."""
    project = open_project(folder)
    click.get_current_context().call_on_close(project.workspace.close)
    return project


@click.command()
@FOLDER
@click.option("--data", required=True, help="CSV, Parquet, or a database table as URL#TABLE.")
@click.option("--target", help="The column to predict; without it rows are clustered.")
@click.option("--time", help="The column that says when a row happened.")
@click.option(
    "--task",
    type=click.Choice([task.value for task in Task]),
    help="Inferred where it is not given.",
)
def init(folder: Path, data: str, target: str | None, time: str | None, task: str | None) -> None:
    """Write a working project from a table.

    Infers the task, the time column and the role of every column, and shows them.
    """
    started = start_project(
        folder, data=data, target=target, time=time, task=Task(task) if task else None
    )
    show.table(
        f"{data.rpartition('/')[2]}: {started.schema.task}",
        ("column", "role", "because"),
        [(column.name, column.role, column.reason) for column in started.schema.columns],
    )
    for leak in started.leaks:
        show.console.print(f"excluded: {leak.reason}", style="yellow")
    for file in started.files:
        show.console.print(f"wrote {file}")
    show.console.print("next: everfit check, then everfit run")


@click.command()
@FOLDER
def check(folder: Path) -> None:
    """Report every problem of the policy at once, then explain it in plain words."""
    policy, _ = check_project(folder)
    for sentence in explain(policy):
        show.console.print(f"- {sentence}", soft_wrap=True)
    show.console.print("no problems", style="green")
