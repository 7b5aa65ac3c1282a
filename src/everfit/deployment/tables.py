"""Tables of deployment."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Moment, metadata

releases = sa.Table(
    "deployment_releases",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("steps", sa.Text, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("step_since", Moment, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("live_at", Moment),
    sa.Column("ended_at", Moment),
    sa.Column("reason", sa.Text),
    sa.Column("revision", sa.BigInteger, nullable=False),
)
sa.Index("deployment_releases_by_endpoint", releases.c.project, releases.c.endpoint)
endpoints = sa.Table(
    "deployment_endpoints",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("champion", sa.BigInteger, nullable=False),
    sa.Column("candidate", sa.BigInteger),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("shadow", sa.BigInteger, nullable=False),
)
