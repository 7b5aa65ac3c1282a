"""Tables of traces, under the names that they were made with: those of tracking."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Moment, metadata

traces = sa.Table(
    "tracking_traces",
    metadata,
    sa.Column(
        "number",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        sa.Identity(),
        primary_key=True,
    ),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("duration_ms", sa.BigInteger),
    sa.Column("client_request_id", sa.Text),
    sa.Column("request_preview", sa.Text),
    sa.Column("response_preview", sa.Text),
)
sa.Index("tracking_traces_by_id", traces.c.project, traces.c.id, unique=True)
sa.Index("tracking_traces_by_experiment", *traces.c["project", "experiment", "started_at", "id"])
trace_metadata = sa.Table(
    "tracking_trace_metadata",
    metadata,
    sa.Column("trace", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
trace_tags = sa.Table(
    "tracking_trace_tags",
    metadata,
    sa.Column("trace", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
# By ids and not by numbers: a client may link a trace before it has logged it.
trace_links = sa.Table(
    "tracking_trace_links",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("trace", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("tracking_trace_links_by_trace", trace_links.c.project, trace_links.c.trace)
for _table in (trace_metadata, trace_tags):
    # As tracking's tags: Postgres refuses to index a text of thousands of characters.
    _start = sa.func.substr(_table.c.value, sa.text("1"), sa.text("200"))
    sa.Index(f"{_table.name}_by_value", _table.c.key, _start, _table.c.trace)
