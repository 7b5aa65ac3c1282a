"""Rows of deployment: the only module of this room that speaks SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from everfit.deployment.model import (
    Release,
    ReleaseState,
    ServingPlan,
    describe_rollout,
    parse_rollout,
)
from everfit.deployment.tables import endpoints, releases
from everfit.errors import NotFound, StaleRevision
from everfit.kernel import Transaction, insert_if_absent, locked_rows


def insert_release(tx: Transaction, release: Release) -> None:
    """Add a new release."""
    tx.connection.execute(sa.insert(releases).values(project=tx.project, **_row(release)))


def update_release(tx: Transaction, release: Release) -> None:
    """Write ``release`` if the stored row is older; raises StaleRevision if it is not."""
    changed = tx.connection.execute(
        sa.update(releases)
        .where(releases.c.project == tx.project, releases.c.id == release.id)
        .where(releases.c.revision == release.revision - 1)
        .values(**_row(release))
    )
    _one_changed(changed.rowcount, f"release {release.id}")


def get_release(tx: Transaction, release_id: str, *, lock: bool = False) -> Release:
    """Return one release, or raise NotFound; ``lock`` keeps other writers from it."""
    query = sa.select(releases).where(releases.c.project == tx.project, releases.c.id == release_id)
    query = locked_rows(tx.connection, query) if lock else query
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"no release {release_id!r}",
            hint="`everfit status` shows the release that is rolling out, with its id.",
            release=release_id,
        )
    return _release(row)


def releases_of(tx: Transaction, endpoint: str) -> list[Release]:
    """Return the releases of ``endpoint``, oldest first."""
    query = (
        sa.select(releases)
        .where(releases.c.project == tx.project, releases.c.endpoint == endpoint)
        # Two releases can start at one moment of a set clock: the id does not tell which was
        # first, the version does. One of an older version starts a moment later (service).
        .order_by(releases.c.started_at, releases.c.version, releases.c.id)
    )
    return [_release(row) for row in tx.connection.execute(query).mappings()]


def plan_of(tx: Transaction, endpoint: str, *, lock: bool = False) -> ServingPlan | None:
    """Return what ``endpoint`` serves, or None before its first release."""
    query = sa.select(endpoints).where(
        endpoints.c.project == tx.project, endpoints.c.endpoint == endpoint
    )
    query = locked_rows(tx.connection, query) if lock else query
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    values = {name: row[name] for name in row if name != "project"}
    return ServingPlan(**{**values, "shadow": bool(row["shadow"])})


def endpoint_names(tx: Transaction) -> list[str]:
    """Return the endpoints that had a release, by name."""
    query = sa.select(endpoints.c.endpoint).where(endpoints.c.project == tx.project)
    return list(tx.connection.execute(query.order_by(endpoints.c.endpoint)).scalars())


def save_plan(tx: Transaction, plan: ServingPlan) -> None:
    """Write ``plan`` if it is the first or the stored one is a revision older.

    Raises
    ------
    StaleRevision
        If somebody else came first.
    """
    values: dict[str, Any] = {**asdict(plan), "shadow": int(plan.shadow)}
    if plan.revision == 1:
        insert = insert_if_absent(tx.connection, endpoints).values(project=tx.project, **values)
        written = tx.connection.execute(insert.returning(endpoints.c.endpoint)).all()
        _one_changed(len(written), f"endpoint {plan.endpoint}")
        return
    changed = tx.connection.execute(
        sa.update(endpoints)
        .where(endpoints.c.project == tx.project, endpoints.c.endpoint == plan.endpoint)
        .where(endpoints.c.revision == plan.revision - 1)
        .values(**values)
    )
    _one_changed(changed.rowcount, f"endpoint {plan.endpoint}")


def _one_changed(changed: int, subject: str) -> None:
    if changed != 1:
        raise StaleRevision(
            f"{subject} changed while it was being changed here", hint="Read it again and repeat."
        )


def _row(release: Release) -> dict[str, Any]:
    row = {name: getattr(release, name) for name in Release.__dataclass_fields__}
    return {**row, "steps": describe_rollout(release.steps), "state": release.state.value}


def _release(row: sa.RowMapping) -> Release:
    values = {name: row[name] for name in row if name != "project"}
    values["steps"] = parse_rollout(row["steps"])
    return Release(**{**values, "state": ReleaseState(row["state"])})
