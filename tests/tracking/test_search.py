"""Searches find what a look at every run finds, in the same order, wherever they begin."""

from __future__ import annotations

import fnmatch
import math
import operator as op
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from everfit.errors import Invalid
from everfit.filters import (
    MAX_CLAUSES,
    MAX_ORDERS,
    RUNS,
    Comparison,
    Entity,
    Order,
    condition,
    parse_filter,
    parse_order,
)
from everfit.kernel import ManualClock, Workspace
from everfit.tracking import (
    ExperimentSearch,
    MetricPoint,
    RunData,
    RunSearch,
    RunStatus,
    Stage,
    create_experiment,
    create_run,
    delete_experiment,
    delete_run,
    get_run_data,
    log_params,
    log_points,
    search_experiments,
    search_runs,
    set_experiment_tags,
    set_tags,
    update_run,
)

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": op.eq,
    "!=": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
    "LIKE": lambda text, pattern: fnmatch.fnmatchcase(text, pattern.replace("%", "*")),
    "ILIKE": lambda text, pattern: fnmatch.fnmatchcase(
        text.lower(), pattern.lower().replace("%", "*")
    ),
    "IN": lambda value, many: value in many,
    "NOT IN": lambda value, many: value not in many,
}


@pytest.fixture
def filled(any_workspace: Workspace, clock: ManualClock) -> tuple[Workspace, list[RunData]]:
    """Sixty runs of two experiments; metrics, parameters and tags are lacking here and there."""
    chance = random.Random(0)
    ids = []
    with any_workspace.transaction() as tx:
        experiments = [create_experiment(tx, name).id for name in ("one", "two")]
    for _ in range(60):
        clock.advance(timedelta(seconds=chance.choice([0, 1])))
        with any_workspace.transaction() as tx:
            run = create_run(
                tx, chance.choice(experiments), actor=chance.choice(["ann", "bob"])
            ).run
            points = [
                MetricPoint(key, chance.choice([0.0, 0.5, 1.0, math.inf, math.nan]), 0, 0)
                for key in ("acc", "loss")
                if chance.random() < 0.7
            ]
            log_points(tx, run.id, points)
            log_params(tx, run.id, {"depth": chance.choice(["4", "8", "x" * 300])})
            if chance.random() < 0.5:
                set_tags(tx, run.id, {"Team": chance.choice(["Red", "red", "r[d", "blue%"])})
            if chance.random() < 0.5:
                update_run(tx, run.id, status=RunStatus.FINISHED, finished_at=clock.now())
            ids.append(run.id)
    with any_workspace.transaction() as tx:
        for run_id in ids[:5]:
            delete_run(tx, run_id)
        return any_workspace, [get_run_data(tx, run_id) for run_id in ids]


def value_of(data: RunData, entity: Entity, key: str) -> Any:
    if entity is Entity.METRIC:
        return next((p.value for p in data.metrics if p.key == key), None)
    if entity is Entity.PARAM:
        return data.params.get(key)
    if entity is Entity.TAG:
        return data.tags.get(key)
    return {
        "run_id": data.run.id,
        "user_id": data.run.actor,
        "status": "FINISHED" if data.run.status is RunStatus.FINISHED else "RUNNING",
        "start_time": data.run.started_at.timestamp() * 1000,
        "end_time": data.run.finished_at.timestamp() * 1000 if data.run.finished_at else None,
    }[key]


def fits(data: RunData, clause: Comparison) -> bool:
    value = value_of(data, clause.entity, clause.key)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        return (value is None) == (clause.operator == "IS NULL")
    if value is None:
        return False
    return COMPARED[clause.operator](value, clause.value)


def place(data: RunData, orders: list[Order]) -> tuple[Any, ...]:
    keys: list[Any] = []
    for order in orders:
        value = value_of(data, order.entity, order.key)
        lacking = 2 if value is None else int(isinstance(value, float) and math.isnan(value))
        sign = 1 if order.ascending else -1
        if lacking:
            keys.append((lacking, 0.0))
        elif isinstance(value, str):
            keys.append((0, tuple(sign * ord(letter) for letter in value)))
        else:
            keys.append((0, sign * value))
    return (*keys, -data.run.started_at.timestamp(), data.run.id)


CLAUSES: list[tuple[Entity, str, list[str], list[Any]]] = [
    (Entity.METRIC, "acc", ["=", "!=", "<", ">", ">="], [0.0, 0.5, 1.0]),
    (Entity.METRIC, "loss", ["<=", ">"], [0.5, 2.0]),
    (Entity.PARAM, "depth", ["=", "!=", "LIKE"], ["4", "8", "x" * 300, "x%"]),
    (Entity.TAG, "Team", ["=", "LIKE", "ILIKE"], ["red", "r%", "R%d", "r[%", "%%"]),
    (Entity.TAG, "Team", ["IS NULL", "IS NOT NULL"], [None]),
    (Entity.ATTRIBUTE, "status", ["=", "!="], ["FINISHED"]),
    (Entity.ATTRIBUTE, "user_id", ["IN", "NOT IN"], [("ann",), ("ann", "eve")]),
]


def clauses(chance: random.Random) -> list[Comparison]:
    made = []
    for _ in range(chance.randint(0, 3)):
        entity, key, operators, values = chance.choice(CLAUSES)
        operator, value = chance.choice(operators), chance.choice(values)
        made.append(Comparison(entity=entity, key=key, operator=operator, value=value))
    return made


def orders(chance: random.Random) -> list[Order]:
    keys = [
        (Entity.METRIC, "acc"),
        (Entity.METRIC, "loss"),
        (Entity.PARAM, "depth"),
        (Entity.ATTRIBUTE, "user_id"),
        (Entity.ATTRIBUTE, "end_time"),
        (Entity.ATTRIBUTE, "run_id"),
    ]
    return [
        Order(entity=entity, key=key, ascending=chance.random() < 0.5)
        for entity, key in chance.sample(keys, chance.randint(0, 2))
    ]


def test_a_search_finds_what_a_look_at_every_run_finds(
    filled: tuple[Workspace, list[RunData]],
) -> None:
    workspace, runs = filled
    chance = random.Random(1)
    with workspace.reading() as tx:
        for _ in range(250):
            search = RunSearch(
                experiments=chance.choice([["1"], ["1", "2"], ["2", "7"]]),
                stages=chance.choice([(Stage.ACTIVE,), tuple(Stage), (Stage.DELETED,)]),
                clauses=clauses(chance),
                orders=orders(chance),
                limit=chance.choice([1, 7, 100]),
                offset=chance.choice([0, 3]),
            )
            wanted = [
                data
                for data in runs
                if data.run.experiment in search.experiments
                and data.run.stage in search.stages
                and all(fits(data, clause) for clause in search.clauses)
            ]
            wanted.sort(key=lambda data: place(data, list(search.orders)))
            page = wanted[search.offset : search.offset + search.limit]
            found, more = search_runs(tx, search)
            assert [data.run.id for data in found] == [data.run.id for data in page], search
            assert more == (len(wanted) > search.offset + search.limit)


@pytest.mark.parametrize("length", [1, 199, 200, 300])
def test_an_equal_text_is_looked_up_in_the_index(workspace: Workspace, length: int) -> None:
    clause = Comparison(entity=Entity.PARAM, key="depth", operator="=", value="x" * length)
    fits = condition("d.value", clause, "sqlite", indexed=True)
    query = f"SELECT * FROM tracking_params d WHERE d.key = ? AND {fits.sql}"  # noqa: S608
    with workspace.reading() as tx:
        rows = tx.execute(f"EXPLAIN QUERY PLAN {query}", ("depth", *fits.values))
        plan = " ".join(row[3] for row in rows)
    assert "tracking_params_by_value (key=? AND <expr>=?)" in plan


def test_a_search_of_no_experiment_finds_nothing(workspace: Workspace) -> None:
    with workspace.reading() as tx:
        assert search_runs(tx, RunSearch(experiments=[])) == ([], False)
        assert search_experiments(tx, ExperimentSearch(stages=())) == ([], False)


def test_a_time_beyond_all_times_is_compared_with(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        experiment = create_experiment(tx, "bikes").id
        create_run(tx, experiment)
        for value in (math.inf, 2**63 - 1):
            for operator, count in (("<", 1), (">", 0)):
                key: dict[str, Any] = {"operator": operator, "value": value}
                start = Comparison(entity=Entity.ATTRIBUTE, key="start_time", **key)
                made = Comparison(entity=Entity.ATTRIBUTE, key="creation_time", **key)
                runs = search_runs(tx, RunSearch(experiments=[experiment], clauses=[start]))
                assert len(runs[0]) == count
                found = search_experiments(tx, ExperimentSearch(clauses=[made]))
                assert (experiment in [one.id for one in found[0]]) == bool(count)


def test_as_many_keys_and_clauses_as_are_read_are_searched_by(any_workspace: Workspace) -> None:
    """SQLite 3.40 ends the process on 31 joined keys: the bound stays well below."""
    orders = parse_order([f"metrics.m{number}" for number in range(MAX_ORDERS)], RUNS)
    clauses = parse_filter(
        " AND ".join(f"params.p{number} != 'x'" for number in range(MAX_CLAUSES)), RUNS
    )
    with pytest.raises(Invalid, match="order_by: found 21 keys"):
        parse_order([f"metrics.m{number}" for number in range(MAX_ORDERS + 1)], RUNS)
    with any_workspace.transaction() as tx:
        experiment = create_experiment(tx, "bikes").id
        run = create_run(tx, experiment).run.id
        for start in range(0, MAX_CLAUSES, 50):
            log_params(tx, run, {f"p{number}": "y" for number in range(start, start + 50)})
        search = RunSearch(experiments=[experiment], orders=orders, clauses=clauses)
        assert [data.run.id for data in search_runs(tx, search)[0]] == [run]


def test_experiments_are_found_by_name_and_tag(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    with any_workspace.transaction() as tx:
        for number in range(12):
            clock.advance(timedelta(seconds=1))
            made = create_experiment(tx, f"bikes {number}", tags={"team": "red"})
            if number % 2:
                set_experiment_tags(tx, made.id, {"team": "blue"})
        delete_experiment(tx, "3")
    named = Comparison(entity=Entity.ATTRIBUTE, key="name", operator="LIKE", value="bikes 1%")
    blue = Comparison(entity=Entity.TAG, key="team", operator="=", value="blue")
    by_id = Order(entity=Entity.ATTRIBUTE, key="experiment_id", ascending=True)
    with any_workspace.reading() as tx:
        found, more = search_experiments(tx, ExperimentSearch(clauses=[named], orders=[by_id]))
        assert [one.name for one in found] == ["bikes 1", "bikes 10", "bikes 11"]
        assert not more
        found, more = search_experiments(tx, ExperimentSearch(clauses=[blue], limit=2))
        assert [one.name for one in found] == ["bikes 11", "bikes 9"]
        assert more
        found, _ = search_experiments(tx, ExperimentSearch(stages=[Stage.DELETED]))
        assert [(one.id, one.stage) for one in found] == [("3", Stage.DELETED)]
