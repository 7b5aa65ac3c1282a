from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import numpy as np
import polars as pl
import pytest
from tests.evaluation.conftest import (
    NEW,
    OLD,
    Breaks,
    Says,
    classification,
    judge,
    regression,
    rows_of,
)

from everfit.errors import DataInvalid
from everfit.evaluation import (
    Approve,
    Better,
    Fair,
    Fast,
    NoWorse,
    Outcome,
    Sufficient,
    Verdict,
    evaluate,
)
from everfit.packages import Field, FittedModel, Kind, Signature


def test_a_clearly_better_candidate_passes_in_plain_words() -> None:
    found = judge(Better(margin=0.01), rows_of(2_000))
    assert found.outcome is Outcome.PASS
    assert "% lower mae than champion v3" in found.summary
    assert "on 2,000 rows" in found.summary
    assert "95% interval" in found.summary
    assert found.summary.endswith("needs 1%")
    low, high = found.numbers["low"], found.numbers["high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert 0.01 < low < 0.2 < high + 0.05


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_a_worse_candidate_fails_by_every_metric(metric: str) -> None:
    found = judge(Better(), rows_of(2_000), candidate=OLD, champion=NEW, metric=metric)
    assert found.outcome is Outcome.FAIL
    assert "higher" in found.summary


def test_a_promising_candidate_on_few_rows_is_undecided_not_passed() -> None:
    rows = rows_of(40, better=0.1, seed=3)
    found = judge(Better(margin=0.05), rows)
    assert found.outcome is Outcome.UNDECIDED


def test_an_equal_candidate_is_never_better() -> None:
    assert judge(Better(), rows_of(500), candidate=OLD).outcome is Outcome.UNDECIDED
    assert judge(Better(margin=0.01), rows_of(500), candidate=OLD).outcome is Outcome.FAIL


def test_chance_passes_the_gate_rarely() -> None:
    """Two models with equally large errors: the better one by luck passes in 2.5% of trials."""
    passed = 0
    for seed in range(300):
        rows = rows_of(300, better=0.0, seed=seed)
        rng = np.random.default_rng(seed)
        truth = rows["y"].to_numpy()
        rows = rows.with_columns(
            old=pl.Series(truth + rng.normal(size=300) * 10),
            new=pl.Series(truth + rng.normal(size=300) * 10),
        )
        passed += judge(Better(), rows).outcome is Outcome.PASS
    assert passed / 300 <= 0.025 + 0.018


def test_dependent_rows_need_more_of_them() -> None:
    """A week in which the candidate is lucky is one observation, not 168."""
    rows = rows_of(24 * 60, better=0.0)
    week = np.random.default_rng(5).normal(size=9)[np.arange(rows.height) // 168]
    rows = rows.with_columns(new=pl.col("y") + (pl.col("old") - pl.col("y")) * (1 - 0.1 * week))
    by_row, in_time = judge(Better(), rows), judge(Better(), rows, time="time")
    assert in_time.numbers["blocks"] is not None
    assert _width(in_time) > 1.5 * _width(by_row)


def test_times_that_cannot_be_read_leave_the_order_of_rows() -> None:
    rows = rows_of(24 * 60, better=0.0).with_columns(time=pl.lit("noon"))
    assert judge(Better(), rows, time="time").numbers["blocks"] == 40


def _width(verdict: Verdict) -> float:
    low, high = verdict.numbers["low"], verdict.numbers["high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    return high - low


def test_the_first_model_must_beat_the_best_constant() -> None:
    found = judge(Better(), rows_of(500), champion=None)
    assert found.outcome is Outcome.PASS
    assert "always answering the median" in found.summary
    constant = rows_of(500).with_columns(new=pl.lit(100.0))
    assert judge(Better(), constant, champion=None).outcome is not Outcome.PASS


def test_a_champion_that_breaks_does_not_block_its_successor() -> None:
    broken = regression(Breaks(), "old")
    found = judge(Better(), rows_of(500), champion=broken)
    assert found.outcome is Outcome.PASS
    assert "champion v3 fails on these rows" in found.summary


def test_a_candidate_that_breaks_fails_every_gate_on_the_rows() -> None:
    broken = regression(Breaks(), "old")
    found = evaluate(
        broken,
        OLD,
        rows_of(300),
        target="y",
        metric="mae",
        gates=[Better(), Fast(p95_ms=9), Approve()],
    )
    assert [(v.gate, v.outcome) for v in found] == [
        ("better", Outcome.FAIL),
        ("fast", Outcome.FAIL),
        ("approve", Outcome.UNDECIDED),
        ("sufficient", Outcome.FAIL),
    ]
    assert "a month it never saw" in found[0].summary


@pytest.mark.parametrize(
    "rows",
    [
        rows_of(300).with_columns(y=pl.lit(None, pl.Float64)),
        rows_of(300).with_columns(y=pl.lit(float("nan"))),
        rows_of(300)[:0],
        rows_of(300)[:1],
    ],
)
def test_without_truth_nothing_passes(rows: pl.DataFrame) -> None:
    found = evaluate(NEW, OLD, rows, target="y", metric="mae", gates=[Better(), NoWorse()])
    assert {verdict.outcome for verdict in found} == {Outcome.UNDECIDED}


def test_rows_without_the_target_are_refused() -> None:
    with pytest.raises(DataInvalid, match="no column 'y'"):
        evaluate(NEW, OLD, rows_of(300).drop("y"), target="y", metric="mae")


CHANCE, FLIP = classification("chance"), classification("flip")


def people(n: int, *, found_of_women: float, seed: int = 0) -> pl.DataFrame:
    """Rows of men, who are found in 80% of true cases, and women, in ``found_of_women``."""
    rng = np.random.default_rng(seed)
    women = rng.random(n) < 0.4
    truth = rng.random(n) < 0.5
    hit = rng.random(n) < np.where(women, found_of_women, 0.8)
    chance = np.where(truth, np.where(hit, 0.9, 0.2), np.where(rng.random(n) < 0.2, 0.8, 0.1))
    return pl.DataFrame(
        {
            "y": np.where(truth, "yes", "no"),
            "chance": chance,
            "flip": 1 - chance,
            "sex": np.where(women, "w", "m"),
            "age": rng.uniform(18, 80, n),
        }
    )


FAIR = Fair(across=("sex",), equal_opportunity=(0.8, 1.25))


@pytest.mark.parametrize(
    ("n", "found_of_women", "outcome"),
    [
        (4_000, 0.8, Outcome.PASS),
        (4_000, 0.5, Outcome.FAIL),
        (4_000, 0.66, Outcome.UNDECIDED),
        (150, 0.8, Outcome.UNDECIDED),
    ],
)
def test_fairness_is_judged_by_the_whole_interval(
    n: int, found_of_women: float, outcome: Outcome
) -> None:
    rows = people(n, found_of_women=found_of_women)
    found = judge(FAIR, rows, candidate=CHANCE, champion=None, metric="accuracy")
    assert found.outcome is outcome, found.summary


def test_fairness_across_a_number_compares_its_quarters() -> None:
    gate = Fair(across=("age",), demographic_parity=(0.7, 1.4))
    rows = people(8_000, found_of_women=0.8)
    found = judge(gate, rows, candidate=CHANCE, champion=None, metric="accuracy")
    assert (found.outcome, found.numbers["ratios"]) == (Outcome.PASS, 3)


def test_fairness_that_cannot_be_judged_is_undecided() -> None:
    rows = people(1_000, found_of_women=0.8)
    for gate, frame in ((FAIR, rows.drop("sex")), (FAIR, rows.with_columns(sex=pl.lit("m")))):
        found = judge(gate, frame, candidate=CHANCE, champion=None, metric="accuracy")
        assert found.outcome is Outcome.UNDECIDED
    assert judge(FAIR, rows_of(500)).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "f1", "roc_auc"])
def test_classifiers_are_compared_by_every_metric(metric: str) -> None:
    rows = people(1_000, found_of_women=0.8)
    for champion in (FLIP, None):
        found = judge(Better(), rows, candidate=CHANCE, champion=champion, metric=metric)
        assert found.outcome is Outcome.PASS, found.summary
    found = judge(Better(), rows, candidate=FLIP, champion=CHANCE, metric=metric)
    assert found.outcome is Outcome.FAIL, found.summary


def test_roc_auc_of_one_class_is_undecided_and_says_why() -> None:
    rows = people(500, found_of_women=0.8).filter(pl.col("y") == "yes")
    found = judge(Better(), rows, candidate=CHANCE, champion=FLIP, metric="roc_auc")
    assert found.outcome is Outcome.UNDECIDED
    assert "roc_auc needs" in found.summary


def test_labels_are_the_same_whatever_type_holds_them() -> None:
    fields = (Field(name="x", kind=Kind.INTEGER),)
    output = Field(name="y", kind=Kind.INTEGER)
    signature = Signature(inputs=fields, output=output, task="classification", classes=(0, 1))
    model = FittedModel(Says("x"), signature)
    x = np.arange(400) % 2
    for truth in (pl.Series(x), pl.Series(x).cast(pl.Float64), pl.Series(x).cast(pl.String)):
        rows = pl.DataFrame({"x": x, "y": truth})
        found = judge(Better(), rows, candidate=model, champion=None, metric="accuracy")
        assert found.numbers["value"] == 1.0


def ticking(milliseconds: float) -> Callable[[], float]:
    """Return a timer by which every measured call takes so long."""
    ticks = count()
    return lambda: next(ticks) * milliseconds / 1000


@pytest.mark.parametrize(("took", "outcome"), [(5.0, Outcome.PASS), (30.0, Outcome.FAIL)])
def test_speed_is_the_95th_percentile_of_single_rows(took: float, outcome: Outcome) -> None:
    found = evaluate(
        NEW,
        OLD,
        rows_of(50),
        target="y",
        metric="mae",
        gates=[Fast(p95_ms=20)],
        timer=ticking(took),
    )[0]
    assert found.outcome is outcome
    assert found.numbers["rows"] == 200
    assert found.numbers["p95_ms"] == pytest.approx(took)


@pytest.mark.parametrize(
    ("approvals", "outcome", "said"),
    [
        ((), Outcome.UNDECIDED, "nobody approved yet; waits for 2 people other than the author"),
        (("ann", "ann", "bo"), Outcome.UNDECIDED, "approved by ann; waits for 1 person"),
        (("ann", "Ann", "BO"), Outcome.UNDECIDED, "waits for 1 person"),
        (("ann", "cy"), Outcome.PASS, "approved by ann, cy"),
    ],
)
def test_approval_waits_for_different_people_who_are_not_the_author(
    approvals: tuple[str, ...], outcome: Outcome, said: str
) -> None:
    found = evaluate(
        NEW,
        OLD,
        rows_of(50),
        target="y",
        metric="mae",
        author="bo",
        gates=[Approve(people=2, not_author=True)],
        approvals=approvals,
    )[0]
    assert found.outcome is outcome
    assert said in found.summary


def test_sufficiency_says_how_many_rows_are_missing() -> None:
    few = judge(Sufficient(relative=0.05), rows_of(200))
    assert few.outcome is Outcome.UNDECIDED
    assert "about" in few.summary
    needed = few.numbers["rows_needed"]
    assert isinstance(needed, int)
    assert judge(Sufficient(relative=0.05), rows_of(2 * needed)).outcome is Outcome.PASS


@pytest.mark.parametrize("time", [None, "time"])
def test_a_few_equal_errors_are_not_sufficient(time: str | None) -> None:
    rows = rows_of(60).with_columns(new=pl.col("y") + 1)
    for few in (2, 29):
        found = judge(Sufficient(), rows[:few], time=time)
        assert found.outcome is Outcome.UNDECIDED
        assert "and at least 30 rows" in found.summary
        assert found.numbers["rows_needed"] == 30
    assert judge(Sufficient(), rows[:30], time=time).outcome is Outcome.PASS


def test_no_gates_at_all_is_not_the_same_as_the_default_ones() -> None:
    rows = rows_of(2_000)
    found = evaluate(NEW, OLD, rows, target="y", metric="mae")
    assert [verdict.gate for verdict in found] == ["better", "no_worse", "sufficient"]
    found = evaluate(NEW, OLD, rows, target="y", metric="mae", gates=())
    assert [verdict.gate for verdict in found] == ["sufficient"]


def counting(column: str) -> FittedModel:
    """A model that takes whole numbers only."""
    fields = (Field(name=column, kind=Kind.INTEGER),)
    output = Field(name="y", kind=Kind.NUMBER)
    return FittedModel(Says(column), Signature(inputs=fields, output=output, task="regression"))


def test_a_champion_that_cannot_take_the_rows_is_replaced_by_the_baseline() -> None:
    rows = rows_of(500)
    found = judge(Better(), rows, champion=counting("old"))
    assert found.outcome is Outcome.PASS
    assert "always answering the median" in found.summary
    assert "(champion v3 cannot take these rows)" in found.summary


def test_a_candidate_that_cannot_take_the_rows_fails_and_says_which() -> None:
    for rows in (rows_of(500).with_columns(new=pl.lit(3.5)), rows_of(500).drop("new")):
        for gate in (Better(), NoWorse(), Fast(p95_ms=9)):
            found = judge(gate, rows, candidate=counting("new"))
            assert found.outcome is Outcome.FAIL
            assert "the candidate cannot take these rows: " in found.summary
            assert "new" in found.summary


def test_clusters_must_be_better_than_none() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 400)
    rows = pl.DataFrame(
        {"a": group * 5 + rng.normal(size=400), "own": group, "dice": rng.integers(0, 2, 400)}
    )
    fields = tuple(Field(name=name, kind=Kind.NUMBER) for name in rows.columns)
    output = Field(name="cluster", kind=Kind.INTEGER)
    signature = Signature(inputs=fields[:1] + fields[1:], output=output, task="clustering")
    good, bad = (FittedModel(Says(name), signature) for name in ("own", "dice"))
    outcomes = {}
    for name, model in (("good", good), ("bad", bad)):
        verdicts = evaluate(model, None, rows, target=None, metric="silhouette", gates=[Better()])
        outcomes[name] = verdicts[0].outcome
    assert outcomes["good"] is Outcome.PASS
    lost = rows.drop("own")
    fields = tuple(field for field in fields if field.name != "own")
    narrow = FittedModel(Says("dice"), replace(signature, inputs=fields))
    told = evaluate(narrow, good, lost, target=None, metric="silhouette", gates=[Better()])[0]
    assert "(the champion cannot take these rows)" in told.summary
    unable = evaluate(good, None, lost, target=None, metric="silhouette", gates=[Better()])[0]
    assert unable.outcome is Outcome.FAIL
    versus = evaluate(bad, good, rows, target=None, metric="silhouette", gates=[Better()])[0]
    assert versus.outcome is not Outcome.PASS
