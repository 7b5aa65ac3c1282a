"""MLflow's own client, unmodified, at Everfit over HTTP and in its own process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from everfit.kernel import Workspace, load_settings, open_workspace
from everfit.server import BackgroundControlPlane

# Read when MLflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
# Its own libraries warn of each other.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow import MlflowClient


@pytest.fixture(params=["sqlite", "postgres"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Workspace, str]]:
    """A workspace on each database, and where its control plane answers."""
    environment = {}
    if request.param == "postgres":
        environment["EVERFIT_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    settings = load_settings(tmp_path / "project", environment=environment)
    workspace = open_workspace(settings, durable=False)
    with BackgroundControlPlane(workspace) as plane:
        yield workspace, plane.url
    workspace.close()


@pytest.fixture
def tracked(served: tuple[Workspace, str]) -> Iterator[str]:
    """Where MLflow's fluent interface logs to, over HTTP."""
    yield from _pointed_at(served[1])


@pytest.fixture(params=["sqlite", "postgres", "in-process"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """MLflow's client: over HTTP on each database, and without a server."""
    if request.param == "in-process":
        uri = f"everfit:{tmp_path / 'project'}"
        for _ in _pointed_at(uri):
            yield MlflowClient(uri)
        return
    environment = {}
    if request.param == "postgres":
        environment["EVERFIT_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    settings = load_settings(tmp_path / "project", environment=environment)
    workspace = open_workspace(settings, durable=False)
    with BackgroundControlPlane(workspace) as plane:
        for _ in _pointed_at(plane.url):
            yield MlflowClient(plane.url)
    workspace.close()


@pytest.fixture
def pointed_at() -> Iterator[Callable[[str], None]]:
    """Point MLflow's fluent interface at a URI until the end of the test."""
    with ExitStack() as stack:

        def point(uri: str) -> None:
            stack.enter_context(contextmanager(_pointed_at)(uri))

        yield point


def _pointed_at(uri: str) -> Iterator[str]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield uri
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_registry_uri(before)
        mlflow.set_tracking_uri(before)
