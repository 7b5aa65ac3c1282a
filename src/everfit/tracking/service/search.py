"""Runs and experiments that fit a filter, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everfit.kernel import Transaction
from everfit.tracking.model import Experiment, ExperimentSearch, RunData, RunSearch
from everfit.tracking.service.runs import load_runs
from everfit.tracking.store import experiments as experiment_store
from everfit.tracking.store.find import find_experiments
from everfit.tracking.store.search import find_runs


def search_runs(tx: Transaction, search: RunSearch) -> tuple[list[RunData], bool]:
    """Return the runs that fit, in order, and whether there are more behind them."""
    numbers = find_runs(tx, replace(search, limit=search.limit + 1))
    return load_runs(tx, numbers[: search.limit]), len(numbers) > search.limit


def search_experiments(tx: Transaction, search: ExperimentSearch) -> tuple[list[Experiment], bool]:
    """Return the experiments that fit, in order, and whether there are more behind them."""
    ids: Sequence[str] = find_experiments(tx, replace(search, limit=search.limit + 1))
    return experiment_store.by_id(tx, ids[: search.limit]), len(ids) > search.limit
