"""Versions from outside: as many as clients log, numbered once, and never loaded by mistake."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.registry.conftest import SIGNATURE, logged, registered

from everfit.errors import Invalid, NotFound, UntrustedModel
from everfit.kernel import ManualClock, Workspace
from everfit.registry import (
    ModelVersion,
    Origin,
    Stage,
    aliases,
    create_model,
    create_version,
    delete_version,
    delete_version_tag,
    get_model,
    get_version,
    is_trusted,
    list_versions,
    load_package,
    newest_signature,
    resolve_alias,
    set_alias,
    set_version_tag,
    transition_stage,
    update_version,
    versions_by_stage,
)


def test_a_version_is_read_back_as_it_was_logged(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        made = create_version(
            tx,
            "bikes",
            source="models:/m-17",
            location="everfit-artifacts:/1/m-17/artifacts",
            run="run_1",
            run_link="https://example.org/run_1",
            logged_model="m-17",
            package="a" * 64,
            signature=SIGNATURE,
            metrics={"f1": 0.9, "auc": float("inf")},
            algorithm="sklearn",
            author="Ada",
            description="first try",
            status_message="as it came",
            tags={"seed": "7"},
        )
    with any_workspace.reading() as tx:
        assert get_version(tx, "bikes", 1) == made
        assert not is_trusted(tx, "a" * 64)
        (event,) = tx.events("version-logged")
    assert made == ModelVersion(
        model="bikes",
        number=1,
        origin=Origin.OUTSIDE,
        run="run_1",
        run_link="https://example.org/run_1",
        source="models:/m-17",
        location="everfit-artifacts:/1/m-17/artifacts",
        logged_model="m-17",
        package="a" * 64,
        dataset=None,
        profile=None,
        signature=SIGNATURE,
        metrics={"f1": 0.9, "auc": float("inf")},
        algorithm="sklearn",
        author="Ada",
        description="first try",
        stage=Stage.NONE,
        status_message="as it came",
        tags={"seed": "7"},
        created_at=tx.now,
        updated_at=tx.now,
    )
    assert (event.subject, event.actor, event.data["package"]) == ("bikes/1", "Ada", "a" * 64)


def test_a_run_may_be_logged_more_than_once_beside_what_it_trained(
    any_workspace: Workspace,
) -> None:
    with any_workspace.transaction() as tx:
        trained = registered(tx, "run_1")
        assert [logged(tx, run="run_1").number for _ in range(2)] == [2, 3]
        assert registered(tx, "run_1") == trained
        assert logged(tx, run=None).run is None
        assert [version.origin for version in list_versions(tx, "bikes")] == [
            Origin.OWN,
            *[Origin.OUTSIDE] * 3,
        ]
        assert registered(tx, "run_2").number == 5


def test_who_logs_at_the_same_time_gets_different_numbers(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")

    def work(index: int) -> int:
        with any_workspace.transaction() as tx:
            if index % 3 == 0:
                return registered(tx, f"run_{index}").number
            return logged(tx, tags={"index": str(index)}).number

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(work, range(24)))
    assert sorted(numbers) == list(range(1, 25))
    with any_workspace.reading() as tx:
        found = {v.number: v.tags.get("index") for v in list_versions(tx, "bikes")}
    assert found == {
        number: str(index) if index % 3 else None for index, number in enumerate(numbers)
    }


def test_a_deleted_number_is_not_given_again_and_its_aliases_go(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        logged(tx)
        logged(tx, tags={"seed": "7"})
        set_alias(tx, "bikes", "old", 1)
        set_alias(tx, "bikes", "new", 2)
        set_alias(tx, "bikes", "best", 2)
        delete_version(tx, "bikes", 2)
        assert aliases(tx, "bikes") == {"old": 1}
        for look in (get_version, delete_version):
            with pytest.raises(NotFound, match="no version 2 of model 'bikes'"):
                look(tx, "bikes", 2)
        assert logged(tx).number == 3
        (event,) = tx.events("version-deleted")
        assert (event.subject, event.data["aliases"]) == ("bikes/2", ["best", "new"])


def test_a_version_is_described_and_tagged(any_workspace: Workspace, clock: ManualClock) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        made = logged(tx)
    clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        changed = update_version(tx, "bikes", 1, description="checked by hand")
        assert changed == get_version(tx, "bikes", 1)
        assert changed.description == "checked by hand"
        assert (changed.created_at, changed.updated_at) == (made.created_at, clock.now())
        for value in ("7", "8", "8"):
            set_version_tag(tx, "bikes", 1, key="seed", value=value)
        assert get_version(tx, "bikes", 1).tags == {"seed": "8"}
        for _ in range(2):
            delete_version_tag(tx, "bikes", 1, key="seed")
        assert get_version(tx, "bikes", 1) == changed
        assert [event.kind for event in tx.events(subject="bikes/1")] == [
            "version-logged",
            "version-described",
            "version-tagged",
            "version-tagged",
            "version-untagged",
        ]


def test_a_stage_is_entered_and_the_others_in_it_are_archived(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        for _ in range(3):
            logged(tx)
        transition_stage(tx, "bikes", 1, "staging")
        transition_stage(tx, "bikes", 2, "Staging")
        moved = transition_stage(tx, "bikes", 3, "STAGING", archive_existing=True)
        assert moved == get_version(tx, "bikes", 3)
        stages = [version.stage.value for version in list_versions(tx, "bikes")]
        assert stages == ["Archived", "Archived", "Staging"]
        found = versions_by_stage(tx, "bikes", ["staging", "Archived"])
        assert [(v.number, v.stage.value) for v in found] == [(2, "Archived"), (3, "Staging")]
        assert [v.number for v in versions_by_stage(tx, "bikes")] == [2, 3]
        with pytest.raises(Invalid, match="'Live' is no stage"):
            transition_stage(tx, "bikes", 3, "Live")
        with pytest.raises(Invalid, match="stage Archived are not archived"):
            transition_stage(tx, "bikes", 3, "Archived", archive_existing=True)
        with pytest.raises(NotFound, match="no version 9"):
            transition_stage(tx, "bikes", 9, "Staging", archive_existing=True)
        assert get_version(tx, "bikes", 3).stage is Stage.STAGING


def test_an_alias_names_a_version_and_latest_the_highest(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        with pytest.raises(NotFound, match="has no version"):
            resolve_alias(tx, "bikes", "latest")
        first, second = logged(tx), logged(tx)
        set_alias(tx, "bikes", "best", 1, actor="Ada")
        assert tx.events("alias-moved")[-1].actor == "Ada"
    with any_workspace.reading() as tx:
        assert resolve_alias(tx, "bikes", "best") == first
        assert resolve_alias(tx, "bikes", "Latest") == second
        with pytest.raises(Invalid, match="'worst' of 'bikes' stands at no version"):
            resolve_alias(tx, "bikes", "worst")
        with pytest.raises(NotFound, match="no model 'trams'"):
            resolve_alias(tx, "trams", "best")
        with pytest.raises(NotFound, match="no model 'trams'"):
            versions_by_stage(tx, "trams")


def test_what_cannot_be_loaded_says_why(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        create_model(tx, "bikes")
        plain = logged(tx, unpackaged="its flavor, keras, is not known here")
        packed = create_version(
            tx, "bikes", source="runs:/r/m", package="a" * 64, signature=SIGNATURE
        )
        assert newest_signature(tx, "bikes") == SIGNATURE
        logged(tx)
        assert newest_signature(tx, "bikes") == SIGNATURE
    with pytest.raises(Invalid, match=r"bikes/1 cannot be loaded.* keras, is not known") as caught:
        load_package(any_workspace, plain)
    assert "everfit run" in caught.value.hint
    with pytest.raises(Invalid, match="bikes/1 has no signature"):
        plain.require_signature()
    with pytest.raises(UntrustedModel, match="bikes/2"):
        load_package(any_workspace, packed)


def test_a_version_has_a_package_with_its_signature_or_a_reason(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        create_model(tx, "bikes")
        with pytest.raises(Invalid, match="or a reason why"):
            create_version(tx, "bikes", source="runs:/r/m")
        with pytest.raises(Invalid, match="or a reason why"):
            logged(tx, package="a" * 64)
        with pytest.raises(Invalid, match="without its signature"):
            create_version(tx, "bikes", source="runs:/r/m", package="a" * 64)
        with pytest.raises(Invalid, match="source: found the character zero"):
            logged(tx, source="a\0b")
        assert get_model(tx, "bikes").latest == ()


def test_a_number_no_database_can_hold_is_no_version(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        registered(tx)
        for number in (0, -1, 2**63, 10**40):
            with pytest.raises(NotFound, match="no version"):
                get_version(tx, "bikes", number)
