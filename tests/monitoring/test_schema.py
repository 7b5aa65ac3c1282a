"""The migration makes exactly the tables that the code declares."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Workspace, metadata
from everfit.monitoring import tables


def test_migrated_tables_are_the_declared_ones(any_workspace: Workspace) -> None:
    found = sa.inspect(any_workspace.engine)
    declared = [t for name, t in metadata.tables.items() if name.startswith("monitoring_")]
    assert tables.windows in declared
    for table in declared:
        columns = {
            c["name"]: (str(c["type"]), c["nullable"]) for c in found.get_columns(table.name)
        }
        dialect = any_workspace.engine.dialect
        assert columns == {
            c.name: (c.type.compile(dialect), bool(c.nullable)) for c in table.columns
        }
        key = found.get_pk_constraint(table.name)["constrained_columns"]
        assert key == [c.name for c in table.primary_key]
        indexes = {i["name"]: i["column_names"] for i in found.get_indexes(table.name)}
        assert indexes == {i.name: [c.name for c in i.columns] for i in table.indexes}
