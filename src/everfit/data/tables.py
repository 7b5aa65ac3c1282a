"""Tables of the data room."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Json, Moment, metadata

versions = sa.Table(
    "data_versions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # `rows` and `columns` are reserved words of some databases.
    sa.Column("row_count", sa.BigInteger, nullable=False),
    sa.Column("column_names", Json, nullable=False),
    sa.Column("chunks", Json, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
sa.Index("data_versions_by_name", versions.c.project, versions.c.name)
