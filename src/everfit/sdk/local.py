"""Runs of the project in a folder, read in this process: no server is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from everfit.kernel import Workspace, find_workspace
from everfit.tracking import (
    RunComparison,
    RunData,
    RunQuery,
    RunStatus,
    get_run_data,
    query_runs,
    resolve_run,
)
from everfit.training import compare_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it was when it was asked for: what it was given and what it gave."""

    id: str
    name: str
    kind: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    folder: Path

    def compare(self, *others: Run | str) -> RunComparison:
        """Return what is recorded of this run beside ``others``: runs, ids or names.

        Code, data, environment and steps are compared too; ``print`` shows what differs.

        Raises
        ------
        NotFound, Invalid
            If one of the others is no run of this project, or may mean several.
        """
        references = [other if isinstance(other, str) else other.id for other in others]
        with _opened(self.folder) as workspace:
            return compare_runs(workspace, [self.id, *references])


def runs(
    *,
    folder: str | Path = ".",
    filter: str | None = None,
    order_by: Sequence[str] = (),
    experiments: Sequence[str] = (),
    limit: int = 1_000,
    deleted: bool = False,
) -> list[Run]:
    """Return the runs of the project in ``folder`` that fit, the newest first.

    Parameters
    ----------
    filter
        Clauses such as ``"metrics.mae < 40 AND params.depth = '8'"``.
    order_by
        Keys such as ``"metrics.mae"`` or ``"start_time DESC"``.
    experiments
        Names of experiments to look in; without them, in all.
    deleted
        Whether deleted runs are returned too.

    Raises
    ------
    NotFound, Invalid
        If nothing is recorded there, an experiment is not there, or the filter or the order
        cannot be read.
    """
    query = RunQuery(
        filter=filter, order_by=order_by, experiments=experiments, limit=limit, deleted=deleted
    )
    with _opened(Path(folder)) as workspace, workspace.reading() as tx:
        return [_seen(data, Path(folder)) for data in query_runs(tx, query)[0]]


def find_run(reference: str, *, folder: str | Path = ".") -> Run:
    """Return the run of an id, of the beginning of an id, or of a name that only one has.

    Raises
    ------
    NotFound, Invalid
        If there is none, or there are several.
    """
    with _opened(Path(folder)) as workspace, workspace.reading() as tx:
        return _seen(get_run_data(tx, resolve_run(tx, reference).id), Path(folder))


def _seen(data: RunData, folder: Path) -> Run:
    run = data.run
    return Run(
        id=run.id,
        name=run.name,
        kind=run.kind,
        status=run.status,
        started_at=run.started_at,
        finished_at=run.finished_at,
        params=data.params,
        metrics={point.key: point.value for point in data.metrics},
        tags=data.tags,
        folder=folder.resolve(),
    )


@contextmanager
def _opened(folder: Path) -> Iterator[Workspace]:
    workspace = find_workspace(folder)
    try:
        yield workspace
    finally:
        workspace.close()
