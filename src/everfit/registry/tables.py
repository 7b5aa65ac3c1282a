"""Tables of the registry."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Json, Moment, metadata

# One row per model: what a writer locks, so that numbers and aliases are given one at a time.
models = sa.Table(
    "registry_models",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("last_number", sa.BigInteger, nullable=False),
)
versions = sa.Table(
    "registry_versions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("package", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("profile", sa.Text),
    sa.Column("signature", Json, nullable=False),
    sa.Column("metrics", Json, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)
sa.Index(
    "registry_versions_by_run", versions.c.project, versions.c.model, versions.c.run, unique=True
)
aliases = sa.Table(
    "registry_aliases",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
trusted = sa.Table(
    "registry_trusted",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("trusted_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
