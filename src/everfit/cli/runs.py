"""``everfit runs`` and ``diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from everfit.cli import show
from everfit.cli.project import FOLDER, found
from everfit.cli.watch import IN
from everfit.tracking import RunQuery, query_runs
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
