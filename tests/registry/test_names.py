"""What a name may be: as much as MLflow allows, and nothing that could be taken for a version."""

from __future__ import annotations

import pytest
from tests.registry.conftest import logged, registered

from everfit.errors import Invalid
from everfit.kernel import Workspace
from everfit.registry import (
    create_model,
    get_model,
    get_version,
    list_models,
    rename_model,
    set_alias,
    set_model_tag,
    set_version_tag,
)

TOO_LONG = "k" * 251


def test_a_client_may_use_names_that_a_training_may_not(any_workspace: Workspace) -> None:
    names = ["demand (2026), été", "a b ", "x" * 256, "50%", "a\nb", "'; DROP", "模型", "v7", "7"]
    with any_workspace.transaction() as tx:
        for name in names:
            create_model(tx, name)
            made = logged(tx, name)
            assert get_version(tx, name, 1) == made
            assert get_model(tx, name).latest == (made,)
        assert sorted(list_models(tx)) == sorted(names)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a:b", ".", "..", "..a", "x" * 257, "a\0b"])
def test_what_no_model_can_be_called_is_refused(workspace: Workspace, name: str) -> None:
    with workspace.transaction() as tx:
        create_model(tx, "bikes")
        with pytest.raises(Invalid, match="no model name"):
            create_model(tx, name)
        with pytest.raises(Invalid, match="no model name"):
            rename_model(tx, "bikes", name)
        with pytest.raises(Invalid, match="no model name"):
            logged(tx, name)
        with pytest.raises(Invalid, match="no model name"):
            get_model(tx, name)


def test_a_model_that_is_trained_here_keeps_the_strict_rule(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        registered(tx)
        with pytest.raises(Invalid, match="no model name"):
            rename_model(tx, "bikes", "bikes (old)")
        assert rename_model(tx, "bikes", "old bikes").name == "old bikes"


@pytest.mark.parametrize("alias", ["a", "Ab-5_", "123", "123v", "v123_temp", "lates", "a" * 255])
def test_every_alias_of_mlflow_is_one_here(workspace: Workspace, alias: str) -> None:
    with workspace.transaction() as tx:
        registered(tx)
        set_alias(tx, "bikes", alias, 1)
        assert get_model(tx, "bikes").aliases == {alias: 1}


@pytest.mark.parametrize("key", ["", "a//b", "./a", "../a", "/a", "a*", "ä\0", ".", TOO_LONG])
def test_a_tag_that_cannot_be_kept_is_refused_everywhere(workspace: Workspace, key: str) -> None:
    with workspace.transaction() as tx:
        registered(tx)
        with pytest.raises(Invalid):
            set_model_tag(tx, "bikes", key, "x")
        with pytest.raises(Invalid):
            set_version_tag(tx, "bikes", 1, key=key, value="x")
        with pytest.raises(Invalid):
            create_model(tx, "trams", tags={key: "x"})


def test_all_that_cannot_be_kept_is_said_at_once(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        tags = {"good key/1.2-3_4:5": "x", "bad*": "x", "long": "v" * 100_001, "zero": "\0"}
        with pytest.raises(Invalid) as caught:
            create_model(tx, "bikes", tags=tags, description="a\0b")
    assert [problem.path for problem in caught.value.problems] == [
        "bad*",
        "long",
        "description",
        "zero",
    ]
