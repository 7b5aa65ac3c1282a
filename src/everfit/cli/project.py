"""``everfit init`` and ``everfit check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from everfit.automation import (
    Asked,
    Project,
    check_project,
    explain,
    open_project,
    start_project,
)
from everfit.cli import show
from everfit.data import Role, Task
from everfit.kernel import Workspace, find_workspace

FOLDER = click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))


def opened(folder: Path) -> Project:
    """Return the project in ``folder``, opened until the command ends."""
    project = open_project(folder)
    click.get_current_context().call_on_close(project.workspace.close)
    return project


def found(folder: Path) -> Workspace:
    """Return what is recorded in ``folder``, with a policy or without, until the command ends."""
    workspace = find_workspace(folder)
    click.get_current_context().call_on_close(workspace.close)
    return workspace


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
@click.option("--exclude", multiple=True, help="A column to leave out; may be repeated.")
@click.option("--role", "roles", multiple=True, help="COLUMN=ROLE; may be repeated.")
@click.option("--drop-missing-target", is_flag=True, help="Leave out rows without a target.")
def init(folder: Path, data: str, target: str | None, **said: Any) -> None:
    """Write a working project from a table.

    Infers the task, the time column and the role of every column, and shows them.
    """
    asked = Asked(
        time=said["time"],
        task=Task(said["task"]) if said["task"] else None,
        exclude=said["exclude"],
        roles=dict(_role(text) for text in said["roles"]),
        drop_missing_target=said["drop_missing_target"],
    )
    started = start_project(folder, data=data, target=target, asked=asked)
    show.table(
        f"{data.rpartition('/')[2]}: {started.schema.task}",
        ("column", "role", "because"),
        [(column.name, column.role, column.reason) for column in started.schema.columns],
    )
    for leak in started.leaks:
        names = ", ".join(leak.columns)
        show.console.print(f"excluded {names}: {leak.reason}", style="yellow")
    for file in started.files:
        show.console.print(f"wrote {file}")
    show.console.print("next: everfit check, then everfit run")


def _role(text: str) -> tuple[str, Role]:
    column, _, role = text.rpartition("=")
    if not column or role not in list(Role):
        known = ", ".join(role.value for role in Role)
        raise click.BadParameter(f"{text!r} is not COLUMN=ROLE; a role is one of {known}")
    return column, Role(role)


@click.command()
@FOLDER
def check(folder: Path) -> None:
    """Report every problem of the policy at once, then explain it in plain words."""
    policy, _ = check_project(folder)
    for sentence in explain(policy):
        show.console.print(f"- {sentence}", soft_wrap=True)
    show.console.print("no problems", style="green")
