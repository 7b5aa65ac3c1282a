"""``everfit sync``."""

from __future__ import annotations

from pathlib import Path

import click

from everfit.cli import show
from everfit.cli.project import FOLDER
from everfit.errors import EverfitError, Unavailable
from everfit.sdk.delivery import deliver_abandoned
from everfit.sdk.outbox import destination, waiting_for_servers


@click.command()
@FOLDER
def sync(folder: Path) -> None:
    """Deliver what was logged while the server was away.

    To the project in FOLDER, and to every server that something waits for here. What a program
    that still runs has logged, it delivers itself.
    """
    away: list[EverfitError] = []
    for outbox, place in (destination(folder), *waiting_for_servers()):
        try:
            done = deliver_abandoned(outbox, place)
        except EverfitError as error:
            away.append(error)
            continue
        finally:
            place.close()
        if done.records:
            refused = f", {done.refused:,} refused: see {outbox.folder}" if done.refused else ""
            show.console.print(
                f"{done.records:,} records of {done.journals:,} journals delivered to "
                f"{place.name}{refused}",
                soft_wrap=True,
            )
    if away:
        raise Unavailable("; ".join(error.message for error in away), hint=away[0].hint)
    show.console.print("nothing waits any more")
