"""What a training ran is written down so that each step is one, and names what it builds on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from everfit.steps.model import BLOB, Call, StepResult
from everfit.training.recipe import Recipe, Recorder, decode_recipe


def gave(name: str, key: str, digest: str) -> StepResult:
    return StepResult(
        name=name,
        key=key,
        digest=digest,
        cached=False,
        wall_seconds=0.0,
        cpu_seconds=0.0,
        peak_bytes=0,
        cost=0.0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_steps_are_in_the_order_in_which_they_build_on_each_other(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    own = f"{tmp_path.resolve()}/steps/pipeline.py:b"
    calls = [
        Call(name="c", function="m:c", inputs={"x": "b", "y": BLOB + "given"}),
        Call(name="b", function=own, inputs={"x": "a"}, params={"depth": 8}, own_process=True),
        Call(name="a", function="m:a"),
    ]
    recorder.add(calls, {name: gave(name, f"key {name}", f"digest {name}") for name in "abc"})
    steps = tuple(recorder.steps)
    recipe = Recipe(kept={"code.json": "digest"}, steps=steps)
    assert decode_recipe(recipe.encode()) == recipe
    assert [step.name for step in steps] == ["a", "b", "c"]
    assert steps[1].function == "steps/pipeline.py:b"
    assert (steps[1].params, steps[1].own_process, steps[1].key) == ({"depth": 8}, True, "key b")
    assert steps[2].inputs == {"x": "b", "y": BLOB + "given"}


def test_later_steps_name_the_earlier_ones_whose_values_they_take(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.add([Call(name="a", function="m:a")], {"a": gave("a", "1", "digest a")})
    later = Call(name="b", function="m:b", inputs={"x": BLOB + "digest a"})
    recorder.add([later], {"b": gave("b", "2", "digest b")})
    assert recorder.steps[1].inputs == {"x": "a"}


def test_a_step_of_the_same_name_and_other_inputs_is_another(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    mean = Call(name="mean", function="m:mean")
    recorder.add([mean], {"mean": gave("mean", "1", "5.0")})
    recorder.add([mean], {"mean": gave("mean", "1", "5.0")})
    asked = [Call(name="f", function="m:f", inputs={"level": "mean"}), mean]
    recorder.add(asked, {"f": gave("f", "3", "model"), "mean": gave("mean", "2", "6.0")})
    assert [step.name for step in recorder.steps] == ["mean", "mean (2)", "f"]
    assert recorder.steps[2].inputs == {"level": "mean (2)"}


def test_what_reads_the_source_is_known(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    calls = [
        Call(name="collected", function="m:c"),
        Call(name="catalog", function="m:k", inputs={"source": BLOB + "where"}),
        Call(name="prepared", function="m:p", inputs={"collected": "collected"}),
    ]
    recorder.add(calls, {call.name: gave(call.name, call.name, call.name) for call in calls})
    assert [step.name for step in recorder.steps if step.reads_source] == ["collected", "catalog"]
