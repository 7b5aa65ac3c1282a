"""Traces that MLflow's client has logged to its own stores come over with spans and links."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import pytest
import sqlalchemy as sa
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from tests.foreign.conftest import Import, store_at

from everfit.foreign import Kind, Report, import_mlflow
from everfit.kernel import Workspace, find_workspace
from everfit.server import BackgroundControlPlane
from everfit.tracing import TraceState, get_trace, linked_runs, trace_folder
from everfit.tracking import files_below

pytestmark = pytest.mark.filterwarnings("default")
LOCATION, SPANS = "mlflow.artifactLocation", "mlflow.trace.spansLocation"
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
# A migration of MLflow 2.22, whose traces have their names in a tag and no previews.
VERSION_2_22 = "0584bdc529eb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A store with traces, MLflow's client on it, its experiment, a run, and the traces' ids."""

    source: str
    client: Any
    experiment: str
    run: str
    ids: list[str]


@mlflow.trace(span_type="CHAIN")
def doubled(x: int) -> int:
    if x < 0:
        raise ValueError("too small")
    return x * 2


@mlflow.trace
def answered(x: int) -> dict[str, int]:
    metadata = {"mlflow.trace.session": "s 1", "mlflow.trace.tokenUsage": json.dumps(USAGE)}
    mlflow.update_current_trace(tags={"team": "röd"}, metadata=metadata, client_request_id=f"c{x}")
    return {"doubled": doubled(x)}


def trace(kind: str, folder: Path, empty: Path, *, location: str | None = None) -> Traced:
    """Make a store of a kind in a folder, and log three traces to it, one within a run."""
    source = str(folder / "mlruns")
    if kind == "sqlite":
        shutil.copy(empty, folder / "store.db")
        source = f"sqlite:///{folder / 'store.db'}"
        location = location or (folder / "elsewhere").as_uri()
    with store_at(source) as client:
        experiment = client.create_experiment("traced", artifact_location=location)
        mlflow.set_experiment(experiment_id=experiment)
        ids = []
        for value in (1, -1):
            with contextlib.suppress(ValueError):
                answered(value)
            ids.append(str(mlflow.get_last_active_trace_id()))
        with mlflow.start_run() as run:
            answered(2)
        ids.append(str(mlflow.get_last_active_trace_id()))
        mlflow.flush_trace_async_logging()
        mlflow.log_feedback(trace_id=ids[0], name="good", value=True)
        if kind == "sqlite":
            client.link_traces_to_run(ids[:2], run.info.run_id)
    run_id = run.info.run_id
    return Traced(source=source, client=client, experiment=experiment, run=run_id, ids=ids)


@pytest.fixture(params=["sqlite", "files"])
def traced(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Traced:
    """A store of each kind with traces."""
    return trace(request.param, tmp_path, empty)


@pytest.fixture
def here(any_workspace: Workspace) -> Iterator[Any]:
    """MLflow's client at what was imported."""
    with BackgroundControlPlane(any_workspace) as plane, store_at(plane.url) as client:
        yield client


def silent(*_: object) -> None:
    """Show no progress."""


def said(report: Report) -> str:
    return "\n".join([*map(str, report.problems), str(report.counts)])


def plain(client: Any, trace_id: str) -> dict[str, Any]:
    """Return all that a client reads of a trace, but for where it lies."""
    found = client.get_trace(trace_id)
    info = found.info.to_dict()
    info.pop("trace_location")
    info.pop("assessments", None)
    tags = {key: text for key, text in info["tags"].items() if key not in (LOCATION, SPANS)}
    spans = {span.span_id: span.to_dict() for span in found.data.spans}
    return {**info, "tags": tags, "spans": spans}


def test_a_trace_is_read_as_it_was(traced: Traced, imported: Import, here: Any) -> None:
    report = imported(traced.source)
    assert report.sound, said(report)
    assert report.counts[Kind.TRACES].imported == 3
    assert "not imported: 1 assessments of traces" in report.remarks
    for id in traced.ids:
        before, after = plain(traced.client, id), plain(here, id)
        assert before == after
        assert len(after["spans"]) == 2
    found = plain(here, traced.ids[0])
    assert found["tags"] == {"team": "röd", "mlflow.traceName": "answered"}
    assert json.loads(found["trace_metadata"]["mlflow.trace.tokenUsage"]) == USAGE
    assert (found["state"], found["client_request_id"]) == ("OK", "c1")
    assert here.get_trace(traced.ids[1]).info.state == "ERROR"


def test_the_traces_of_a_run_are_found(traced: Traced, imported: Import, here: Any) -> None:
    report = imported(traced.source)
    links = report.counts[Kind.LINKS]
    experiment = here.get_experiment_by_name("traced").experiment_id
    found = here.search_traces(
        locations=[experiment], filter_string=f"attributes.run_id = '{traced.run}'"
    )
    ids = {one.info.trace_id for one in found}
    if traced.source.startswith("sqlite"):
        assert (links.source, links.imported) == (2, 2)
        assert ids == set(traced.ids)
    else:
        assert links.source == 0
        assert ids == {traced.ids[2]}


def test_a_second_import_adds_nothing_and_tells_what_changed(
    traced: Traced, imported: Import, any_workspace: Workspace
) -> None:
    first = imported(traced.source)
    blobs = sorted(any_workspace.blobs.digests())
    second = imported(traced.source)
    assert second.sound, said(second)
    assert second.new == 0
    for kind in (Kind.TRACES, Kind.LINKS, Kind.FILES):
        assert first.counts[kind].source == second.counts[kind].there, kind
    assert sorted(any_workspace.blobs.digests()) == blobs
    traced.client.set_trace_tag(traced.ids[0], "team", "blue")
    third = imported(traced.source)
    [problem] = third.problems
    assert problem.path == f"trace {traced.ids[0]}"
    assert problem.found == "another one here: tags"
    assert (third.new, third.counts[Kind.TRACES].differs) == (0, 1)


def test_spans_of_a_database_are_read_though_other_files_lie_in_a_bucket(
    tmp_path: Path, imported: Import, here: Any, empty: Path
) -> None:
    # Logged with a folder, for MLflow's client would write a first file to the bucket itself.
    traced = trace("sqlite", tmp_path, empty)
    for table, column in (("experiments", "artifact_location"), ("trace_tags", "value")):
        with closing(sqlite3.connect(tmp_path / "store.db")) as database, database:
            moved = f"replace({column}, ?, 's3://bucket/far')"
            place = (tmp_path / "elsewhere").as_uri()
            database.execute(f"UPDATE {table} SET {column} = {moved}", (place,))  # noqa: S608
    report = imported(traced.source)
    assert report.sound, said(report)
    assert here.get_experiment_by_name("traced").artifact_location == "s3://bucket/far"
    assert plain(here, traced.ids[0])["spans"] == plain(traced.client, traced.ids[0])["spans"]
    assert imported(traced.source).sound
    with pytest.raises(mlflow.MlflowException, match="cannot be changed"):
        here.delete_trace_tag(traced.ids[0], "everfit.files")


def test_what_cannot_come_over_is_told(tmp_path: Path, workspace: Workspace, empty: Path) -> None:
    traced = trace("sqlite", tmp_path, empty)
    bare, archived, strange = traced.ids
    gone, file = uuid4().hex, tmp_path / "elsewhere/traces" / bare / "artifacts/traces.json"
    with closing(sqlite3.connect(tmp_path / "store.db")) as database, database:
        database.execute("DELETE FROM spans WHERE trace_id != ?", (strange,))
        query = "UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = ? AND request_id = ?"
        database.execute(query, (SPANS, archived))
        link = "INSERT INTO entity_associations VALUES (?, 'trace', ?, ?, ?, 1)"
        database.execute(link, ("a1", strange, "run", gone))
        database.execute(link, ("a2", strange, "prompt_version", "p/1"))
        copied = "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status)"
        database.execute(f"{copied} VALUES ('../up', 0, 1, 'IN_PROGRESS')")
    file.unlink(missing_ok=True)
    other = tmp_path / "elsewhere/traces" / strange / "artifacts/traces.json"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text('{"spans": []}')
    report = import_mlflow(workspace, traced.source, tell=silent)
    found = {problem.path: problem.found for problem in report.problems}
    assert found.keys() == {"traces", f"trace {strange}", "trace '../up'"}
    assert found["traces"] == f"no spans of 1 that have ended, such as {bare}"
    told = [problem.found for problem in report.problems if problem.path == f"trace {strange}"]
    assert told == [f"other spans in {other} than in the database", f"a link to run {gone!r}"]
    assert "not imported: 1 archived spans of traces" in report.remarks
    assert "not imported: 1 links of traces to prompts" in report.remarks
    count, links = report.counts[Kind.TRACES], report.counts[Kind.LINKS]
    assert (count.source, count.imported, links.source, links.imported) == (4, 3, 3, 2)


def test_traces_of_a_database_on_postgres_come_over(
    tmp_path: Path, workspace: Workspace, postgres_url: str
) -> None:
    with store_at(postgres_url) as client:
        client.create_experiment("e", artifact_location=(tmp_path / "files").as_uri())
        experiment = mlflow.set_experiment("e").experiment_id
        doubled(3)
        id = str(mlflow.get_last_active_trace_id())
        run = client.create_run(experiment).info.run_id
        mlflow.flush_trace_async_logging()
        client.link_traces_to_run([id], run)
        report = import_mlflow(workspace, postgres_url, tell=silent)
    assert report.sound, said(report)
    with workspace.reading() as tx:
        found = get_trace(tx, id)
        assert linked_runs(tx, [id]) == {id: {run}}
        [file] = files_below(tx, trace_folder(found.experiment, id))
    assert (found.request_preview, found.response_preview) == ('{"x": 3}', "6")
    [span] = json.loads(workspace.blobs.get(file.digest))["spans"]
    assert span["name"] == "doubled"


def test_traces_of_mlflow_2_come_over(tmp_path: Path, workspace: Workspace) -> None:
    file, id = tmp_path / "old.db", uuid4().hex
    engine = sa.create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    command.upgrade(_get_alembic_config(f"sqlite:///{file}"), VERSION_2_22)
    location = f"mlflow-artifacts:/7/traces/{id}/artifacts"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO experiments (experiment_id, name) VALUES (7, 'old')")
        database.execute("INSERT INTO trace_info VALUES (?, 7, 1700000000123, 77, 'OK')", (id,))
        for key, value in (("mlflow.traceName", "f"), (LOCATION, location)):
            database.execute("INSERT INTO trace_tags VALUES (?, ?, ?)", (key, value, id))
        noted = ("mlflow.traceInputs", "{}", id)
        database.execute("INSERT INTO trace_request_metadata VALUES (?, ?, ?)", noted)
    missing = import_mlflow(workspace, str(file), tell=silent)
    assert [problem.path for problem in missing.problems] == ["traces"]
    kept = tmp_path / "kept/7/traces" / id / "artifacts/traces.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"spans": []}')
    report = import_mlflow(workspace, str(file), artifacts=tmp_path / "kept", tell=silent)
    assert report.sound, said(report)
    assert (report.new, report.counts[Kind.FILES].imported) == (1, 1)
    with workspace.reading() as tx:
        found = get_trace(tx, id)
        [spans] = files_below(tx, f"{found.experiment}/traces")
    assert (found.state, found.duration_ms) == (TraceState.OK, 77)
    assert (found.tags, found.metadata) == ({"mlflow.traceName": "f"}, {noted[0]: "{}"})
    assert spans.name == f"{found.experiment}/traces/{id}/artifacts/traces.json"


def test_old_and_broken_traces_of_a_folder(tmp_path: Path, workspace: Workspace) -> None:
    experiment = tmp_path / "mlruns/3"
    for name, described in {
        "old": "timestamp_ms: 1700000000123\nexecution_time_ms: 5\n"
        "status: TRACE_STATUS_UNSPECIFIED",
        "new": "request_time: '2026-01-01T00:00:00.123Z'\nstate: IN_PROGRESS",
        "broken": "request_time: yesterday\nstate: OK",
    }.items():
        folder = experiment / "traces" / name
        folder.mkdir(parents=True)
        (folder / "trace_info.yaml").write_text(described)
    (experiment / "meta.yaml").write_text("experiment_id: '3'\nname: e\n")
    report = import_mlflow(workspace, str(tmp_path / "mlruns"), tell=silent)
    assert [problem.path for problem in report.problems] == ["trace broken"]
    with workspace.reading() as tx:
        old, new = get_trace(tx, "old"), get_trace(tx, "new")
    assert (old.started_at.timestamp(), old.duration_ms) == (1_700_000_000.123, 5)
    assert (old.state, new.state) == (TraceState.UNSPECIFIED, TraceState.IN_PROGRESS)
    assert (new.started_at.isoformat(), new.duration_ms) == (
        "2026-01-01T00:00:00.123000+00:00",
        None,
    )


TRACES = 1_000


def test_an_import_of_traces_that_was_killed_goes_on(tmp_path: Path, empty: Path) -> None:
    file, project = tmp_path / "mlflow.db", tmp_path / "project"
    shutil.copy(empty, file)
    with closing(sqlite3.connect(file)) as database, database:
        ids = [f"tr-{uuid4().hex}" for _ in range(TRACES)]
        database.executemany(
            "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) "
            "VALUES (?, 0, 1, 'OK')",
            [(id,) for id in ids],
        )
        tags = [(id, SPANS, "TRACKING_STORE") for id in ids]
        database.executemany(
            "INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)", tags
        )
        database.executemany(
            "INSERT INTO spans (trace_id, experiment_id, span_id, status, start_time_unix_nano, "
            "content) VALUES (?, 0, 's', 'OK', 1, ?)",
            [(id, json.dumps({"span_id": id})) for id in ids],
        )
    child = subprocess.Popen(
        [sys.executable, "-m", "everfit.cli", "import", "mlflow", str(file), str(project)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while _traces_in(project) == 0 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.005)
    child.kill()
    child.wait()
    there = _traces_in(project)
    assert 0 < there < TRACES
    workspace = find_workspace(project)
    report = import_mlflow(workspace, str(file), tell=silent)
    workspace.close()
    assert report.sound, said(report)
    for kind in (Kind.TRACES, Kind.FILES):
        count = report.counts[kind]
        assert (count.there, count.imported) == (there, TRACES - there)


def _traces_in(project: Path) -> int:
    [*files] = (project / ".everfit").glob("*.db")
    if not files:
        return 0
    with closing(sqlite3.connect(files[0])) as database:
        try:
            return int(database.execute("SELECT count(*) FROM tracking_traces").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
