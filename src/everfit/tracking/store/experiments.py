"""Rows of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from everfit.kernel import Transaction, insert_if_absent, locked_rows
from everfit.tracking.model import DEFAULT_EXPERIMENT, Experiment, Stage
from everfit.tracking.tables import experiment_tags, experiments

_COLUMNS = [column for column in experiments.columns if column.name != "project"]


def insert_experiment(tx: Transaction, experiment: Experiment) -> bool:
    """Add ``experiment`` without its tags; return whether its id and name were free."""
    row = {
        "project": tx.project,
        **{column.name: getattr(experiment, column.name) for column in _COLUMNS},
    }
    statement = insert_if_absent(tx.connection, experiments).returning(experiments.c.id)
    return tx.connection.execute(statement, row).one_or_none() is not None


def next_id(tx: Transaction) -> str:
    """Return a number that no experiment has. The caller holds the default experiment's row."""
    query = sa.select(experiments.c.id).where(experiments.c.project == tx.project)
    taken = [int(id) for id in tx.connection.execute(query).scalars() if id.isdigit()]
    return str(max(taken, default=0) + 1)


def hold_all(tx: Transaction) -> None:
    """Make sure that the default experiment is there, and hold its row until the end."""
    default = Experiment(
        id=DEFAULT_EXPERIMENT,
        name="Default",
        stage=Stage.ACTIVE,
        created_at=tx.now,
        updated_at=tx.now,
        tags={},
    )
    insert_experiment(tx, default)
    query = sa.select(experiments.c.id).where(
        experiments.c.project == tx.project, experiments.c.id == DEFAULT_EXPERIMENT
    )
    tx.connection.execute(locked_rows(tx.connection, query))


def get_experiment(
    tx: Transaction, *, id: str | None = None, name: str | None = None, lock: bool = False
) -> Experiment | None:
    """Return the experiment of this id or name, or None."""
    query = sa.select(*_COLUMNS).where(experiments.c.project == tx.project)
    query = query.where(experiments.c.id == id if name is None else experiments.c.name == name)
    if lock:
        query = locked_rows(tx.connection, query)
    row = tx.connection.execute(query).mappings().one_or_none()
    return None if row is None else _experiments(tx, [row])[0]


def stage_of(tx: Transaction, id: str) -> Stage | None:
    """Return the stage of an experiment, or None: what every run that is started asks."""
    query = "SELECT stage FROM tracking_experiments WHERE project = ? AND id = ?"
    stage = tx.execute(query, (tx.project, id)).scalar()
    return None if stage is None else Stage(stage)


def locations(tx: Transaction, ids: Sequence[str]) -> dict[str, str | None]:
    """Return where the artifacts of these experiments go, None for Everfit's own tree."""
    marks = ", ".join("?" * len(ids))
    query = f"SELECT id, location FROM tracking_experiments WHERE project = ? AND id IN ({marks})"
    return dict(tuple(row) for row in tx.execute(query, (tx.project, *ids)))


def update_experiment(
    tx: Transaction, id: str, *, name: str, stage: Stage, updated_at: datetime
) -> None:
    """Write what may change of an experiment."""
    here = (experiments.c.project == tx.project, experiments.c.id == id)
    changed = {"name": name, "stage": stage, "updated_at": updated_at}
    tx.connection.execute(sa.update(experiments).where(*here).values(**changed))


def put_tags(tx: Transaction, id: str, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys."""
    rows = [(tx.project, id, key, values[key]) for key in sorted(values)]
    if rows:
        tx.execute(
            "INSERT INTO tracking_experiment_tags (project, experiment, key, value) "
            "VALUES (?, ?, ?, ?) "
            "ON CONFLICT (project, experiment, key) DO UPDATE SET value = excluded.value",
            rows,
        )


def delete_tag(tx: Transaction, id: str, key: str) -> bool:
    """Delete one tag; return whether there was one."""
    tags = experiment_tags.c
    here = (tags.project == tx.project, tags.experiment == id, tags.key == key)
    return tx.connection.execute(sa.delete(experiment_tags).where(*here)).rowcount > 0


def by_id(tx: Transaction, ids: Sequence[str]) -> list[Experiment]:
    """Return the experiments of these ids, in their order."""
    query = sa.select(*_COLUMNS).where(
        experiments.c.project == tx.project, experiments.c.id.in_(ids)
    )
    found = _experiments(tx, tx.connection.execute(query).mappings().all())
    return sorted(found, key=lambda experiment: ids.index(experiment.id))


def _experiments(tx: Transaction, rows: Sequence[sa.RowMapping]) -> list[Experiment]:
    tags: dict[str, dict[str, str]] = {row["id"]: {} for row in rows}
    query = sa.select(*experiment_tags.c["experiment", "key", "value"]).where(
        experiment_tags.c.project == tx.project, experiment_tags.c.experiment.in_(list(tags))
    )
    for experiment, key, value in tx.connection.execute(query.order_by(experiment_tags.c.key)):
        tags[experiment][key] = value
    return [
        Experiment(**{**row, "stage": Stage(row["stage"])}, tags=tags[row["id"]]) for row in rows
    ]
