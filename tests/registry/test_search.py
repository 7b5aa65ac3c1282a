"""A search finds what MLflow's would, on both databases alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.registry.conftest import attribute, by, logged, registered, tag

from everfit.errors import Invalid
from everfit.filters import Comparison, Entity, Order
from everfit.kernel import ManualClock, Transaction, Workspace
from everfit.registry import (
    create_model,
    search_models,
    search_versions,
    set_alias,
    set_model_tag,
    set_version_tag,
    transition_stage,
    update_version,
)

PROMPT = "mlflow.prompt.is_prompt"


def names(tx: Transaction, *where: Comparison, order: Sequence[Order] = ()) -> list[str]:
    return [model.name for model in search_models(tx, where=where, order=order, limit=100)]


def found(tx: Transaction, *where: Comparison, order: Sequence[Order] = ()) -> list[str]:
    return [version.subject for version in search_versions(tx, where=where, order=order, limit=100)]


BY_NAME: list[tuple[str, str | tuple[str, ...], list[str]]] = [
    ("=", "bikes", ["bikes"]),
    ("!=", "bikes", ["Bikes", "bikes_2", "bikes[x]*", "b\\kes", "trams"]),
    ("LIKE", "bikes%", ["bikes", "bikes[x]*", "bikes_2"]),
    ("LIKE", "Bikes", ["Bikes"]),
    ("LIKE", "bikes_2", ["bikes_2"]),
    ("LIKE", "%[x]*", ["bikes[x]*"]),
    ("LIKE", "b\\%", ["b\\kes"]),
    ("LIKE", "_ikes", ["Bikes", "bikes"]),
    ("LIKE", "*", []),
    ("ILIKE", "BIKES", ["Bikes", "bikes"]),
    ("ILIKE", "%S", ["Bikes", "bikes", "b\\kes", "trams"]),
    ("ILIKE", "B\\%", ["b\\kes"]),
    ("IN", ("bikes", "trams", "no"), ["bikes", "trams"]),
    ("NOT IN", ("bikes", "Bikes", "trams"), ["b\\kes", "bikes[x]*", "bikes_2"]),
]


def test_models_are_found_by_name(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for name in ("trams", "Bikes", "bikes", "bikes_2", "bikes[x]*", "b\\kes"):
            create_model(tx, name)
        for operator, value, expected in BY_NAME:
            where = attribute("name", operator, value)
            assert names(tx, where) == sorted(expected), where


def test_models_are_found_by_tags_that_they_have(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "a", tags={"team": "North", "phase": "1"})
        create_model(tx, "b", tags={"team": "south"})
        create_model(tx, "c")
        assert names(tx, tag("team", "=", "North")) == ["a"]
        assert names(tx, tag("team", "!=", "North")) == ["b"]
        assert names(tx, tag("team", "LIKE", "%o%")) == ["a", "b"]
        assert names(tx, tag("team", "LIKE", "n%")) == []
        assert names(tx, tag("team", "ILIKE", "n%")) == ["a"]
        assert names(tx, tag("team", "ILIKE", "%o%"), tag("phase", "=", "1")) == ["a"]
        assert names(tx, tag("team", "=", "North"), attribute("name", "!=", "a")) == []
        set_model_tag(tx, "c", "team", "North")
        assert names(tx, tag("team", "=", "North")) == ["a", "c"]


def test_models_are_ordered_by_name_or_as_asked(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    for name in ("b", "a", "C", "ä"):
        clock.advance(timedelta(hours=1))
        with any_workspace.transaction() as tx:
            create_model(tx, name)
    with any_workspace.transaction() as tx:
        logged(tx, "b")
    with any_workspace.reading() as tx:
        assert names(tx) == ["C", "a", "b", "ä"]
        assert names(tx, order=[by("name", ascending=False)]) == ["ä", "b", "a", "C"]
        assert names(tx, order=[by("creation_timestamp")]) == ["b", "a", "C", "ä"]
        for key in ("timestamp", "last_updated_timestamp"):
            assert names(tx, order=[by(key, ascending=False)]) == ["b", "ä", "C", "a"]


def test_a_model_is_found_with_all_that_belongs_to_it(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for name in ("a", "b"):
            create_model(tx, name, tags={"of": name})
            for _ in range(2):
                logged(tx, name, tags={"of": name})
            set_alias(tx, name, "best", 2)
        models = search_models(tx, limit=10)
    for model in models:
        assert (model.tags, model.aliases) == ({"of": model.name}, {"best": 2})
        assert [(v.subject, v.tags) for v in model.latest] == [
            (f"{model.name}/2", {"of": model.name})
        ]


def test_prompts_are_found_only_where_they_are_asked_for(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "model", tags={PROMPT: "false"})
        create_model(tx, "prompt", tags={PROMPT: "true"})
        logged(tx, "model")
        logged(tx, "prompt", tags={PROMPT: "true"})
        for where in ([], [tag(PROMPT, "=", "false")], [tag(PROMPT, "!=", "true")]):
            assert names(tx, *where) == ["model"]
            assert found(tx, *where) == ["model/1"]
        assert names(tx, tag(PROMPT, "=", "true")) == ["prompt"]
        assert found(tx, tag(PROMPT, "=", "true")) == ["prompt/1"]
        assert names(tx, tag(PROMPT, "!=", "false")) == ["prompt"]
        assert names(tx, attribute("name", "=", "prompt")) == []


def test_pages_neither_overlap_nor_leave_a_gap(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for name in ("a", "b"):
            create_model(tx, name)
            for _ in range(5):
                logged(tx, name)
        everything = found(tx)
        assert everything == [f"{name}/{number}" for name in "ab" for number in range(5, 0, -1)]
        pages = [search_versions(tx, limit=3, offset=start) for start in range(0, 12, 3)]
        assert [version.subject for page in pages for version in page] == everything
        assert [len(page) for page in pages] == [3, 3, 3, 1]
        assert [m.name for m in search_models(tx, limit=1, offset=1)] == ["b"]
        assert search_models(tx, limit=1, offset=2) == []
        for limit, offset in ((0, 0), (1, -1), (1, 2**63)):
            with pytest.raises(Invalid, match="no page"):
                search_versions(tx, limit=limit, offset=offset)


def test_versions_are_found_by_what_is_known_of_them(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        registered(tx, "run_a")
        logged(tx, run="run_a", source="s3://here/model", tags={"seed": "7"})
        logged(tx, run=None, source="runs:/run_b/model")
        logged(tx, run="run_b", source="runs:/run_b/MODEL", tags={"seed": "8"})
        transition_stage(tx, "bikes", 4, "Staging")
        create_model(tx, "trams")
        logged(tx, "trams", run="run_a")
        set_version_tag(tx, "trams", 1, key="seed", value="7")

        def numbers(*where: Comparison) -> list[str]:
            return sorted(found(tx, *where))

        assert numbers(attribute("name", "=", "trams")) == ["trams/1"]
        assert numbers(attribute("name", "IN", ("trams", "x"))) == ["trams/1"]
        assert numbers(attribute("run_id", "=", "run_a")) == ["bikes/1", "bikes/2", "trams/1"]
        assert numbers(attribute("run_id", "IN", ("run_b", "run_c"))) == ["bikes/4"]
        # MLflow takes a version without a run for one of the run ''.
        assert numbers(attribute("run_id", "!=", "run_a")) == ["bikes/3", "bikes/4"]
        assert numbers(attribute("run_id", "NOT IN", ("run_a",))) == ["bikes/3", "bikes/4"]
        assert numbers(attribute("source_path", "LIKE", "%/model")) == [
            "bikes/2",
            "bikes/3",
            "trams/1",
        ]
        assert numbers(attribute("source_path", "ILIKE", "runs:/run_b/model")) == [
            "bikes/3",
            "bikes/4",
        ]
        assert numbers(attribute("current_stage", "=", "Staging")) == ["bikes/4"]
        assert numbers(tag("seed", "=", "7")) == ["bikes/2", "trams/1"]
        assert numbers(tag("seed", "!=", "7"), attribute("name", "=", "bikes")) == ["bikes/4"]


BY_NUMBER: list[tuple[str, str | float, list[int]]] = [
    ("=", 2, [2]),
    ("=", 2.0, [2]),
    ("=", "2", [2]),
    ("!=", 2, [3, 1]),
    ("<", 2, [1]),
    ("<=", 2, [2, 1]),
    (">", 2, [3]),
    (">=", 2, [3, 2]),
    ("<", 10**30, [3, 2, 1]),
    (">", -(10**30), [3, 2, 1]),
    ("=", 10**30, []),
]


def test_versions_are_found_by_number(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        for _ in range(3):
            logged(tx)
        for operator, value, expected in BY_NUMBER:
            where = attribute("version_number", operator, value)
            assert found(tx, where) == [f"bikes/{number}" for number in expected], where


def test_the_last_changed_version_comes_first_unless_another_order_is_asked_for(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    for name in ("b", "a"):
        with any_workspace.transaction() as tx:
            create_model(tx, name)
            for _ in range(2):
                logged(tx, name)
        clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        update_version(tx, "b", 1, description="again")
    with any_workspace.reading() as tx:
        assert found(tx) == ["b/1", "a/2", "a/1", "b/2"]
        assert found(tx, order=[by("version_number")]) == ["a/1", "b/1", "a/2", "b/2"]
        assert found(tx, order=[by("name", ascending=False)]) == ["b/2", "b/1", "a/2", "a/1"]
        assert found(tx, order=[by("creation_timestamp"), by("version_number")]) == [
            "b/1",
            "b/2",
            "a/1",
            "a/2",
        ]


@pytest.mark.parametrize(
    "where",
    [
        attribute("description", "=", "x"),
        attribute("name", "<", "x"),
        attribute("name", "=", 3.0),
        attribute("name", "=", ("a", "b")),
        attribute("name", "IN", "a"),
        attribute("name", "=", "a\0"),
        attribute("name", "LIKE", "%" * 10_001),
        attribute("version_number", "LIKE", "1"),
        attribute("version_number", "=", 1.5),
        attribute("version_number", "=", float("inf")),
        attribute("version_number", "=", "one"),
        attribute("version_number", "=", "9" * 5_000),
        tag("seed", "IN", "7"),
        Comparison(entity=Entity.METRIC, key="f1", operator="=", value=1.0),
    ],
)
def test_a_comparison_that_says_nothing_of_versions_is_refused(
    workspace: Workspace, where: Comparison
) -> None:
    with workspace.reading() as tx, pytest.raises(Invalid) as caught:
        search_versions(tx, where=[where], limit=10)
    assert caught.value.hint


def test_an_order_that_makes_no_sense_is_refused(workspace: Workspace) -> None:
    with workspace.reading() as tx:
        with pytest.raises(Invalid, match="does not know the order"):
            search_models(tx, order=[by("version_number")], limit=10)
        with pytest.raises(Invalid, match="twice"):
            search_versions(tx, order=[by("name"), by("name", ascending=False)], limit=10)
        with pytest.raises(Invalid, match="twice"):
            search_models(tx, order=[by("timestamp"), by("last_updated_timestamp")], limit=10)
