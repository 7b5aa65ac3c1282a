"""Models are described, tagged, renamed and removed on purpose, and the ledger tells of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.registry.conftest import logged, registered

from everfit.errors import Conflict, NotFound
from everfit.kernel import ManualClock, Transaction, Workspace
from everfit.registry import (
    RegisteredModel,
    aliases,
    create_model,
    delete_model,
    delete_model_tag,
    delete_version,
    get_model,
    get_version,
    list_models,
    list_versions,
    rename_model,
    set_alias,
    set_model_tag,
    set_version_tag,
    transition_stage,
    update_model,
)


def kinds(tx: Transaction, subject: str) -> list[str]:
    return [event.kind for event in tx.events(subject=subject)]


def test_a_model_is_read_back_as_it_was_made(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        made = create_model(
            tx, "bikes", description="hourly demand", tags={"team": "north", "a": ""}, actor="Ada"
        )
    with any_workspace.reading() as tx:
        assert get_model(tx, "bikes") == made
        (event,) = tx.events("model-created")
    assert made == RegisteredModel(
        name="bikes",
        description="hourly demand",
        created_at=tx.now,
        updated_at=tx.now,
        tags={"team": "north", "a": ""},
    )
    assert (event.actor, event.data["description"]) == ("Ada", "hourly demand")


def test_a_name_is_given_once(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes", tags={"team": "north"})
        registered(tx, model="trams")
        for name in ("bikes", "trams"):
            with pytest.raises(Conflict, match=f"a model '{name}'"):
                create_model(tx, name, tags={"team": "south"})
        assert get_model(tx, "bikes").tags == {"team": "north"}
        assert len(tx.events("model-created")) == 1


def test_of_two_who_make_a_model_at_once_one_does(any_workspace: Workspace) -> None:
    def work(number: int) -> bool:
        try:
            with any_workspace.transaction() as tx:
                create_model(tx, "bikes", tags={"by": str(number)})
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, range(8))) == 1


def test_a_description_is_replaced_and_a_long_one_is_not_kept_in_the_ledger(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    with any_workspace.transaction() as tx:
        made = create_model(tx, "bikes", description="hourly")
    clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        changed = update_model(tx, "bikes", description="d" * 2_000)
        assert changed == get_model(tx, "bikes")
        assert changed.description == "d" * 2_000
        assert (changed.created_at, changed.updated_at) == (made.created_at, clock.now())
        (event,) = tx.events("model-described")
        assert event.data["description"].startswith("2,000 characters, SHA-256 ")
        assert update_model(tx, "bikes", description=None).description is None


def test_tags_are_set_and_removed_and_only_changes_are_recorded(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        for value in ("north", "north", "south"):
            set_model_tag(tx, "bikes", "team", value)
        set_model_tag(tx, "bikes", "phase", "")
        assert get_model(tx, "bikes").tags == {"phase": "", "team": "south"}
        for _ in range(2):
            delete_model_tag(tx, "bikes", "team")
        assert get_model(tx, "bikes").tags == {"phase": ""}
        assert kinds(tx, "bikes") == ["model-created", *["model-tagged"] * 3, "model-untagged"]


def test_a_model_is_renamed_with_all_that_goes_by_its_name(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes", tags={"team": "north"})
        logged(tx, "bikes", tags={"seed": "1"})
        set_alias(tx, "bikes", "best", 1)
    clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        renamed = rename_model(tx, "bikes", "cycles")
        assert renamed == get_model(tx, "cycles")
        assert renamed.tags == {"team": "north"}
        assert renamed.aliases == {"best": 1}
        (version,) = renamed.latest
        assert version == get_version(tx, "cycles", 1)
        assert version.tags == {"seed": "1"}
        assert renamed.updated_at == version.updated_at == clock.now()
        assert version.created_at < version.updated_at
        assert list_models(tx) == ["cycles"]
        assert (list_versions(tx, "bikes"), aliases(tx, "bikes")) == ([], {})
        assert logged(tx, "cycles").number == 2
        with pytest.raises(NotFound, match="no model 'bikes'"):
            rename_model(tx, "bikes", "trams")


def test_a_name_that_is_taken_stays_with_its_model(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes", tags={"team": "north"})
        create_model(tx, "trams", tags={"team": "south"})
        with pytest.raises(Conflict, match="a model 'trams'"):
            rename_model(tx, "bikes", "trams")
        assert get_model(tx, "bikes").tags == {"team": "north"}
        assert get_model(tx, "trams").tags == {"team": "south"}
        assert rename_model(tx, "bikes", "bikes") == get_model(tx, "bikes")


def test_a_model_goes_with_its_versions_aliases_and_tags(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes", tags={"team": "north"})
        logged(tx, "bikes", tags={"seed": "1"})
        set_alias(tx, "bikes", "best", 1)
        delete_model(tx, "bikes", actor="Ada")
        for look in (get_model, delete_model):
            with pytest.raises(NotFound, match="no model 'bikes'"):
                look(tx, "bikes")
        again = create_model(tx, "bikes")
        assert (again.tags, again.aliases, again.latest) == ({}, {}, ())
        first = logged(tx, "bikes")
        assert (first.number, get_version(tx, "bikes", 1).tags) == (1, {})
        (event,) = tx.events("model-deleted")
        assert (event.actor, event.data["last_number"]) == ("Ada", 1)


def test_numbers_of_trained_versions_are_not_given_again(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for run in ("run_1", "run_2"):
            registered(tx, run)
        delete_version(tx, "bikes", 2)
        delete_model(tx, "bikes")
        assert registered(tx, "run_3").number == 3
        rename_model(tx, "bikes", "cycles")
        create_model(tx, "bikes")
        assert logged(tx, "bikes").number == 4
        assert logged(tx, "cycles").number == 4


def test_the_newest_version_of_each_stage_stands_with_its_model(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        for stage in ("None", "Production", "None", "Archived", "production"):
            number = logged(tx, "bikes").number
            transition_stage(tx, "bikes", number, stage)
        set_version_tag(tx, "bikes", 5, key="seed", value="7")
        latest = get_model(tx, "bikes").latest
        assert [(v.number, v.stage.value) for v in latest] == [
            (3, "None"),
            (5, "Production"),
            (4, "Archived"),
        ]
        assert latest[1].tags == {"seed": "7"}


def test_what_is_done_to_a_model_that_is_not_there_is_refused(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        for change in (
            lambda: update_model(tx, "bikes", description="x"),
            lambda: set_model_tag(tx, "bikes", "a", "x"),
            lambda: delete_model_tag(tx, "bikes", "a"),
            lambda: logged(tx, "bikes"),
        ):
            with pytest.raises(NotFound, match="no model 'bikes'"):
                change()
        assert tx.events() == []


def test_models_of_another_project_are_not_touched(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        other = Transaction(connection=tx.connection, project="other", now=tx.now)
        for here in (tx, other):
            create_model(here, "bikes", tags={"team": here.project})
            logged(here, "bikes", tags={"seed": here.project})
        rename_model(tx, "bikes", "cycles")
        delete_model(tx, "cycles")
        (version,) = get_model(other, "bikes").latest
        assert version.tags == {"seed": "other"}
        assert get_model(other, "bikes").tags == {"team": "other"}
