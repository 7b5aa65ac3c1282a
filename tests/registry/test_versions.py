"""Versions are numbered once, aliases move on purpose, and the ledger tells both."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.registry.conftest import registered

from everfit.errors import Invalid, NotFound, StaleRevision
from everfit.kernel import Transaction, Workspace
from everfit.registry import (
    aliases,
    by_alias,
    champion,
    get_version,
    is_trusted,
    list_models,
    list_versions,
    set_alias,
)


def test_a_version_is_read_back_as_it_was_registered(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        made = registered(tx)
    with any_workspace.reading() as tx:
        assert get_version(tx, "bikes", 1) == made
        assert made.created_at == tx.now
        assert is_trusted(tx, made.require_package())
        (event,) = tx.events("version-registered")
    assert event.subject == "bikes/1"
    assert event.data["package"] == made.package


def test_versions_of_a_model_count_from_one(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        numbers = [registered(tx, f"run_{i}").number for i in range(3)]
        assert numbers == [1, 2, 3]
        assert registered(tx, "run_0", model="trams").number == 1
        assert [version.number for version in list_versions(tx, "bikes")] == [1, 2, 3]
        assert list_models(tx) == ["bikes", "trams"]


def test_a_run_registers_once_and_its_second_package_is_not_trusted(
    any_workspace: Workspace,
) -> None:
    with any_workspace.transaction() as tx:
        made = registered(tx)
    with any_workspace.transaction() as tx:
        assert registered(tx, package="b" * 64) == made
        assert not is_trusted(tx, "b" * 64)
        assert len(tx.events("version-registered")) == 1


def test_writers_at_the_same_time_get_different_numbers(any_workspace: Workspace) -> None:
    def work(run: int) -> int:
        with any_workspace.transaction() as tx:
            return registered(tx, f"run_{run % 6}").number

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(work, range(12)))
    assert sorted(numbers[:6]) == [1, 2, 3, 4, 5, 6]
    assert numbers[6:] == numbers[:6]


def test_a_metric_that_could_not_be_computed_is_kept(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        registered(tx, metrics={"auc": math.nan, "loss": math.inf, "gain": -math.inf, "f1": 0.1})
        found = get_version(tx, "bikes", 1).metrics
    assert math.isnan(found["auc"])
    assert (found["loss"], found["gain"], found["f1"]) == (math.inf, -math.inf, 0.1)


def test_what_does_not_exist_is_said_to_be_so(any_workspace: Workspace) -> None:
    with any_workspace.reading() as tx:
        assert list_versions(tx, "bikes") == []
        assert champion(tx, "bikes") is None
    with any_workspace.transaction() as tx:
        with pytest.raises(NotFound, match="no version 1 of model 'bikes'"):
            get_version(tx, "bikes", 1)
        with pytest.raises(NotFound, match="no version 1"):
            set_alias(tx, "bikes", "champion", 1)
        with pytest.raises(NotFound, match="no model 'bikes'"):
            set_alias(tx, "bikes", "champion", None)
        assert list_models(tx) == []


def test_an_alias_moves_and_the_ledger_tells_from_where_to_where(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        first, second = registered(tx, "run_1"), registered(tx, "run_2")
        for number in (1, 2, 2, None):
            set_alias(tx, "bikes", "champion", number)
            set_alias(tx, "bikes", "fallback", 1)
            stands = champion(tx, "bikes")
            assert stands == {1: first, 2: second, None: None}[number]
        assert by_alias(tx, "bikes", "fallback") == first
        assert aliases(tx, "bikes") == {"fallback": 1}
        moved = [
            (event.data["from"], event.data["to"])
            for event in tx.events("alias-moved", subject="bikes")
            if event.data["alias"] == "champion"
        ]
    assert moved == [(None, 1), (1, 2), (2, None)]


def test_an_alias_moves_only_from_where_it_is_expected(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        registered(tx, "run_1")
        registered(tx, "run_2")
        set_alias(tx, "bikes", "champion", 1, expected=None)
        with pytest.raises(StaleRevision, match="stands at version 1, not at no version"):
            set_alias(tx, "bikes", "champion", 2, expected=None)
        with pytest.raises(StaleRevision, match="not at version 2"):
            set_alias(tx, "bikes", "champion", 2, expected=2)
        assert aliases(tx, "bikes") == {"champion": 1}
        set_alias(tx, "bikes", "champion", 2, expected=1)
        assert aliases(tx, "bikes") == {"champion": 2}


def test_of_two_who_move_an_alias_from_the_same_place_one_wins(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for run in range(4):
            registered(tx, f"run_{run}")

    def work(number: int) -> bool:
        try:
            with any_workspace.transaction() as tx:
                set_alias(tx, "bikes", "champion", number, expected=None)
        except StaleRevision:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, range(1, 5))) == 1


def test_projects_do_not_see_each_other(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        registered(tx, "run_1")
        registered(tx, "run_2")
        set_alias(tx, "bikes", "champion", 2)
        other = Transaction(connection=tx.connection, project="other", now=tx.now)
        assert list_models(other) == []
        assert registered(other, "run_1").number == 1
        assert champion(other, "bikes") is None
        assert not is_trusted(other, "c" * 64)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a:b", "x" * 201, " bikes", "a\nb"])
def test_a_name_that_could_not_stand_in_a_path_is_refused(workspace: Workspace, name: str) -> None:
    with workspace.transaction() as tx, pytest.raises(Invalid, match="no model name"):
        registered(tx, model=name)


@pytest.mark.parametrize(
    "alias", ["", "latest", "Latest", "v7", "V12", "a/b", "a b", "a.b", "x" * 256]
)
def test_an_alias_that_could_be_a_version_is_refused(workspace: Workspace, alias: str) -> None:
    with workspace.transaction() as tx:
        registered(tx)
        with pytest.raises(Invalid, match="no alias"):
            set_alias(tx, "bikes", alias, 1)
