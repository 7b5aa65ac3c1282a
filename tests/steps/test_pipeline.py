"""A pipeline is read whole: its steps, or every problem it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from everfit.errors import PipelineInvalid
from everfit.steps.pipeline import load_pipeline

GOOD = """
import polars as pl
from everfit import step

raise RuntimeError("the file is read, never run")

def collected(source: str) -> pl.DataFrame:
    return pl.read_csv(source)

def _cleaned(frame):
    return frame

def prepared(collected: pl.DataFrame, *, keep: float = 0.5) -> pl.DataFrame:
    return _cleaned(collected)

@step(own_process=True)
def forest(segregated: object, depth: int = 8, leaves: list[int] = [1, 2], seed: int = max(1, 2)):
    return depth
"""

BAD = """
def first(nothing: int) -> int:
    return 1

def second(first, *rest: int, **more: int) -> int:
    return 1

def third(fourth: int) -> int:
    return 1

def fourth(third: int) -> int:
    return 1

async def fifth() -> int:
    return 1

def sixth():
    yield 1

def sixth(sixth: int, /) -> int:
    return 1
"""


def test_steps_inputs_params_and_defaults_are_read_without_running_the_file(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(GOOD)
    found = load_pipeline(
        tmp_path / "pipeline.py", {"source": "a.csv", "seed": 1}, known={"segregated"}
    )
    assert list(found.steps) == ["collected", "prepared", "forest"]
    collected, prepared, forest = found.steps.values()
    assert (collected.inputs, collected.params) == ((), ("source",))
    assert (prepared.inputs, prepared.defaults) == (("collected",), {"keep": 0.5})
    assert (forest.inputs, forest.params) == (("segregated",), ("seed",))
    assert forest.defaults == {"depth": 8, "leaves": [1, 2]}
    assert forest.own_process
    assert not prepared.own_process
    assert found.reference("forest") == f"{tmp_path / 'pipeline.py'}:forest"


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text(BAD)
    with pytest.raises(PipelineInvalid) as raised:
        load_pipeline(file, {})
    told = {(p.path.removeprefix(f"{file}:"), p.found) for p in raised.value.problems}
    assert told == {
        ("2 first.nothing", "'nothing', which is neither a step nor a param"),
        ("5 second.first", "no annotation"),
        ("5 second", "the parameter *rest"),
        ("5 second", "the parameter **more"),
        ("8 third", "a cycle: third -> fourth -> third"),
        ("14 fifth", "an async function"),
        ("17 sixth", "a generator"),
        ("20 sixth", "the parameter list has /"),
        ("20 sixth", "a second step of this name, the first is in line 17"),
        ("20 sixth", "a cycle: sixth -> sixth"),
    }


def test_a_file_that_is_no_python_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("x = 1\ndef (:\n")
    with pytest.raises(PipelineInvalid, match=r"pipeline\.py:2: found a syntax error"):
        load_pipeline(tmp_path / "pipeline.py", {})


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(PipelineInvalid, match="no such file"):
        load_pipeline(tmp_path / "pipeline.py", {})
