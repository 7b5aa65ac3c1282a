"""Tables of monitoring."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Json, Moment, metadata

states = sa.Table(
    "monitoring_states",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
segments = sa.Table(
    "monitoring_segments",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("min_id", sa.Text, nullable=False),
    sa.Column("max_id", sa.Text, nullable=False),
    sa.Column("min_time", Moment, nullable=False),
    sa.Column("max_time", Moment, nullable=False),
    sa.Column("sealed_at", Moment, nullable=False),
)
_of = (segments.c.project, segments.c.endpoint, segments.c.kind)
sa.Index("monitoring_segments_by_id", *_of, segments.c.max_id)
sa.Index("monitoring_segments_by_time", *_of, segments.c.max_time)
windows = sa.Table(
    "monitoring_windows",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("start", Moment, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ends", Moment, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("quality", Json),
    sa.Column("drift", Json, nullable=False),
    sa.Column("data_quality", Json, nullable=False),
)
sa.Index("monitoring_windows_by_closed", windows.c.project, windows.c.endpoint, windows.c.closed)
alerts = sa.Table(
    "monitoring_alerts",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("window_start", Moment, nullable=False),
    sa.Column("columns", Json, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("numbers", Json, nullable=False),
    sa.Column("calm", sa.BigInteger, nullable=False),
    sa.Column("closed_at", Moment),
    sa.Column("reason", sa.Text),
)
sa.Index("monitoring_alerts_by_endpoint", alerts.c.project, alerts.c.endpoint, alerts.c.closed_at)
pending_labels = sa.Table(
    "monitoring_pending_labels",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
