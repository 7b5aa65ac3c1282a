"""``everfit import``."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from everfit.cli import show
from everfit.foreign import Kind, Report, import_mlflow
from everfit.kernel import load_settings, open_workspace


@click.group("import")
def import_() -> None:
    """Bring over what another tool has tracked and registered."""


@import_.command()
@click.argument("source")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where MLflow's server kept artifacts, often mlartifacts.",
)
def mlflow(source: str, folder: Path, artifacts: Path | None) -> None:
    """Bring an MLflow store over into the project in FOLDER, and compare the two.

    SOURCE is a SQLite file such as mlflow.db, the folder mlruns, or the URL of a database; it is
    only read. What is there already is left alone, so the command can be repeated: it goes on
    where it was, and ends with status 1 as long as anything is missing or differs.
    """
    workspace = open_workspace(load_settings(folder))
    click.get_current_context().call_on_close(workspace.close)
    with _Bars() as bars:
        report = import_mlflow(workspace, source, artifacts=artifacts, tell=bars.tell)
    _print(report)
    if not report.sound:
        click.get_current_context().exit(1)


def _print(report: Report) -> None:
    show.table(
        "",
        ("kind", "in the source", "imported now", "there already", "differs"),
        (
            (kind, f"{count.source:,}", f"{count.imported:,}", f"{count.there:,}", count.differs)
            for kind, count in report.counts.items()
        ),
    )
    for remark in report.remarks:
        show.console.print(remark, style="yellow", soft_wrap=True, markup=False)
    for problem in report.problems:
        show.console.print(str(problem), style="red", soft_wrap=True, markup=False)
    said = "all that is counted is here as it is in the source"
    if not report.sound:
        said = f"not all is here as it is in the source: {len(report.problems):,} problems"
    style = "green" if report.sound else "red"
    show.console.print(f"{report.new:,} new; {said}", style=style, soft_wrap=True)


class _Bars:
    """Shows how much of each kind is done."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=show.console,
            transient=True,
        )
        self.tasks = {
            kind: self.progress.add_task(kind, total=None, visible=False) for kind in Kind
        }

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def tell(self, kind: Kind, done: int, total: int) -> None:
        """Move a bar."""
        self.progress.update(self.tasks[kind], completed=done, total=total, visible=True)
