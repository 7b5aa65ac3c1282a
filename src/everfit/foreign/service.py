"""Imports a store of MLflow: everything that is not here yet, then compared with the source."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from everfit.errors import Invalid, NotFound
from everfit.foreign.context import Context, Tell
from everfit.foreign.files import FileStore
from everfit.foreign.logged_models import bring_logged_models
from everfit.foreign.model import ForeignStore, Report
from everfit.foreign.places import Places
from everfit.foreign.registered import bring_registered
from everfit.foreign.runs import bring_experiments, bring_runs
from everfit.foreign.sql import SqlStore, open_sqlite, open_url
from everfit.foreign.traces import bring_traces
from everfit.kernel import Workspace


def import_mlflow(
    workspace: Workspace, source: str, *, artifacts: Path | None = None, tell: Tell
) -> Report:
    """Bring over what MLflow's store at ``source`` has, and return what it came to.

    ``source`` is a SQLite file, the folder ``mlruns`` or the URL of a database; it is only read.
    ``artifacts`` is where a server of MLflow stored what clients sent it. What is here already is
    compared and not written, so an import that ended early goes on when it is repeated.

    Raises
    ------
    NotFound, Invalid, Unavailable
        If there is nothing at ``source``, it is no store of MLflow, or it cannot be read.
    """
    report = Report()
    store, base = _opened(source, report)
    try:
        places = Places(base=base.absolute(), proxied=artifacts and artifacts.absolute())
        context = Context(workspace=workspace, store=store, places=places, report=report, tell=tell)
        bring_experiments(context)
        bring_runs(context)
        bring_logged_models(context)
        bring_traces(context)
        bring_registered(context)
        for said, count in store.left_out().items():
            if count:
                report.remarks.append(f"not imported: {count:,} {said}")
        for place, count in context.kept_away.items():
            report.remarks.append(
                f"left where they are: artifacts of {count:,} runs, models and traces at {place}"
            )
    finally:
        store.close()
    _record(workspace, store.name, report)
    return report


def _opened(source: str, report: Report) -> tuple[ForeignStore, Path]:
    """Return the store, and the folder that its relative paths begin at."""
    if "://" in source and not source.startswith(("sqlite:", "file:")):
        engine = open_url(source)
        name = engine.url.render_as_string(hide_password=True)
        return SqlStore(engine, report, name=name), Path()
    path = Path(_path(source))
    if path.is_dir():
        return FileStore(path, report), path.parent
    if not path.exists():
        raise NotFound(
            f"there is nothing at {path}",
            hint="Name MLflow's SQLite file, its folder mlruns, or the URL of its database.",
        )
    return SqlStore(open_sqlite(path), report, name=str(path)), path.parent


def _path(source: str) -> str:
    if source.startswith("sqlite:"):
        named = sa.make_url(source).database
        if not named:
            raise Invalid(f"{source!r} names no file", hint="Write sqlite:///FILE.")
        return named
    return source.removeprefix("file://")


def _record(workspace: Workspace, source: str, report: Report) -> None:
    """Tell the ledger what came over; an import that found nothing new changed nothing."""
    if report.new:
        counts = {kind.value: count.imported for kind, count in report.counts.items()}
        with workspace.transaction() as tx:
            tx.record("store-imported", source, counts=counts, problems=len(report.problems))
