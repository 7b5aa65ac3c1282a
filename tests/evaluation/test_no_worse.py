from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.evaluation.conftest import OLD, judge, rows_of

from everfit.evaluation import Better, NoWorse, Outcome


def test_a_harmed_slice_fails_although_the_whole_is_better() -> None:
    rows = rows_of(4_000, better=0.4, harmed=0.3)
    assert judge(Better(), rows).outcome is Outcome.PASS
    found = judge(NoWorse(margin=0.05), rows)
    assert found.outcome is Outcome.FAIL
    assert "kind = b" in found.summary


def test_slices_together_clear_a_model_that_is_better_everywhere() -> None:
    rows = rows_of(4_000, better=0.1)
    spread = rows.with_columns(kind=pl.Series(np.arange(4_000) % 16).cast(pl.String))
    found = judge(NoWorse(margin=0.05), spread)
    assert (found.outcome, found.numbers["slices"]) == (Outcome.PASS, 16)


def test_one_harmed_slice_among_many_is_not_cleared_by_the_others() -> None:
    outcomes = []
    for seed in range(20):
        rows = rows_of(4_000, better=0.1, seed=seed)
        rows = rows.with_columns(kind=pl.Series(np.arange(4_000) % 16).cast(pl.String))
        error = (pl.col("old") - pl.col("y")) * 1.4
        harmed = pl.when(pl.col("kind") == "7").then(pl.col("y") + error).otherwise(pl.col("new"))
        outcomes.append(judge(NoWorse(margin=0.05), rows.with_columns(new=harmed)).outcome)
    assert Outcome.PASS not in outcomes


def test_small_slices_are_not_looked_at() -> None:
    assert judge(NoWorse(min_rows=5_000), rows_of(1_000)).numbers["slices"] == 0


def flawless_in_b(n: int = 4_000, *, errors_in_b: int = 0) -> pl.DataFrame:
    """Rows on which only the old model's a-rows err; the new one errs less, and a little in b."""
    rng = np.random.default_rng(0)
    kind = np.where(np.arange(n) % 4, "a", "b")
    truth, error = rng.gamma(4, 25, n), rng.normal(size=n) * 10 * (kind == "a")
    slip = np.zeros(n)
    slip[np.flatnonzero(kind == "b")[:errors_in_b]] = 10.0
    return pl.DataFrame(
        {"y": truth, "old": truth + error, "new": truth + error * 0.8 + slip, "kind": kind}
    )


def test_a_slice_in_which_neither_model_errs_is_not_worse() -> None:
    found = judge(NoWorse(margin=0.05), flawless_in_b())
    assert (found.outcome, found.numbers["undecided"]) == (Outcome.PASS, 0), found.summary
    assert found.numbers["kind = b: difference"] == 0.0
    # The same answers are no worse anywhere, whatever their errors, at any margin.
    same = judge(NoWorse(margin=0.0), rows_of(2_000), candidate=OLD)
    assert same.outcome is Outcome.PASS, same.summary


@pytest.mark.parametrize(
    ("errors_in_b", "outcome"), [(1, Outcome.PASS), (40, Outcome.UNDECIDED), (400, Outcome.FAIL)]
)
def test_where_the_champion_loses_nothing_the_margin_is_of_its_loss_over_all_rows(
    errors_in_b: int, outcome: Outcome
) -> None:
    """5% of a mean error of about 6 is 0.3: 1 slip of 10 in 1,000 rows is 0.01, 400 are 4."""
    found = judge(NoWorse(margin=0.05), flawless_in_b(errors_in_b=errors_in_b))
    assert found.outcome is outcome, found.summary
    if outcome is Outcome.FAIL:
        assert "kind = b (a loss of 4 against none on 1,000 rows)" in found.summary


def test_a_flawless_champion_is_not_followed_by_one_that_errs() -> None:
    rows = flawless_in_b().with_columns(old=pl.col("y"))
    assert judge(NoWorse(), rows).outcome is Outcome.FAIL
    assert judge(NoWorse(), rows, candidate=OLD).outcome is Outcome.PASS
