"""The user's own pipeline.py: steps in the place of Everfit's, between them, and as candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from everfit import data, registry
from everfit.errors import PipelineInvalid, PolicyInvalid, SplitLeak, StepFailed
from everfit.kernel import Workspace
from everfit.steps import RunStep, StepPool, load_value, run_steps
from everfit.training import CandidateSpec, TrainingRequest, collect_history, load_pipeline, train

Make = Callable[..., TrainingRequest]
HEAD = """
import numpy as np
import polars as pl
from pathlib import Path
from everfit.data import Schema, Source, Split, collect, segregate
"""


def written(request: TrainingRequest, body: str) -> Path:
    # A name of its own: warm processes that know one of the same name would start anew.
    path = request.base / f"{request.base.name}.py"
    path.write_text(HEAD + dedent(body))
    return path


def test_history_is_what_the_users_own_steps_make_of_the_source(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def collected(source: Source) -> pl.DataFrame:
        return collect(source, base=Path()).filter(pl.col("hr") < 12)


    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        return collected.with_columns(warm=pl.col("temp") > 0.5)
    """
    request = bike(as_of=datetime(2011, 1, 5, tzinfo=UTC))
    request = replace(request, pipeline=written(request, body))
    rows, schema = collect_history(workspace, request, run_id="run_1", pool=pool)
    assert (schema.time, schema.target) == ("time", "cnt")
    assert rows["hr"].max() == 11
    assert rows.schema["warm"] == pl.Boolean
    latest = rows["time"].max()
    assert isinstance(latest, datetime)
    assert latest.month == 3
    steps = {step.name for step in _steps(workspace)}
    assert steps == {"collected", "prepared", "schema", "cleaned"}


def _steps(workspace: Workspace) -> list[RunStep]:
    with workspace.reading() as tx:
        return run_steps(tx, "run_1")


def test_a_function_that_returns_an_estimator_is_a_candidate(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def habit(segregated: Split, by: str = "season", seed: int = 0) -> Pipeline:
        assert seed == 11
        names = [column.name for column in segregated.schema.features]
        means = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [by]))
        model = make_pipeline(means, LinearRegression())
        return model.fit(segregated.train[names], segregated.train["cnt"].to_numpy())
    """
    spec = CandidateSpec(name="habit", search={"by": ["hr", "weekday", "season"]})
    request = bike(candidates=(spec, CandidateSpec(name="linear")), trials=8, seed=11)
    result = train(
        workspace,
        replace(request, pipeline=written(request, body)),
        run_id="run_1",
        pool=pool,
    )
    best = result.leaderboard[0]
    assert (best.name, best.params) == ("habit", {"by": "hr"})
    assert result.version.algorithm == "habit"
    # It learned from the validation rows too in the end.
    fitted = registry.load_package(workspace, result.version)
    test = load_value(workspace, result.test)
    with workspace.reading() as tx:
        rows = data.load_version(tx, workspace.blobs, result.dataset)
    learned = rows.join(test, on="time", how="anti")
    hour = test["hr"][0]
    mean = learned.filter(pl.col("hr") == hour)["cnt"].mean()
    assert fitted.predict(test[:1])[0] == pytest.approx(mean)


CONSTANT = """
class Mean:
    def predict(self, frame: pl.DataFrame) -> list[float]:
        return [100.0] * frame.height

def mean(segregated: Split) -> Mean:
    return Mean()
"""


def test_a_class_of_the_pipeline_file_is_a_candidate_and_its_code_counts(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike(candidates=(CandidateSpec(name="mean"),))
    request = replace(request, pipeline=written(request, CONSTANT))
    first = train(workspace, request, run_id="run_1", pool=pool)
    test = load_value(workspace, first.test)
    fitted = registry.load_package(workspace, first.version)
    assert fitted.predict(test[:2]).tolist() == [100.0, 100.0]
    # The object is the same, only what it does is not: nothing made with it is found again.
    written(request, CONSTANT.replace("100.0", "200.0"))
    second = train(workspace, request, run_id="run_2", pool=pool)
    fitted = registry.load_package(workspace, second.version)
    assert fitted.predict(test[:2]).tolist() == [200.0, 200.0]
    assert first.leaderboard[0].value != second.leaderboard[0].value


def test_steps_take_the_place_of_everfits_and_stand_between_them(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def collected(source: Source, months: int) -> pl.DataFrame:
        rows = pl.read_csv(source.location)
        return rows.filter(pl.col("mnth") <= months)

    def night(collected: pl.DataFrame) -> pl.Series:
        return collected["hr"] < 6

    def prepared(collected: pl.DataFrame, night: list[bool]) -> pl.DataFrame:
        return collected.with_columns(night=night)

    def told(prepared: pl.DataFrame, schema: Schema) -> int:
        return prepared.height + len(schema.features)
    """
    request = bike(candidates=(CandidateSpec(name="linear"),), params={"months": 2})
    request = replace(request, pipeline=written(request, body))
    result = train(workspace, request, run_id="run_1", pool=pool)
    assert "night" in result.version.require_signature().names
    test = load_value(workspace, result.test)
    assert test["mnth"].max() == 2
    with workspace.reading() as tx:
        steps = {step.name: step for step in run_steps(tx, "run_1")}
        rows = data.load_version(tx, workspace.blobs, result.dataset)
    digest = steps["told"].digest
    assert digest is not None
    assert load_value(workspace, digest) == rows.height + len(
        result.version.require_signature().names
    )


def test_any_step_may_take_the_source_and_reads_it_in_every_run(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    body = """
    def latest(source: Source) -> int:
        return pl.read_csv(source.location)["mnth"].max()

    def prepared(collected: pl.DataFrame, latest: int) -> pl.DataFrame:
        return collected.with_columns(ago=latest - pl.col("mnth"))

    def level(source: Source, segregated: Split) -> float:
        return float(pl.read_csv(source.location)["cnt"].mean())

    class Mean:
        def __init__(self, value: float) -> None:
            self.value = value

        def predict(self, frame: pl.DataFrame) -> list[float]:
            return [self.value] * frame.height

    def mean(segregated: Split, level: float) -> Mean:
        return Mean(level)
    """
    request = bike(candidates=(CandidateSpec(name="mean"),))
    request = replace(request, pipeline=written(request, body))
    for run in ("run_1", "run_2"):
        train(workspace, request, run_id=run, pool=pool)
    with workspace.reading() as tx:
        steps = {step.name: step for step in run_steps(tx, "run_2")}
    # The functions may read more than the file, whose content Everfit knows.
    assert [steps[name].cached for name in ("collected", "latest", "level")] == [True, False, False]


def test_a_split_of_the_users_is_used_if_nothing_leaks(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    body = """
    def segregated(prepared: pl.DataFrame, schema: Schema, leak: bool) -> Split:
        parts = [prepared[:1200], prepared[1200:1600], prepared[1600:]]
        train, validation, test = (parts[0], parts[0], parts[2]) if leak else parts
        return Split(train=train, validation=validation, test=test, schema=schema, how="mine")
    """
    request = adult(candidates=(CandidateSpec(name="linear"),))
    path = written(request, body)
    leaking = replace(request, pipeline=path, params={"leak": True})
    with pytest.raises(SplitLeak):
        train(workspace, leaking, run_id="run_1", pool=pool)
    fair = replace(leaking, params={"leak": False})
    result = train(workspace, fair, run_id="run_2", pool=pool)
    assert load_value(workspace, result.validation).height == 400


def test_the_reference_profile_is_made_by_whoever_knows_how(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),), window_seconds=60.0)
    path = request.base / "maker.py"
    path.write_text(
        "def profile(fitted, segregated, window_seconds):\n"
        "    answers = fitted.predict(segregated.test)\n"
        "    return f'{len(answers)} {window_seconds}'.encode()\n"
    )
    result = train(workspace, request, run_id="run_1", pool=pool, profile_maker=f"{path}:profile")
    rows = load_value(workspace, result.test).height
    assert result.version.profile is not None
    assert workspace.blobs.get(result.version.profile) == f"{rows} 60.0".encode()


def test_a_parameter_the_function_does_not_have_is_refused(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    body = "def mine(segregated: Split, depth: int = 3) -> object: ..."
    request = adult(candidates=(CandidateSpec(name="mine", params={"dept": 4}),))
    request = replace(request, pipeline=written(request, body))
    with pytest.raises(PolicyInvalid, match=r"mine\.dept: .*use one of depth"):
        train(workspace, request, run_id="run_1", pool=pool)


def test_an_error_in_the_users_code_names_step_and_line(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    body = "def prepared(collected: pl.DataFrame) -> pl.DataFrame:\n    return collected['no']"
    request = adult()
    request = replace(request, pipeline=written(request, body))
    with pytest.raises(StepFailed, match=r"'prepared' raised[\s\S]*\.py:7"):
        train(workspace, request, run_id="run_1", pool=pool)


def test_the_names_everfit_gives_are_known_to_a_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.py"
    path.write_text("def forest(segregated: object, depth: int = 8) -> object: ...\n")
    assert load_pipeline(path, {}).steps["forest"].inputs == ("segregated",)
    path.write_text("def forest(segregatd: object) -> object: ...\n")
    with pytest.raises(PipelineInvalid, match="segregatd"):
        load_pipeline(path, {})
