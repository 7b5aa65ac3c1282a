"""A training is run again from its record: the same bytes, nearly the same values, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from everfit import tracking
from everfit.data import Expectation
from everfit.errors import Conflict, Invalid, NotFound
from everfit.kernel import Workspace
from everfit.reproduction import Likeness, Reproduction, Verdict, reproduce_run
from everfit.steps import StepPool, run_steps, store_value
from everfit.training import CandidateSpec, TrainingRequest, get_recipe, train
from everfit.training.service import record_recipe

Make = Callable[..., TrainingRequest]
Reproduce = Callable[..., Reproduction]
HEAD = """
import random
import polars as pl
from pathlib import Path
from everfit.data import Source, Split
"""
LINEAR = (CandidateSpec(name="linear"),)
PROFILE = "everfit.monitoring.profile:profiled"


@pytest.fixture
def again(workspace: Workspace, pool: StepPool, tmp_path: Path) -> Reproduce:
    """Train what is asked for, let something happen, and run it again."""

    def run(
        request: TrainingRequest,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Reproduction:
        train(workspace, request, run_id="run_1", pool=pool, profile_maker=PROFILE)
        meanwhile()
        return reproduce_run(workspace, "run_1", project=tmp_path, pool=pool)

    return run


def written(request: TrainingRequest, body: str) -> TrainingRequest:
    path = request.base / f"{request.base.name}.py"
    path.write_text(HEAD + dedent(body))
    return replace(request, pipeline=path)


def likenesses(found: Reproduction) -> dict[str, Likeness]:
    return {step.name: step.likeness for step in found.steps}


def badge(workspace: Workspace) -> str:
    with workspace.reading() as tx:
        return tracking.tags(tx, "run_1")[tracking.REPRODUCED_TAG]


def test_the_same_bytes_come_out_again(
    any_workspace: Workspace, pool: StepPool, bike: Make, tmp_path: Path
) -> None:
    workspace = any_workspace
    spec = CandidateSpec(name="boosting", search={"rounds": [5, 20]})
    rule = Expectation(column="temp", rule="between", argument=(0, 1))
    served = pl.read_csv(tmp_path / "hour.csv").tail(50)
    request = bike(
        candidates=(spec, *LINEAR),
        trials=4,
        expectations=(rule,),
        extra=store_value(workspace, served),
    )
    train(workspace, request, run_id="run_1", pool=pool, profile_maker=PROFILE)
    with workspace.reading() as tx:
        steps, blobs = run_steps(tx, "run_1"), set(workspace.blobs.digests())
    found = reproduce_run(workspace, "run_1", project=tmp_path, pool=pool)
    assert (found.verdict, found.why, found.environment) == (Verdict.IDENTICAL, "", ())
    assert likenesses(found).pop("collected") is Likeness.TAKEN
    assert {step.likeness for step in found.steps} == {Likeness.TAKEN, Likeness.IDENTICAL}
    assert {"boosting 1", "tested", "packed", "profile"} <= set(likenesses(found))
    with workspace.reading() as tx:
        # Nothing is left of it but the verdict.
        assert run_steps(tx, "run_1") == steps
        assert set(workspace.blobs.digests()) == blobs
        [event] = tx.events("run-reproduced", subject="run_1")
    assert (event.data["verdict"], event.data["first"]) == ("identical", None)
    assert badge(workspace) == "identical"


def test_classes_and_texts_come_out_again_too(again: Reproduce, adult: Make) -> None:
    found = again(adult(candidates=(*LINEAR, CandidateSpec(name="forest", params={"trees": 5}))))
    assert str(found) == "run_1: identical"


def test_todays_code_and_rows_do_not_matter(again: Reproduce, bike: Make) -> None:
    body = """
    FACTOR = 2.0

    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        return collected.with_columns(felt=pl.col("temp") * FACTOR)
    """
    request = written(bike(candidates=LINEAR), body)

    def changed() -> None:
        written(request, body.replace("2.0", "3.0"))
        (request.base / "hour.csv").write_text("gone\n")

    found = again(request, changed)
    assert found.verdict is Verdict.IDENTICAL
    assert likenesses(found)["prepared"] is Likeness.IDENTICAL


def test_what_reads_the_source_is_taken_as_recorded(again: Reproduce, bike: Make) -> None:
    body = """
    def collected(source: Source) -> pl.DataFrame:
        return pl.read_csv(source.location)

    def holidays(source: Source) -> list[int]:
        return pl.read_csv(source.location)["holiday"].unique().sort().to_list()

    def prepared(collected: pl.DataFrame, holidays: list[int]) -> pl.DataFrame:
        return collected.with_columns(known=pl.col("holiday").is_in(holidays))
    """
    request = written(bike(candidates=LINEAR), body)
    found = again(request, (request.base / "hour.csv").unlink)
    assert found.verdict is Verdict.IDENTICAL
    taken = {n for n, likeness in likenesses(found).items() if likeness is Likeness.TAKEN}
    assert taken == {"collected", "holidays"}


def test_the_step_that_leaves_things_to_chance_is_named(
    again: Reproduce, bike: Make, workspace: Workspace
) -> None:
    body = """
    def noisy(collected: pl.DataFrame) -> pl.DataFrame:
        return collected.with_columns(pl.col("temp") + random.SystemRandom().random() / 100)

    def prepared(noisy: pl.DataFrame) -> pl.DataFrame:
        return noisy
    """
    found = again(written(bike(candidates=LINEAR), body))
    assert found.verdict is Verdict.DIFFERENT
    assert found.first is not None
    assert found.first.name == "noisy"
    assert found.first.difference is not None
    assert 0 < found.first.difference < 1
    assert found.first.detail.startswith("temp: 2,000 of 2,000 values, the most value ")
    assert "'noisy' differs first, by " in found.why
    assert likenesses(found)["collected"] is Likeness.TAKEN
    assert badge(workspace) == "different: noisy"


NEARLY = """
def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    return collected.with_columns(pl.col("temp") * (1 + random.SystemRandom().random() * 1e-13))
"""


def test_values_within_the_tolerance_are_equal_and_the_widest_gap_is_told(
    again: Reproduce, bike: Make, workspace: Workspace, pool: StepPool, tmp_path: Path
) -> None:
    found = again(written(bike(candidates=LINEAR), NEARLY))
    assert found.verdict is Verdict.EQUAL
    near = {name for name, likeness in likenesses(found).items() if likeness is Likeness.EQUAL}
    # Tables, splits, models, packages, metrics, profiles: each is compared in its own way.
    assert {"prepared", "segregated", "fitted", "packed", "tested", "profile"} <= near
    assert "differ by at most" in found.why
    assert badge(workspace) == "equal within 1e-09"
    strict = reproduce_run(workspace, "run_1", project=tmp_path, pool=pool, tolerance=1e-18)
    assert strict.verdict is Verdict.DIFFERENT
    assert strict.first is not None
    assert strict.first.name == "prepared"


OWN = """
class Mean:
    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, frame: pl.DataFrame) -> list[float]:
        return [self.value] * frame.height

def level(segregated: Split) -> float:
    return float(segregated.train["cnt"].mean())

def mean(segregated: Split, level: float) -> Mean:
    return Mean(level)
"""


def test_a_class_of_the_project_is_compared_by_what_it_predicts(
    again: Reproduce, bike: Make
) -> None:
    found = again(written(bike(candidates=(CandidateSpec(name="mean"),)), OWN))
    # The package holds the class, and with it the folder that its code lay in.
    assert (found.verdict, found.why) == (
        Verdict.EQUAL,
        "the same values in other bytes: 'packed'",
    )
    # Asked for twice: for the trial, and for the rows that the final model learns from.
    assert likenesses(found)["level"] is likenesses(found)["level (2)"] is Likeness.IDENTICAL


def test_an_estimator_that_only_bytes_tell_apart_is_judged_by_its_predictions(
    again: Reproduce, bike: Make
) -> None:
    body = OWN.replace("Mean(level)", "Mean(level * (1 + random.SystemRandom().random() * 1e-13))")
    found = again(written(bike(candidates=(CandidateSpec(name="mean"),)), body))
    assert likenesses(found)["fitted estimator"] is Likeness.EQUAL
    assert found.verdict is Verdict.EQUAL


def test_an_estimator_that_predicts_otherwise_is_the_first_difference(
    again: Reproduce, bike: Make
) -> None:
    body = OWN.replace("Mean(level)", "Mean(level + random.SystemRandom().random())")
    found = again(written(bike(candidates=(CandidateSpec(name="mean"),)), body))
    assert found.verdict is Verdict.DIFFERENT
    assert found.first is not None
    assert found.first.name == "mean: fitted estimator"


def test_rows_that_are_gone_are_named(again: Reproduce, bike: Make, workspace: Workspace) -> None:
    def lose() -> None:
        with workspace.reading() as tx:
            [step] = [s for s in run_steps(tx, "run_1") if s.name == "collected"]
        assert step.digest is not None
        workspace.blobs.remove(step.digest)

    found = again(bike(candidates=LINEAR), lose)
    assert found.verdict is Verdict.IMPOSSIBLE
    assert found.why.startswith("what step 'collected' gave is not stored any more: no blob ")
    assert found.steps == ()
    assert badge(workspace) == f"not reproducible: {found.why}"


@pytest.mark.parametrize("artifact", ["recipe.json", "code.zip"])
def test_a_record_that_is_not_whole_says_what_it_lacks(
    again: Reproduce, bike: Make, workspace: Workspace, artifact: str
) -> None:
    def lose() -> None:
        with workspace.reading() as tx:
            lost = tracking.artifacts(tx, "run_1")[artifact].digest
        workspace.blobs.remove(lost)

    found = again(written(bike(candidates=LINEAR), OWN), lose)
    assert found.verdict is Verdict.IMPOSSIBLE
    assert "no blob" in found.why


def replaced(workspace: Workspace, name: str, content: bytes) -> None:
    digest = workspace.blobs.put(content)
    with workspace.transaction() as tx:
        tracking.log_artifact(tx, "run_1", name, digest, bytes=len(content), media="text/plain")


def test_a_recipe_that_somebody_else_wrote_is_not_run(
    again: Reproduce, bike: Make, workspace: Workspace
) -> None:
    recipe = b'{"kept": {}, "steps": [{"function": "os:abort"}]}'
    found = again(bike(candidates=LINEAR), lambda: replaced(workspace, "recipe.json", recipe))
    assert found.verdict is Verdict.IMPOSSIBLE
    assert found.why == "recipe.json of run run_1 was not written by this installation"


def test_code_that_somebody_put_into_the_place_of_the_recorded_is_not_run(
    again: Reproduce, bike: Make, workspace: Workspace
) -> None:
    def meddle() -> None:
        for name in ("code.json", "code.zip", "environment.txt"):
            replaced(workspace, name, b"something else")

    found = again(written(bike(candidates=(CandidateSpec(name="mean"),)), OWN), meddle)
    assert found.verdict is Verdict.EQUAL


def test_a_step_that_fails_today_is_named_and_what_came_before_it_is_compared(
    again: Reproduce, bike: Make
) -> None:
    body = """
    def prepared(collected: pl.DataFrame) -> pl.DataFrame:
        limits = pl.read_csv("{file}")
        return collected.filter(pl.col("hum") < limits["most"][0])
    """
    request = bike(candidates=LINEAR)
    file = request.base / "limits.csv"
    file.write_text("most\n2\n")
    found = again(written(request, body.replace("{file}", str(file))), file.unlink)
    assert found.verdict is Verdict.IMPOSSIBLE
    assert found.why.startswith("step 'prepared' raised FileNotFoundError")
    assert likenesses(found)["prepared"] is Likeness.NOT_RUN


def test_another_environment_is_named_in_the_verdict(
    again: Reproduce, bike: Make, workspace: Workspace
) -> None:
    def earlier() -> None:
        with workspace.reading() as tx:
            recipe = get_recipe(tx, workspace.blobs, "run_1")
        lock = tracking.environment_lock().replace("polars==", "polars==0.").encode()
        kept = {"environment.txt": workspace.blobs.put(lock + b"everfit-gone==1.0\n")}
        with workspace.transaction() as tx:
            digest = record_recipe(
                tx, workspace.blobs, replace(recipe, kept={**recipe.kept, **kept})
            )
            tracking.log_artifact(tx, "run_1", "recipe.json", digest, bytes=1, media="text/plain")

    found = again(bike(candidates=LINEAR), earlier)
    assert found.verdict is Verdict.IDENTICAL
    assert [change.name for change in found.environment] == ["everfit-gone", "polars"]
    assert str(found.environment[0]) == "everfit-gone 1.0 -> absent"
    assert badge(workspace) == "identical, with 2 changes of the environment"


def test_code_outside_the_project_that_has_changed_is_named(
    workspace: Workspace,
    bike: Make,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.syspath_prepend(folder)
    module = folder / "outside.py"
    code = "def made(fitted, segregated, window_seconds):\n    return {}\n"
    module.write_text(code.format("b'1'"))
    request = bike(candidates=LINEAR)
    with StepPool(workspace, processes=1) as pool:
        train(workspace, request, run_id="run_1", pool=pool, profile_maker="outside:made")
        module.write_text(code.format("b'1' + b''"))
        found = reproduce_run(workspace, "run_1", project=request.base, pool=pool)
    assert found.verdict is Verdict.IDENTICAL
    assert found.badge == "identical, with 1 change of the environment"
    assert "outside the project, behind 'profile'" in str(found.environment[0])


def test_a_run_that_a_client_logged_cannot_be_run(
    workspace: Workspace, pool: StepPool, tmp_path: Path
) -> None:
    with workspace.transaction() as tx:
        tracking.ensure_default(tx)
        run = tracking.create_run(tx, "0").run.id
    with pytest.raises(Invalid, match="was logged by a client: nothing is recorded"):
        reproduce_run(workspace, run, project=tmp_path, pool=pool)
    with pytest.raises(NotFound):
        reproduce_run(workspace, "run_9", project=tmp_path, pool=pool)


def test_only_a_finished_training_that_is_not_deleted_is_run_again(
    workspace: Workspace, pool: StepPool, bike: Make, tmp_path: Path
) -> None:
    with workspace.transaction() as tx:
        tracking.start_run(tx, kind="training", name="bike", run_id="run_2")
    with pytest.raises(Conflict, match="run_2 is running"):
        reproduce_run(workspace, "run_2", project=tmp_path, pool=pool)
    with workspace.transaction() as tx:
        tracking.finish_run(tx, "run_2", tracking.RunStatus.FINISHED)
        tracking.delete_run(tx, "run_2")
    with pytest.raises(Conflict, match="run_2 is deleted"):
        reproduce_run(workspace, "run_2", project=tmp_path, pool=pool)
