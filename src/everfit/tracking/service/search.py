"""Runs and experiments that fit a filter, page by page, and the one run that a person means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everfit.errors import Invalid, NotFound, Problem
from everfit.filters import RUNS, parse_filter, parse_order
from everfit.kernel import Transaction
from everfit.tracking.model import (
    Experiment,
    ExperimentSearch,
    Run,
    RunData,
    RunQuery,
    RunSearch,
    Stage,
)
from everfit.tracking.service.experiments import find_experiment
from everfit.tracking.service.runs import load_runs
from everfit.tracking.store import experiments as experiment_store
from everfit.tracking.store import runs as run_store
from everfit.tracking.store.find import find_experiments
from everfit.tracking.store.search import find_runs

MOST_EXPERIMENTS = 10_000
MOST_NAMED = 10


def search_runs(tx: Transaction, search: RunSearch) -> tuple[list[RunData], bool]:
    """Return the runs that fit, in order, and whether there are more behind them."""
    numbers = find_runs(tx, replace(search, limit=search.limit + 1))
    return load_runs(tx, numbers[: search.limit]), len(numbers) > search.limit


def search_experiments(tx: Transaction, search: ExperimentSearch) -> tuple[list[Experiment], bool]:
    """Return the experiments that fit, in order, and whether there are more behind them."""
    ids: Sequence[str] = find_experiments(tx, replace(search, limit=search.limit + 1))
    return experiment_store.by_id(tx, ids[: search.limit]), len(ids) > search.limit


def query_runs(tx: Transaction, query: RunQuery) -> tuple[list[RunData], bool]:
    """Return the runs that a person asks for, and whether there are more behind them.

    Raises
    ------
    Invalid
        If the filter or the order cannot be read.
    NotFound
        If an experiment that is named is not there.
    """
    clauses, orders = parse_filter(query.filter, RUNS), parse_order(query.order_by, RUNS)
    stages = (Stage.ACTIVE, Stage.DELETED) if query.deleted else (Stage.ACTIVE,)
    search = RunSearch(
        experiments=_experiments(tx, query.experiments, stages),
        stages=stages,
        clauses=clauses,
        orders=orders,
        limit=query.limit,
    )
    return search_runs(tx, search)


def _experiments(tx: Transaction, names: Sequence[str], stages: Sequence[Stage]) -> list[str]:
    if not names:
        every = ExperimentSearch(stages=stages, limit=MOST_EXPERIMENTS)
        return [experiment.id for experiment in search_experiments(tx, every)[0]]
    found = {name: find_experiment(tx, name) for name in names}
    problems = [
        Problem(path=name, found="no experiment of this name", remedy="check how it is written")
        for name, experiment in found.items()
        if experiment is None
    ]
    if problems:
        raise NotFound.of("the search", problems, hint="Leave the experiments out to search all.")
    return [experiment.id for experiment in found.values() if experiment is not None]


def resolve_run(tx: Transaction, reference: str) -> Run:
    """Return the run of that id, or the only one whose id begins so or that is called so.

    Deleted runs are found by their whole id alone.

    Raises
    ------
    NotFound
        If there is none.
    Invalid
        If several are meant, with each of them.
    """
    if run_store.find(tx, reference) is not None:
        return run_store.get_run(tx, reference)
    found = run_store.runs_meant(tx, reference, limit=MOST_NAMED + 1) if reference else []
    if not found:
        raise NotFound(
            f"no run in project {tx.project!r} has an id that begins with {reference!r}, or is "
            "called so",
            hint="List the runs with `everfit runs`.",
            run=reference,
        )
    if len(found) > 1:
        shown = "".join(
            f"\n  {run.id}  {run.name} ({run.kind}, {run.started_at:%Y-%m-%d %H:%M})"
            for run in found[:MOST_NAMED]
        )
        more = "\n  and more" if len(found) > MOST_NAMED else ""
        raise Invalid(
            f"{reference!r} may mean several runs:{shown}{more}",
            hint="Give one of these ids, or as much of it as only one has.",
            run=reference,
        )
    return found[0]
