"""Migrations: what they build equals what the code declares, and no database is misread."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import everfit
from everfit.errors import Conflict
from everfit.kernel import ManualClock, metadata
from everfit.kernel.database import connect
from everfit.kernel.migrate import Migration, known_migrations, migrate


@pytest.fixture(params=["sqlite", "postgres"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[sa.Engine, ...]]:
    """Two empty databases of one kind."""
    if request.param == "sqlite":
        urls = [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two")]
    else:
        url: str = request.getfixturevalue("postgres_url")
        first = connect(url)
        with first.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {first.url.database}_two")
        first.dispose()
        urls = [url, url.replace("?", "_two?")]
    opened = tuple(connect(url) for url in urls)
    yield opened
    for engine in opened:
        engine.dispose()


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Return everything the inspector sees of the schema."""
    inspector = sa.inspect(engine)
    with warnings.catch_warnings():
        # SQLAlchemy does not read SQLite's indexes of expressions: their text is compared.
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        return _shape(inspector) | {"expressions": _expressions(engine)}


def _expressions(engine: sa.Engine) -> list[str]:
    if engine.dialect.name != "sqlite":
        return []
    with engine.connect() as connection:
        query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%substr%'"
        return sorted(
            " ".join(row[0].replace('"', "").split()) for row in connection.exec_driver_sql(query)
        )


def _shape(inspector: sa.Inspector) -> dict[str, Any]:
    return {
        table: {
            "columns": {
                column["name"]: (_kind(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(map(_index, inspector.get_indexes(table))),
            "unique": sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
        }
        for table in inspector.get_table_names()
    }


def _kind(kind: sa.types.TypeEngine[Any]) -> str:
    # SQLite has one kind of float under several names.
    return "float" if isinstance(kind, sa.Float) else type(kind).__name__


def _index(index: Any) -> tuple[str, str, bool, str]:
    where = [str(v) for k, v in index.get("dialect_options", {}).items() if k.endswith("_where")]
    return index["name"], str(index["column_names"]), bool(index["unique"]), str(where)


def test_migrated_schema_is_the_declared_one(
    engines: tuple[sa.Engine, sa.Engine], clock: ManualClock
) -> None:
    for file in Path(everfit.__file__).parent.glob("*/tables.py"):
        import_module(f"everfit.{file.parent.name}.tables")
    declared, migrated = engines
    metadata.create_all(declared)
    migrate(migrated, at=clock.now())
    expected, found = shape(declared), shape(migrated)
    assert found.keys() == expected.keys()
    for table in expected:
        assert found[table] == expected[table], table


def test_migrations_run_once(engines: tuple[sa.Engine, ...], clock: ManualClock) -> None:
    engine = engines[0]
    assert migrate(engine, at=clock.now()) == known_migrations(engine.dialect.name)
    assert migrate(engine, at=clock.now()) == []


ONE = Migration(number=1, name="one", sql="CREATE TABLE one (id BIGINT PRIMARY KEY);")
TWO = Migration(number=2, name="two", sql="CREATE TABLE two (id BIGINT PRIMARY KEY);")


def test_a_later_migration_is_added(engines: tuple[sa.Engine, ...], clock: ManualClock) -> None:
    engine = engines[0]
    assert migrate(engine, at=clock.now(), migrations=[ONE]) == [ONE]
    assert migrate(engine, at=clock.now(), migrations=[ONE, TWO]) == [TWO]
    assert {"one", "two"} <= set(sa.inspect(engine).get_table_names())


def test_a_database_of_a_newer_version_is_refused(
    engines: tuple[sa.Engine, ...], clock: ManualClock
) -> None:
    engine = engines[0]
    migrate(engine, at=clock.now(), migrations=[ONE, TWO])
    with pytest.raises(Conflict, match=r"migration 2 \(two\)") as caught:
        migrate(engine, at=clock.now(), migrations=[ONE])
    assert "newer" in caught.value.hint


def test_a_migration_that_was_changed_is_refused(
    engines: tuple[sa.Engine, ...], clock: ManualClock
) -> None:
    engine = engines[0]
    migrate(engine, at=clock.now(), migrations=[ONE])
    changed = replace(ONE, sql="CREATE TABLE other (id BIGINT);")
    with pytest.raises(Conflict, match="changed after it ran"):
        migrate(engine, at=clock.now(), migrations=[changed, TWO])
    assert not sa.inspect(engine).has_table("two")


def test_a_migration_that_fails_leaves_nothing(
    engines: tuple[sa.Engine, ...], clock: ManualClock
) -> None:
    engine = engines[0]
    broken = replace(TWO, sql=f"{TWO.sql} CREATE TABLE two (id BIGINT);")
    with pytest.raises((sa.exc.DatabaseError, everfit.EverfitError)):
        migrate(engine, at=clock.now(), migrations=[ONE, broken])
    assert sa.inspect(engine).get_table_names() == []
    assert migrate(engine, at=clock.now(), migrations=[ONE, TWO]) == [ONE, TWO]


def test_every_migration_has_its_own_number_on_every_database() -> None:
    names = {
        dialect: [(migration.number, migration.name) for migration in known_migrations(dialect)]
        for dialect in ("sqlite", "postgresql")
    }
    assert names["sqlite"] == names["postgresql"]
    numbers = [number for number, _ in names["sqlite"]]
    assert numbers == sorted(set(numbers))
