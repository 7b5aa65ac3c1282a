"""``everfit replay`` and ``everfit demo``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from everfit.cli import demo as story
from everfit.cli import show
from everfit.cli.replayed import Telling, replay_project
from everfit.cli.watch import IN
from everfit.kernel import as_utc


@click.command()
@IN
@click.option("--since", type=click.DateTime(), required=True, help="First moment to replay.")
@click.option("--until", type=click.DateTime(), required=True, help="Where to stop.")
@click.option("--home", type=click.Path(path_type=Path), help="Keep the replayed state here.")
@click.option("--http", is_flag=True, help="Predict over real HTTP instead of in process.")
def replay(folder: Path, since: datetime, until: datetime, home: Path | None, http: bool) -> None:
    """Run the loop over historical rows under a clock that is moved, at full speed.

    Rows before --since train the first model; the others are predicted, labelled late, watched
    and learnt from as in production. Production's own state is not touched.
    """
    replay_project(
        folder, since=as_utc(since), until=as_utc(until), home=home, telling=Telling(http=http)
    )


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="A bike-sharing hour.csv.")
@click.option("--home", type=click.Path(path_type=Path), help="Keep the demo's project here.")
def demo(data: Path | None, home: Path | None) -> None:
    """Replay a year of hourly bike rentals, with a broken candidate on the way.

    Without the real rows a stream with planted drift is made, and the demo says so.
    """
    story.tell(data, home)
    show.console.print()
