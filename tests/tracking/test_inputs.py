"""What runs used and made is kept with them, found by it, and read in bulk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from everfit.errors import Invalid, NotFound
from everfit.filters import RUNS, parse_filter
from everfit.kernel import Transaction, Workspace
from everfit.tracking import (
    CONTEXT_TAG,
    Dataset,
    DatasetInput,
    DatasetSummary,
    ModelOutput,
    RunSearch,
    append_to_tag,
    create_experiment,
    create_run,
    delete_run,
    get_run_data,
    log_inputs,
    log_outputs,
    search_datasets,
    search_runs,
    set_tags,
    tags,
)


def used(
    name: str, context: str | None = None, *, digest: str = "1", schema: str | None = None
) -> DatasetInput:
    dataset = Dataset(name=name, digest=digest, source_type="local", source="a.csv", schema=schema)
    return DatasetInput(dataset=dataset, tags={} if context is None else {CONTEXT_TAG: context})


def new_run(tx: Transaction, experiment: str) -> str:
    return create_run(tx, experiment).run.id


@pytest.fixture
def experiment(any_workspace: Workspace) -> str:
    with any_workspace.transaction() as tx:
        return create_experiment(tx, "bikes").id


def test_a_run_keeps_what_it_used_and_made(any_workspace: Workspace, experiment: str) -> None:
    late, early = used("late", "train", schema="{}"), used("early", "eval")
    with any_workspace.transaction() as tx:
        run = new_run(tx, experiment)
        log_inputs(tx, run, [late, early], ["m-2", "m-1"])
        log_outputs(tx, run, [ModelOutput(model="m-4", step=7), ModelOutput(model="m-3", step=-1)])
    with any_workspace.reading() as tx:
        data = get_run_data(tx, run)
        assert search_runs(tx, RunSearch(experiments=[experiment])) == ([data], False)
    assert data.datasets == (late, early)
    assert data.models == ("m-1", "m-2")
    assert data.outputs == (ModelOutput(model="m-3", step=-1), ModelOutput(model="m-4", step=7))


def test_to_say_it_again_changes_nothing_but_the_step(
    any_workspace: Workspace, experiment: str
) -> None:
    with any_workspace.transaction() as tx:
        run = new_run(tx, experiment)
        log_inputs(tx, run, [used("a", "train"), used("a", "eval")], ["m-1", "m-1"])
        log_inputs(tx, run, [used("a", "test")], ["m-1"])
        log_outputs(tx, run, [ModelOutput(model="m-1", step=1), ModelOutput(model="m-1", step=2)])
        log_outputs(tx, run, [ModelOutput(model="m-1", step=3)])
        data = get_run_data(tx, run)
    assert data.datasets == (used("a", "train"),)
    assert (data.models, data.outputs) == (("m-1",), (ModelOutput(model="m-1", step=3),))


def test_a_dataset_is_described_once_in_an_experiment(
    any_workspace: Workspace, experiment: str
) -> None:
    with any_workspace.transaction() as tx:
        other = create_experiment(tx, "other").id
        runs = [new_run(tx, one) for one in (experiment, experiment, other)]
        for run, schema in zip(runs, ["first", "second", "third"], strict=True):
            log_inputs(tx, run, [used("a", schema=schema)])
        found = [get_run_data(tx, run).datasets[0].dataset.schema for run in runs]
    assert found == ["first", "first", "third"]


FILTERS: dict[str, set[int]] = {
    "datasets.name = 'a'": {0, 1},
    "dataset.name != 'a'": {1, 2},
    "datasets.name LIKE 'b%' AND datasets.context = 'train'": {1},
    "datasets.digest IN ('2', '3')": {2},
    "datasets.digest NOT IN ('1')": {2},
    "datasets.context = 'train'": {0, 1},
    "datasets.context != 'train'": {1},
    "datasets.context ILIKE 'EV%'": {1},
    "datasets.name = 'a' AND tags.team = 'red'": {1},
    "datasets.name = 'c' AND datasets.name = 'a'": set(),
}


def test_runs_are_found_by_their_datasets(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        runs = [new_run(tx, experiment) for _ in range(4)]
        log_inputs(tx, runs[0], [used("a", "train")])
        log_inputs(tx, runs[1], [used("a", "train"), used("b", "eval")])
        log_inputs(tx, runs[2], [used("c", digest="2")])
        set_tags(tx, runs[1], {"team": "red"})
        for text, wanted in FILTERS.items():
            search = RunSearch(experiments=[experiment], clauses=parse_filter(text, RUNS))
            found, _ = search_runs(tx, search)
            assert {runs.index(data.run.id) for data in found} == wanted, text


def test_datasets_are_listed_once_for_each_context(
    any_workspace: Workspace, experiment: str
) -> None:
    with any_workspace.transaction() as tx:
        other = create_experiment(tx, "other").id
        runs = [new_run(tx, experiment) for _ in range(3)]
        log_inputs(tx, runs[0], [used("b", "train"), used("a")])
        log_inputs(tx, runs[1], [used("b", "train")])
        log_inputs(tx, runs[2], [used("b", "eval")])
        log_inputs(tx, new_run(tx, other), [used("c")])
        delete_run(tx, runs[2])
        found = search_datasets(tx, [experiment])
        assert [(one.name, one.context) for one in found] == [
            ("a", None),
            ("b", "eval"),
            ("b", "train"),
        ]
        assert search_datasets(tx, [other, "99"]) == [
            DatasetSummary(experiment=other, name="c", digest="1")
        ]
        assert search_datasets(tx, []) == []


def test_every_text_that_cannot_be_kept_is_named(any_workspace: Workspace, experiment: str) -> None:
    long = DatasetInput(
        dataset=Dataset(
            name="n" * 501,
            digest="d" * 37,
            source_type="local",
            source="s" * 65_536,
            schema="{" * 1_048_576,
            profile="{" * 16_777_216,
        ),
        tags={"k" * 256: "v" * 501, "nul": "\0"},
    )
    with any_workspace.transaction() as tx:
        run = new_run(tx, experiment)
        with pytest.raises(Invalid) as refused:
            log_inputs(tx, run, [used("fine"), long])
        assert [problem.path.partition(" ")[0] for problem in refused.value.problems] == [
            *(f"datasets[1].{part}" for part in ("name", "digest", "source", "schema", "profile")),
            *["datasets[1].tags"] * 3,
        ]
        with pytest.raises(Invalid, match="3 problems"):
            log_inputs(tx, run, [used("fine")], ["", "x" * 256, "a\0"])
        with pytest.raises(Invalid, match="step 9223372036854775808"):
            log_outputs(tx, run, [ModelOutput(model="m-1", step=2**63)])
        data = get_run_data(tx, run)
    assert (data.datasets, data.models, data.outputs) == ((), (), ())


def test_a_run_that_is_not_there_takes_nothing(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        deleted = new_run(tx, experiment)
        delete_run(tx, deleted)
        for run, error in (("run_9", NotFound), (deleted, Invalid)):
            with pytest.raises(error):
                log_inputs(tx, run, [used("a")])
            with pytest.raises(error):
                log_outputs(tx, run, [ModelOutput(model="m-1")])
            with pytest.raises(error):
                append_to_tag(tx, run, "history", {})


@contextmanager
def counted(workspace: Workspace) -> Iterator[list[str]]:
    """Collect the statements that are run."""
    statements: list[str] = []

    def note(*given: object) -> None:
        statements.append(str(given[2]))

    sa.event.listen(workspace.engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(workspace.engine, "before_cursor_execute", note)


def test_a_page_costs_as_many_statements_as_one_run(
    any_workspace: Workspace, experiment: str
) -> None:
    def cost() -> tuple[int, int]:
        with any_workspace.reading() as tx, counted(any_workspace) as statements:
            found, _ = search_runs(tx, RunSearch(experiments=[experiment]))
        return len(found), len(statements)

    def add(tx: Transaction, number: int) -> None:
        run = new_run(tx, experiment)
        log_inputs(tx, run, [used(f"d{number}")], ["m-1"])
        log_outputs(tx, run, [ModelOutput(model="m-2")])

    with any_workspace.transaction() as tx:
        add(tx, 0)
    first = cost()
    with any_workspace.transaction() as tx:
        for number in range(20):
            add(tx, number)
    assert (first[0], cost()) == (1, (21, first[1]))


def test_a_list_in_a_tag_grows(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        run = new_run(tx, experiment)
        append_to_tag(tx, run, "history", {"a": 1})
        append_to_tag(tx, run, "history", [2])
        assert tags(tx, run)["history"] == '[{"a": 1}, [2]]'
        for text in ("no JSON", "{}"):
            set_tags(tx, run, {"history": text})
            with pytest.raises(Invalid, match="no JSON list"):
                append_to_tag(tx, run, "history", 3)
        set_tags(tx, run, {"history": "[]"})
        with pytest.raises(Invalid, match="8,000"):
            append_to_tag(tx, run, "history", "x" * 8_000)
