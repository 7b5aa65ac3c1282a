"""A search of logged models finds what a look at every one finds, in the same order."""

from __future__ import annotations

import itertools
import math
import operator as op
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from everfit.errors import Invalid
from everfit.filters import LOGGED_MODELS, Comparison, Entity, Order, order_field, parse_filter
from everfit.kernel import ManualClock, Workspace
from everfit.tracking import (
    DatasetChoice,
    LoggedModelData,
    MetricPoint,
    ModelOrder,
    ModelPoint,
    ModelSearch,
    ModelStatus,
    Stage,
    create_experiment,
    create_logged_model,
    create_run,
    delete_logged_model,
    finalize_logged_model,
    get_logged_model,
    log_model_points,
    search_logged_models,
)

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": op.eq,
    "!=": op.ne,
    "<": op.lt,
    ">=": op.ge,
    "LIKE": lambda text, pattern: text.startswith(pattern.rstrip("%")),
    "ILIKE": lambda text, pattern: text.lower().startswith(pattern.rstrip("%").lower()),
    "IN": lambda value, many: value in many,
    "NOT IN": lambda value, many: value not in many,
}
DATASETS = [("", ""), ("train", "1"), ("eval", "1"), ("eval", "2")]
Filled = tuple[Workspace, list[LoggedModelData]]


@pytest.fixture
def filled(any_workspace: Workspace, clock: ManualClock) -> Filled:
    """Forty models of two experiments, measured here and there, by two runs, in any order."""
    chance = random.Random(0)
    with any_workspace.transaction() as tx:
        experiments = [create_experiment(tx, name).id for name in ("one", "two")]
        runs = [create_run(tx, experiments[0]).run.id for _ in range(2)]
    ids = []
    for _ in range(40):
        clock.advance(timedelta(milliseconds=chance.choice([0, 1])))
        with any_workspace.transaction() as tx:
            id = create_logged_model(
                tx,
                chance.choice(experiments),
                name=chance.choice(["tree", "Tree", "line"]),
                type=chance.choice(["", "agent"]),
                params={"depth": chance.choice(["4", "8"])} if chance.random() < 0.7 else {},
                tags={"team": chance.choice(["red", "blue"])} if chance.random() < 0.7 else {},
            ).model.id
            finalize_logged_model(tx, id, chance.choice(list(ModelStatus)))
            for _ in range(chance.choice([0, 1, 6])):
                value = chance.choice([0.0, 0.5, 1.0, math.inf, math.nan])
                step, at_us = chance.randint(0, 2), chance.randint(0, 2) * 1000
                point = MetricPoint(chance.choice(["acc", "loss"]), value, step, at_us)
                place = chance.choice(DATASETS)
                log_model_points(tx, chance.choice(runs), [ModelPoint(point, id, *place)])
            ids.append(id)
    with any_workspace.transaction() as tx:
        for id in ids[:4]:
            delete_logged_model(tx, id)
        return any_workspace, [get_logged_model(tx, id, deleted=True) for id in ids]


def chosen(one: ModelPoint, datasets: Sequence[DatasetChoice]) -> bool:
    return not datasets or any(
        one.dataset == choice.name and choice.digest in (None, one.digest) for choice in datasets
    )


def values_of(
    data: LoggedModelData, clause: Comparison, datasets: Sequence[DatasetChoice]
) -> list[Any]:
    if clause.entity is Entity.METRIC:
        points = [p for p in data.points if p.point.key == clause.key and chosen(p, datasets)]
        return [p.point.value for p in points if not math.isnan(p.point.value)]
    if clause.entity is not Entity.ATTRIBUTE:
        texts = data.params if clause.entity is Entity.PARAM else data.tags
        return [texts[clause.key]] if clause.key in texts else []
    return [
        {
            "name": data.model.name,
            "model_type": data.model.type,
            "status": str(list(ModelStatus).index(data.model.status)),
            "creation_timestamp": data.model.created_at.timestamp() * 1000,
        }[clause.key]
    ]


def fits(data: LoggedModelData, search: ModelSearch) -> bool:
    measured = any(clause.entity is Entity.METRIC for clause in search.clauses)
    if (
        search.datasets
        and not measured
        and not any(chosen(p, search.datasets) for p in data.points)
    ):
        return False
    return all(
        any(
            COMPARED[clause.operator](value, clause.value)
            for value in values_of(data, clause, search.datasets)
        )
        for clause in search.clauses
    )


def latest(data: LoggedModelData, key: str, dataset: DatasetChoice | None) -> float | None:
    """Return the value of the latest time, then step; of the run that was there first."""
    datasets = [] if dataset is None else [dataset]
    points = [p for p in data.points if p.point.key == key and chosen(p, datasets)]
    if not points:
        return None
    place = max((p.point.at_us, p.point.step) for p in points)
    last = [p for p in points if (p.point.at_us, p.point.step) == place]
    series = min((p.run, p.dataset, p.digest) for p in last)
    values = [p.point.value for p in last if (p.run, p.dataset, p.digest) == series]
    return max(values, key=lambda value: 0.0 if math.isnan(value) else value)


CLAUSES = [
    "metrics.acc >= 0.5",
    "metrics.acc != 1.0",
    "metrics.loss < 0.5",
    "params.depth = '8'",
    "params.depth NOT IN ('8')",
    "tags.team LIKE 'r%'",
    "name ILIKE 'tr%'",
    "name IN ('tree', 'line')",
    "model_type != 'agent'",
    "status = '2'",
    "creation_timestamp >= 1767225600010",
    "creation_timestamp = 1767225600009",
]


def test_a_search_finds_what_a_look_at_every_model_finds(filled: Filled) -> None:
    workspace, models = filled
    chance = random.Random(1)
    with workspace.reading() as tx:
        for _ in range(150):
            text = " AND ".join(chance.sample(CLAUSES, chance.randint(0, 2)))
            search = ModelSearch(
                experiments=chance.choice([["1"], ["1", "2"], ["2", "7"]]),
                clauses=parse_filter(text, LOGGED_MODELS),
                datasets=chance.choice(
                    [[], [], [DatasetChoice(name="eval")], [DatasetChoice(name="eval", digest="2")]]
                ),
                limit=chance.choice([3, 100]),
                offset=chance.choice([0, 2]),
            )
            wanted = [
                data
                for data in models
                if data.model.stage is Stage.ACTIVE
                and data.model.experiment in search.experiments
                and fits(data, search)
            ]
            wanted.sort(key=lambda data: (-data.model.created_at.timestamp(), data.model.id))
            page = wanted[search.offset : search.offset + search.limit]
            found, more = search_logged_models(tx, search)
            assert [data.model.id for data in found] == [data.model.id for data in page], search
            assert more == (len(wanted) > search.offset + search.limit)


def ordered(name: str, *, down: bool, dataset: DatasetChoice | None = None) -> ModelOrder:
    order = order_field(name, ascending=not down, grammar=LOGGED_MODELS)
    return ModelOrder(order=order, dataset=dataset)


def test_models_are_ordered_by_the_latest_value_of_a_metric(filled: Filled) -> None:
    workspace, models = filled
    active = {data.model.id for data in models if data.model.stage is Stage.ACTIVE}
    choices = [None, DatasetChoice(name="eval"), DatasetChoice(name="eval", digest="1")]
    kinds = set()
    with workspace.reading() as tx:
        for dataset, down in itertools.product(choices, (False, True)):
            order = ordered("metrics.acc", down=down, dataset=dataset)
            search = ModelSearch(experiments=["1", "2"], orders=[order])
            found, _ = search_logged_models(tx, search)
            assert {data.model.id for data in found} == active
            places = [place(latest(data, "acc", dataset), down=down) for data in found]
            assert places == sorted(places)
            kinds |= {kind for kind, _ in places}
    assert kinds == {0, 1, 2}


def place(value: float | None, *, down: bool) -> tuple[int, float]:
    """Return where a value comes: numbers first, then NaN, then none at all."""
    if value is None or math.isnan(value):
        return (2 if value is None else 1), 0.0
    return 0, -value if down else value


def test_models_are_ordered_by_what_they_are(filled: Filled) -> None:
    workspace, _ = filled
    read: dict[str, Callable[[LoggedModelData], Any]] = {
        "name": lambda data: data.model.name,
        "model_id": lambda data: data.model.id,
        "status": lambda data: list(ModelStatus).index(data.model.status),
        "experiment_id": lambda data: int(data.model.experiment),
        "artifact_location": lambda data: (data.model.experiment, data.model.id),
        "model_type": lambda data: data.model.type,
    }
    with workspace.reading() as tx:
        for key, down in itertools.product(read, (False, True)):
            search = ModelSearch(experiments=["1", "2"], orders=[ordered(key, down=down)])
            found = [read[key](data) for data in search_logged_models(tx, search)[0]]
            assert len(found) == 36
            assert found == sorted(found, reverse=down), key


ODD = {
    "status_message != 'x'": 0,
    "source_run_id = ''": 36,
    "artifact_location LIKE 'mlflow-artifacts:/%/models/m-%/artifacts'": 36,
    "creation_timestamp < 1e999": 36,
    "last_updated_timestamp > 9223372036854775807": 0,
    "metrics.acc > 1e999": 0,
}


def test_odd_clauses_mean_what_they_say(filled: Filled) -> None:
    workspace, models = filled
    active = [data.model for data in models if data.model.stage is Stage.ACTIVE]
    ready = sum(model.status is ModelStatus.READY for model in active)
    spelled = ("2", "READY", "ready", "LOGGED_MODEL_READY")
    wanted = ODD | {f"status = '{one}'": ready for one in spelled}
    wanted |= {f"status IN ('{one}')": ready for one in spelled} | {"status ILIKE 'REA%'": ready}
    assert 0 < ready < len(active) == 36
    with workspace.reading() as tx:
        for text, count in wanted.items():
            clauses = parse_filter(text, LOGGED_MODELS)
            search = ModelSearch(experiments=["1", "2"], clauses=clauses)
            assert len(search_logged_models(tx, search)[0]) == count, text


def test_a_search_of_no_experiment_finds_nothing(workspace: Workspace) -> None:
    with workspace.reading() as tx:
        assert search_logged_models(tx, ModelSearch(experiments=[])) == ([], False)


def test_models_cannot_be_ordered_by_a_parameter() -> None:
    with pytest.raises(Invalid, match=r"params\.depth"):
        order_field("params.depth", ascending=True, grammar=LOGGED_MODELS)
    assert order_field("creation_time", ascending=False, grammar=LOGGED_MODELS) == Order(
        entity=Entity.ATTRIBUTE, key="creation_timestamp", ascending=False
    )
