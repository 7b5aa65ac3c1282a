"""Which run is meant, which runs are listed with which columns, and where runs differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import Invalid, NotFound
from everfit.kernel import ManualClock, Transaction, Workspace
from everfit.tracking import (
    CONTEXT_TAG,
    Dataset,
    DatasetInput,
    MetricPoint,
    Run,
    RunData,
    RunQuery,
    RunRecord,
    RunStatus,
    Section,
    capture_code,
    create_experiment,
    create_run,
    delete_run,
    ensure_default,
    finish_run,
    log_artifact,
    log_inputs,
    log_metrics,
    log_params,
    query_runs,
    record_provenance,
    resolve_run,
    run_record,
    set_tags,
    start_run,
)
from everfit.tracking.columns import described, parse_columns, usual_columns
from everfit.tracking.compare import Fact, Row, compare

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_run(name: str = "bikes", *, run_id: str = "run_1") -> Run:
    return Run(
        id=run_id,
        kind="training",
        name=name,
        status=RunStatus.FINISHED,
        actor="ada",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=90),
    )


def data(metrics: Mapping[str, float], *, run: Run | None = None) -> RunData:
    points = tuple(MetricPoint(key, value, 0, 0) for key, value in metrics.items())
    return RunData(run=run or a_run(), metrics=points, params={"depth": "8"}, tags={"team": "a"})


def record(facts: Mapping[Section, Mapping[str, Fact]], run_id: str = "run_1") -> RunRecord:
    return RunRecord(run=a_run(run_id=run_id), facts=facts)


def started(tx: Transaction, run_id: str, name: str) -> Run:
    return start_run(tx, kind="training", name=name, run_id=run_id)


# Which run is meant


def test_a_run_is_named_by_its_id_its_beginning_or_its_name(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx, "run_AB1", "bikes")
        started(tx, "run_AB12", "cars")
        started(tx, "run_C", "boats")
    with any_workspace.reading() as tx:
        meant = {text: resolve_run(tx, text).id for text in ("run_AB1", "run_AB12", "run_C")}
        assert meant == {text: text for text in meant}
        assert resolve_run(tx, "run_C"[:5]).id == "run_C"
        assert resolve_run(tx, "cars").id == "run_AB12"


def test_a_name_that_several_may_mean_is_refused_with_each_of_them(
    any_workspace: Workspace,
) -> None:
    with any_workspace.transaction() as tx:
        started(tx, "run_A1", "bikes")
        started(tx, "run_A2", "bikes")
        started(tx, "run_B", "run_A")
    with any_workspace.reading() as tx:
        with pytest.raises(Invalid, match="several runs") as caught:
            resolve_run(tx, "bikes")
        assert "run_A1" in caught.value.message
        assert "run_A2" in caught.value.message
        with pytest.raises(Invalid, match="run_B  run_A"):
            resolve_run(tx, "run_A")


def test_of_many_that_are_meant_the_newest_ten_are_listed(
    workspace: Workspace, clock: ManualClock
) -> None:
    for number in range(12):
        clock.advance(timedelta(seconds=1))
        with workspace.transaction() as tx:
            started(tx, f"run_{number:02}", "bikes")
    with workspace.reading() as tx, pytest.raises(Invalid, match="and more") as caught:
        resolve_run(tx, "bikes")
    assert "run_11" in caught.value.message
    assert "run_01" not in caught.value.message


@pytest.mark.parametrize("text", ["", "run_X", "%", "_", "RUN_"])
def test_what_no_run_is_called_is_not_found(workspace: Workspace, text: str) -> None:
    with workspace.transaction() as tx:
        started(tx, "run_A", "bikes")
        with pytest.raises(NotFound, match="no run"):
            resolve_run(tx, text)


def test_a_deleted_run_is_found_by_its_whole_id_alone(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx, "run_AB", "bikes")
        delete_run(tx, "run_AB")
        assert resolve_run(tx, "run_AB").id == "run_AB"
        for text in ("run_A", "bikes"):
            with pytest.raises(NotFound):
                resolve_run(tx, text)


# Which runs are listed


def test_runs_are_asked_for_in_writing(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        bikes = create_experiment(tx, "bikes").id
        for number in range(4):
            run = create_run(tx, bikes if number % 2 else "0", name=f"r{number}").run
            log_metrics(tx, run.id, {"mae": float(number)})
            log_params(tx, run.id, {"depth": "8"})
            if number == 3:
                delete_run(tx, run.id)

    def names(**asked: object) -> list[str]:
        with any_workspace.reading() as tx:
            return [found.run.name for found in query_runs(tx, RunQuery(**asked))[0]]  # type: ignore[arg-type]

    assert sorted(names()) == ["r0", "r1", "r2"]
    assert names(order_by=["metrics.mae DESC"]) == ["r2", "r1", "r0"]
    assert names(filter="metrics.mae >= 1 AND params.depth = '8'", order_by=["metrics.mae"]) == [
        "r1",
        "r2",
    ]
    assert names(experiments=["bikes"]) == ["r1"]
    assert sorted(names(experiments=["bikes"], deleted=True)) == ["r1", "r3"]
    assert names(order_by=["metrics.mae"], limit=1) == ["r0"]
    with any_workspace.reading() as tx:
        assert query_runs(tx, RunQuery(limit=2))[1]
        with pytest.raises(NotFound, match=r"2 problems:\n  boats"):
            query_runs(tx, RunQuery(experiments=["boats", "bikes", "cars"]))


def test_columns_are_named_as_filters_name_them() -> None:
    columns = parse_columns(
        ["id", "attributes.start_time", "metric.mae", "params.depth", "tag.a.b"]
    )
    titles = ["id", "started", "metrics.mae", "params.depth", "tags.a.b"]
    assert [column.title for column in columns] == titles
    values = [column.value(data({"mae": 4.0}), NOW) for column in columns]
    assert values == ["run_1", NOW, 4.0, "8", None]


def test_every_column_that_is_none_is_named() -> None:
    with pytest.raises(Invalid, match="2 problems") as caught:
        parse_columns(["id", "colour", "metrics.", "metrics.mae"])
    assert [problem.found for problem in caught.value.problems] == ["'colour'", "'metrics.'"]


def test_without_columns_the_metrics_that_most_runs_have_come_first() -> None:
    shared = dict.fromkeys(("cost", *"bcdef"), 1.0)
    found = [data(shared), data({**shared, "z": 1.0, "y": 1.0})]
    columns, hidden = usual_columns(found)
    assert [column.key for column in columns if column.group] == list("bcdef")
    assert hidden == 3
    assert usual_columns([])[1] == 0


def test_a_run_that_goes_on_has_lasted_until_now() -> None:
    going = Run(id="run_1", kind="k", name="n", status=RunStatus.RUNNING, actor="a", started_at=NOW)
    [column] = parse_columns(["duration"])
    later = NOW + timedelta(hours=1)
    assert column.value(data({}, run=going), later) == timedelta(hours=1)
    assert column.value(data({}), later) == timedelta(seconds=90)
    assert described(data({"mae": math.nan}), (), later)["metrics"] == {"mae": "NaN"}


# Where runs differ


def test_only_what_differs_is_shown_and_everything_where_it_is_asked_for() -> None:
    compared = compare(
        [
            record({Section.METRICS: {"mae": 4.0, "r2": 0.5}, Section.PARAMS: {"depth": "8"}}),
            record({Section.METRICS: {"mae": 3.0, "r2": 0.5}}, "run_2"),
        ]
    )
    assert [row.name for row in compared.differences] == ["depth", "mae"]
    assert str(compared).splitlines() == [
        "         bikes  bikes",
        "         run_1  run_2",
        "params",
        "  depth  8      -",
        "metrics",
        "  mae    4      3      -25.0%",
    ]
    assert "r2" in compared.text(everything=True)


def test_equal_runs_have_no_difference() -> None:
    facts: dict[Section, Mapping[str, Fact]] = {Section.METRICS: {"mae": math.nan}}
    compared = compare([record(facts), record(facts, "run_2"), record(facts, "run_3")])
    assert compared.differences == ()
    assert str(compared).endswith("no difference in 1 recorded fact")


def test_what_one_run_did_not_record_is_one_line_and_not_hundreds() -> None:
    packages: dict[str, Fact] = {f"package-{number}": "1.0" for number in range(200)}
    [row] = compare(
        [record({Section.ENVIRONMENT: packages}), record({}, "run_2")],
    ).rows
    assert row.values == ("200 recorded", None)


def test_long_texts_are_shown_from_where_they_part() -> None:
    one, other = "x" * 500 + " left", "x" * 500 + " right"
    shown = str(compare([record({Section.TAGS: {"t": one}}), record({Section.TAGS: {"t": other}})]))
    assert "left" in shown
    assert "right" in shown
    assert max(map(len, shown.splitlines())) < 100


@given(
    values=st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=80)), min_size=2, max_size=4)
)
def test_a_difference_is_always_seen(values: list[float | str | None]) -> None:
    row = Row(section=Section.TAGS, name="t", values=tuple(values))
    alike = all(
        value == values[0] or (value != value and values[0] != values[0]) for value in values
    )
    assert row.differs is not alike
    compared = compare([record({Section.TAGS: {} if v is None else {"t": v}}) for v in values])
    assert bool(compared.differences) is not alike
    assert isinstance(str(compared), str)


def test_the_facts_of_a_run_are_what_it_logged_and_was_made_with(
    any_workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "project of code"
    folder.mkdir()
    blobs = any_workspace.blobs
    for number in (1, 2):
        (folder / "pipeline.py").write_text(f"depth = {number}\n")
        (folder / "same.py").write_text("")
        with any_workspace.transaction() as tx:
            run = started(tx, f"run_{number}", "bikes")
            log_params(tx, run.id, {"depth": number, "seed": 0})
            log_metrics(tx, run.id, {"mae": 4.0 / number})
            set_tags(tx, run.id, {"team": "a"})
            record_provenance(tx, blobs, run.id, capture_code(folder))
            lock = blobs.put(f"# python 3.11.{number}\nnumpy==2.1.0\n".encode())
            log_artifact(tx, run.id, "environment.txt", lock, bytes=1, media="text/plain")
            if number == 2:
                finish_run(tx, run.id, RunStatus.FINISHED)
    with any_workspace.reading() as tx:
        compared = compare([run_record(tx, blobs, run_id) for run_id in ("run_1", "run_2")])
    differing = {(row.section, row.name) for row in compared.differences}
    assert differing == {
        (Section.RUN, "status"),
        (Section.PARAMS, "depth"),
        (Section.METRICS, "mae"),
        (Section.CODE, "digest"),
        (Section.CODE, "code.zip"),
        (Section.FILES, "pipeline.py"),
        (Section.ENVIRONMENT, "python"),
    }


def test_a_run_that_a_client_logged_has_the_commit_that_it_told(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        run = create_run(tx, "0", name="r", tags={"mlflow.source.git.commit": "a" * 40}).run
        facts = run_record(tx, any_workspace.blobs, run.id).facts
    assert facts[Section.CODE] == {"commit": "a" * 40}
    assert facts[Section.RUN]["experiment"] == "Default"
    assert not facts[Section.ENVIRONMENT]


def test_runs_are_told_apart_by_the_datasets_that_they_used(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        ids = [create_run(tx, "0", name="r").run.id for _ in range(2)]
        for number, run_id in enumerate(ids):
            used = [
                DatasetInput(
                    dataset=Dataset(name=name, digest=digest, source_type="file", source="{}"),
                    tags={CONTEXT_TAG: "training"} if name == "bikes" else {},
                )
                for name, digest in (("bikes", f"d{number}"), ("holidays", "h"))
            ]
            log_inputs(tx, run_id, used)
        compared = compare([run_record(tx, any_workspace.blobs, run_id) for run_id in ids])
    data = {row.name: row.values for row in compared.rows if row.section is Section.DATA}
    assert data == {"bikes (training)": ("d0", "d1"), "holidays": ("h", "h")}
