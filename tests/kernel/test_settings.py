"""Settings: where they come from, and every mistake in them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from everfit.errors import SettingsInvalid
from everfit.kernel import load_settings, nearest_project, open_workspace, state_folder


def write(folder: Path, text: str) -> None:
    (folder / ".everfit").mkdir()
    (folder / ".everfit" / "settings.toml").write_text(text, encoding="utf-8")


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environment={})
    assert settings.home == tmp_path / ".everfit"
    assert settings.project == tmp_path.name
    assert settings.database_url == f"sqlite:///{tmp_path}/.everfit/everfit.db"


def test_a_project_keeps_its_name_and_its_state_in_another_folder(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    workspace = open_workspace(load_settings(before, environment={}))
    with workspace.transaction() as tx:
        tx.record("noted", "something")
    workspace.close()
    moved = before.rename(tmp_path / "after")
    workspace = open_workspace(load_settings(moved, environment={}))
    with workspace.reading() as tx:
        assert [event.kind for event in tx.events()] == ["noted"]
    workspace.close()
    assert load_settings(moved, environment={"EVERFIT_PROJECT": "named"}).project == "named"


def test_who_acts_is_who_is_logged_in(tmp_path: Path) -> None:
    assert load_settings(tmp_path, environment={"USER": "ada"}).actor == "ada"
    assert load_settings(tmp_path, environment={}).actor == "everfit"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'port = 9000\ncurrency = "USD"\n')
    settings = load_settings(tmp_path, environment={"EVERFIT_PORT": "9001", "PORT": "1"})
    assert (settings.port, settings.currency) == (9001, "USD")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, 'port = "high"\nmax_columns = 0\ncolour = "red"\nworkers = 2.5\n')
    environment = {"EVERFIT_BUSY_SECONDS": "inf", "EVERFIT_LEASE_SECONDS": "nan"}
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, environment=environment)
    file = tmp_path / ".everfit" / "settings.toml"
    assert {problem.path for problem in caught.value.problems} == {
        f"{file}: port",
        f"{file}: max_columns",
        f"{file}: colour",
        f"{file}: workers",
        "EVERFIT_BUSY_SECONDS",
        "EVERFIT_LEASE_SECONDS",
    }
    said = str(caught.value)
    assert "6 problems" in said
    assert "found 'high'; write a whole number" in said
    assert "found 0; write a whole number above 0" in said


@pytest.mark.parametrize("content", [b"port = \n", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "")
    file = tmp_path / ".everfit" / "settings.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=r"settings\.toml"):
        load_settings(tmp_path, environment={})


def test_a_database_nobody_can_open_is_refused(tmp_path: Path) -> None:
    from everfit.kernel import open_workspace

    settings = load_settings(tmp_path, environment={"EVERFIT_DATABASE_URL": "nonsense://x"})
    with pytest.raises(SettingsInvalid, match="nonsense"):
        open_workspace(settings)


def test_the_nearest_project_is_looked_for_upwards(tmp_path: Path) -> None:
    below = tmp_path / "project/notebooks/old"
    below.mkdir(parents=True)
    (tmp_path / "project/everfit.yaml").touch()
    assert nearest_project(below) == nearest_project(tmp_path / "project") == tmp_path / "project"
    open_workspace(load_settings(below.parent, environment={})).close()
    assert nearest_project(below) == below.parent
    assert nearest_project(tmp_path) == tmp_path


def test_what_belongs_to_no_project_is_kept_where_xdg_says(tmp_path: Path) -> None:
    assert state_folder({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "everfit"
    usual = Path.home() / ".local/state/everfit"
    assert state_folder({}) == state_folder({"XDG_STATE_HOME": "not/absolute"}) == usual


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, "http://c/t"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ""),
        ({"EVERFIT_TRACES_TO": "http://d", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, "http://d"),
    ],
)
def test_traces_go_where_opentelemetrys_variables_say(
    tmp_path: Path, environment: dict[str, str], found: str
) -> None:
    assert load_settings(tmp_path, environment=environment).traces_to == found
