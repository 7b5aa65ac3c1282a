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
    sa.Column("description", sa.Text),
    sa.Column("last_number", sa.BigInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)
model_tags = sa.Table(
    "registry_model_tags",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
sa.Index("registry_model_tags_by_key", model_tags.c.key, model_tags.c.project)
versions = sa.Table(
    "registry_versions",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("run_link", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("location", sa.Text),
    sa.Column("logged_model", sa.Text),
    sa.Column("package", sa.Text),
    sa.Column("unpackaged", sa.Text),
    sa.Column("dataset", sa.Text),
    sa.Column("profile", sa.Text),
    sa.Column("signature", Json),
    sa.Column("metrics", Json, nullable=False),
    sa.Column("algorithm", sa.Text),
    sa.Column("author", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("status_message", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)
# A training makes one version of a model, whatever processes do; a client may log several.
OWN = sa.text("origin = 'own'")
sa.Index(
    "registry_versions_by_run",
    versions.c.project,
    versions.c.model,
    versions.c.run,
    unique=True,
    sqlite_where=OWN,
    postgresql_where=OWN,
)
sa.Index("registry_versions_of_run", versions.c.project, versions.c.run)
sa.Index(
    "registry_versions_by_stage",
    versions.c.project,
    versions.c.model,
    versions.c.stage,
    versions.c.number,
)
sa.Index("registry_versions_by_update", versions.c.project, versions.c.updated_at)
version_tags = sa.Table(
    "registry_version_tags",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
sa.Index("registry_version_tags_by_key", version_tags.c.key, version_tags.c.project)
# Reports, releases and approvals name a version trained here by model and number: these numbers
# are not given again, although the version, or the model of that name, is gone.
retired = sa.Table(
    "registry_retired",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("last_number", sa.BigInteger, nullable=False),
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
# What came of compiling a package: equal packages compile to the same, whatever version has them.
compiled = sa.Table(
    "registry_compiled",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("package", sa.Text, primary_key=True),
    sa.Column("content", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("signature", Json, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
