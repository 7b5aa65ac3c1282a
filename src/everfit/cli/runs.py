"""``everfit runs``, ``diff`` and ``reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from everfit.cli import show
from everfit.cli.project import FOLDER, found
from everfit.cli.watch import IN
from everfit.reproduction import TOLERANCE, Likeness, Reproduction, Verdict, reproduce_run
from everfit.steps import StepPool
from everfit.tracking import RunQuery, query_runs, resolve_run
from everfit.tracking.columns import described, parse_columns, shown, usual_columns
from everfit.training import compare_runs


@click.command()
@FOLDER
@click.option("--filter", "clauses", help="Such as: metrics.mae < 40 AND params.depth = '8'.")
@click.option("--experiment", "experiments", multiple=True, help="Its name; may be repeated.")
@click.option("--sort", "order_by", multiple=True, help="Such as: metrics.mae DESC; repeatable.")
@click.option("--columns", help="Such as: id,metrics.mae,params.depth,tags.team,duration.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 50_000))
@click.option("--deleted", is_flag=True, help="Show deleted runs too.")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of them, as JSON.")
def runs(folder: Path, columns: str | None, as_json: bool, **asked: Any) -> None:
    """List runs: those that fit a filter, in any order, with any columns.

    Filters and orders are written as MLflow writes them. Without --columns a run's metrics are
    shown, without --sort the newest run comes first.
    """
    wanted = parse_columns(columns.split(",")) if columns else ()
    query = RunQuery(filter=asked.pop("clauses"), **asked)
    with found(folder).reading() as tx:
        listed, more = query_runs(tx, query)
        now = tx.now
    if as_json:
        records = [described(data, wanted, now) for data in listed]
        click.echo(msgspec.json.format(msgspec.json.encode(records)))
        return
    usual, hidden = usual_columns(listed)
    drawn = wanted or usual
    show.table(
        "",
        [column.title if wanted else column.short for column in drawn],
        ([shown(column.value(data, now)) for column in drawn] for data in listed),
    )
    if hidden and not wanted:
        show.console.print(f"and {hidden} more metrics: name them with --columns", style="dim")
    if more:
        show.console.print(f"and more runs behind these {len(listed)}: --limit", style="dim")


@click.command()
@click.argument("run")
@click.argument("others", metavar="RUN", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Show what is equal, too.")
@IN
def diff(run: str, others: tuple[str, ...], everything: bool, folder: Path) -> None:
    """Show where runs differ: parameters, metrics, code, data, environment and steps.

    RUN is an id, its beginning, or a name that only one run has.
    """
    compared = compare_runs(found(folder), [run, *others])
    click.echo(compared.text(everything=everything))


@click.command()
@click.argument("run")
@click.option(
    "--tolerance",
    default=TOLERANCE,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Relative difference of numbers up to which they count as equal.",
)
@IN
def reproduce(run: str, tolerance: float, folder: Path) -> None:
    """Train again as recorded, and prove that the same comes out.

    The recorded code runs on the recorded rows, with the recorded parameters and seeds and
    without the cache, and what each step gives is compared: byte for byte, else value by value.
    The verdict is kept with RUN (an id, its beginning, or a name that only one run has): identical,
    equal within tolerance, different, or not reproducible. The last two end with exit status 1.

    The packages are those that are installed now. Where they are not the recorded ones that is
    said first; the recorded environment is not built anew.
    """
    workspace = found(folder)
    with workspace.reading() as tx:
        run_id = resolve_run(tx, run).id
    with StepPool(workspace) as pool, show.LiveProgress() as progress:
        made = reproduce_run(
            workspace,
            run_id,
            project=folder,
            pool=pool,
            progress=progress,
            tolerance=tolerance,
        )
    _tell(made)
    if made.verdict in (Verdict.DIFFERENT, Verdict.IMPOSSIBLE):
        click.get_current_context().exit(1)


def _tell(made: Reproduction) -> None:
    telling = [step for step in made.steps if step.likeness is not Likeness.IDENTICAL]
    if made.steps:
        show.table(
            f"{len(made.steps) - len(telling)} of {len(made.steps)} steps gave identical bytes",
            ("step", "now", "difference", "where"),
            [
                (
                    s.name,
                    s.likeness,
                    "-" if s.difference is None else f"{s.difference:.2g}",
                    s.detail,
                )
                for s in telling
            ],
        )
    show.console.print(str(made), soft_wrap=True)
