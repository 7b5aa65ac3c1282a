"""What MLflow's registry client does against MLflow, it does against Everfit."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("default")


def code_of(raised: pytest.ExceptionInfo[MlflowException]) -> str:
    return str(raised.value.error_code)


def logged_run(client: Any) -> str:
    run_id: str = client.create_run("0").info.run_id
    client.log_text(run_id, "a model", "model/model.txt")
    return run_id


def test_a_model_lives_through_its_names(client: Any) -> None:
    made = client.create_registered_model("bikes", tags={"team": "red"}, description="first")
    assert (made.name, made.description, made.tags) == ("bikes", "first", {"team": "red"})
    with pytest.raises(MlflowException) as raised:
        client.create_registered_model("bikes")
    assert code_of(raised) == "RESOURCE_ALREADY_EXISTS"
    client.update_registered_model("bikes", "second")
    client.set_registered_model_tag("bikes", "team", "blue")
    client.set_registered_model_tag("bikes", "gone", "x")
    client.delete_registered_model_tag("bikes", "gone")
    found = client.get_registered_model("bikes")
    assert (found.description, found.tags) == ("second", {"team": "blue"})
    client.rename_registered_model("bikes", "trams")
    with pytest.raises(MlflowException) as raised:
        client.get_registered_model("bikes")
    assert code_of(raised) == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model("trams")
    assert list(client.search_registered_models()) == []


def test_versions_are_numbered_and_never_again(client: Any) -> None:
    run_id = logged_run(client)
    client.create_registered_model("bikes")
    for number in (1, 2, 3):
        version = client.create_model_version(
            "bikes", f"runs:/{run_id}/model", run_id, tags={"n": str(number)}
        )
        assert (version.version, version.run_id, version.status) == (
            str(number) if isinstance(version.version, str) else number,
            run_id,
            "READY",
        )
    client.delete_model_version("bikes", "3")
    again = client.create_model_version("bikes", f"runs:/{run_id}/model", run_id)
    assert str(again.version) == "4"
    client.update_model_version("bikes", "1", "the first")
    client.set_model_version_tag("bikes", "1", "n", "one")
    found = client.get_model_version("bikes", "1")
    assert (found.description, found.tags) == ("the first", {"n": "one"})
    client.delete_model_version_tag("bikes", "1", "n")
    assert client.get_model_version("bikes", "1").tags == {}
    uri = client.get_model_version_download_uri("bikes", "1")
    assert uri == f"{client.get_run(run_id).info.artifact_uri}/model"


def test_aliases_and_stages_point_at_versions(client: Any) -> None:
    run_id = logged_run(client)
    client.create_registered_model("bikes")
    for _ in range(2):
        client.create_model_version("bikes", f"runs:/{run_id}/model", run_id)
    client.set_registered_model_alias("bikes", "champion", "2")
    assert str(client.get_model_version_by_alias("bikes", "champion").version) == "2"
    assert client.get_model_version("bikes", "2").aliases == ["champion"]
    assert {k: str(v) for k, v in client.get_registered_model("bikes").aliases.items()} == {
        "champion": "2"
    }
    client.delete_registered_model_alias("bikes", "champion")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias("bikes", "champion")
    with pytest.raises(MlflowException):
        client.set_registered_model_alias("bikes", "v3", "1")
    client.transition_model_version_stage("bikes", "1", "Production")
    client.transition_model_version_stage("bikes", "2", "production", True)
    assert client.get_model_version("bikes", "1").current_stage == "Archived"
    (newest,) = client.get_latest_versions("bikes", ["Production"])
    assert str(newest.version) == "2"


def test_models_and_versions_are_searched_page_by_page(client: Any) -> None:
    run_id = logged_run(client)
    for number in range(5):
        client.create_registered_model(f"m{number}", tags={"odd": str(number % 2)})
    page = client.search_registered_models(max_results=3)
    assert [model.name for model in page] == ["m0", "m1", "m2"]
    page = client.search_registered_models(max_results=3, page_token=page.token)
    assert [model.name for model in page] == ["m3", "m4"]
    found = client.search_registered_models("tags.odd = '1'", order_by=["name DESC"])
    assert [model.name for model in found] == ["m3", "m1"]
    for _ in range(3):
        client.create_model_version("m1", f"runs:/{run_id}/model", run_id)
    found = client.search_model_versions("name = 'm1'", order_by=["version_number ASC"])
    assert [str(version.version) for version in found] == ["1", "2", "3"]
    assert len(client.search_model_versions(f"run_id = '{run_id}'", max_results=2)) == 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("s3://bucket/model", "its files lie outside of this installation"),
        ("runs:/{run}/model", "there is no MLmodel among its files"),
    ],
)
def test_a_version_says_why_it_was_not_packed(client: Any, source: str, reason: str) -> None:
    run_id = logged_run(client)
    client.create_registered_model("bikes")
    made = client.create_model_version("bikes", source.format(run=run_id), run_id)
    (searched,) = client.search_model_versions("name = 'bikes'")
    for version in (made, client.get_model_version("bikes", "1"), searched):
        # Clients can load it all the same.
        assert version.status == "READY"
        assert version.status_message.startswith("Everfit cannot load it: ")
        assert reason in version.status_message


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "file:/etc",
        "relative/path",
        "C:\\windows",
        "mlflow-artifacts:/0/../../etc",
        "mlflow-artifacts:/0/%2e%2e/%252e%252e/etc",
        "mlflow-artifacts:/9/other/artifacts/model",
        "mlflow-artifacts://other-host/0/x",
        "s3://bucket/a/../b",
        "models:/m-00000000000000000000000000000000",
        "runs:/0123456789abcdef0123456789abcdef/model",
    ],
)
def test_a_source_outside_of_its_run_is_refused(client: Any, source: str) -> None:
    run_id = logged_run(client)
    client.create_registered_model("bikes")
    with pytest.raises(MlflowException) as raised:
        client.create_model_version("bikes", source, run_id)
    assert code_of(raised) in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
    assert list(client.search_model_versions("name = 'bikes'")) == []
