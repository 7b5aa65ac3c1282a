"""Steps run once: a change of code, params or inputs runs them again, and nothing else does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everfit.errors import NotFound, PipelineInvalid, UntrustedModel
from everfit.kernel import Workspace
from everfit.steps.engine import execute, load_value, store_value
from everfit.steps.execution import digest_of
from everfit.steps.model import Call, StepResult
from everfit.steps.pool import StepPool
from everfit.steps.service import run_steps

from .conftest import Project

CHAIN = """
import polars as pl

def _rows(count):
    return list(range(count))

def collected(count: int = 3) -> pl.DataFrame:
    _ran("collected")
    return pl.DataFrame({"x": _rows(count)})

def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    _ran("prepared")
    return collected.with_columns(y=pl.col("x") * 2)

def total(prepared: pl.DataFrame, times: int = 1) -> int:
    _ran("total")
    return prepared["y"].sum() * times
"""


def _chain(project: Project, **params: int) -> dict[str, StepResult]:
    counts = {name: params[name] for name in params if name == "count"}
    times = {name: params[name] for name in params if name == "times"}
    return project.run(
        project.call("total", inputs={"prepared": "prepared"}, params=times),
        project.call("prepared", inputs={"collected": "collected"}),
        project.call("collected", params=counts),
    )


def _cached(results: dict[str, StepResult]) -> set[str]:
    return {name for name, result in results.items() if result.cached}


def test_values_flow_and_are_recorded(project: Project) -> None:
    project.write(CHAIN)
    results = _chain(project)
    assert list(results) == ["total", "prepared", "collected"]
    assert project.value(results["total"]) == 6
    assert project.value(results["prepared"]).equals(pl.DataFrame({"x": [0, 1, 2], "y": [0, 2, 4]}))
    assert project.ran == ["collected", "prepared", "total"]
    total = results["total"]
    assert total.wall_seconds > 0
    assert total.cpu_seconds > 0
    assert total.peak_bytes > 5_000_000
    assert 0 < total.cost < 0.001
    with project.workspace.reading() as tx:
        rows = {row.name: row for row in run_steps(tx, "run")}
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(results, "finished")
    assert rows["total"].digest == total.digest
    assert rows["total"].key == total.key


def test_unchanged_steps_are_not_run_again(project: Project) -> None:
    project.write(CHAIN)
    first = _chain(project)
    again = _chain(project)
    assert _cached(again) == set(again)
    assert {n: r.digest for n, r in again.items()} == {n: r.digest for n, r in first.items()}
    assert len(project.ran) == 3


@pytest.mark.parametrize(
    ("old", "new", "rerun"),
    [
        ("    return list", "    # all of them\n    return   list", []),
        ("range(count)", "range(1, count + 1)", ["collected", "prepared", "total"]),
        # The same rows by other code: what follows is found again.
        ("list(range(count))", "[*range(count)]", ["collected"]),
        ('["y"].sum()', '["y"].max()', ["total"]),
    ],
)
def test_a_change_of_code_runs_what_it_concerns(
    project: Project, old: str, new: str, rerun: list[str]
) -> None:
    project.write(CHAIN)
    _chain(project)
    assert CHAIN.count(old) == 1
    project.write(CHAIN.replace(old, new))
    results = _chain(project)
    assert project.ran[3:] == rerun
    assert _cached(results) == set(results) - set(rerun)


def test_the_changed_code_is_what_runs_in_a_warm_child(project: Project) -> None:
    project.write("import lib\n\ndef value() -> int:\n    return lib.number()\n")
    project.write("def number():\n    return 1\n", name="lib.py")
    assert project.value(project.run(project.call("value"))["value"]) == 1
    project.write("def number():\n    return 2222\n", name="lib.py")
    assert project.value(project.run(project.call("value"))["value"]) == 2222


def test_also_where_no_step_has_named_what_changed(project: Project) -> None:
    project.write(
        "import lib\n\ndef value() -> int:\n    return lib.number()\n\n"
        "def other() -> int:\n    return 0\n"
    )
    project.write("def number():\n    return 1\n", name="lib.py")
    project.run(project.call("other"))
    project.write("def number():\n    return 2222\n", name="lib.py")
    assert project.value(project.run(project.call("value"))["value"]) == 2222


SHAPES = """
class Square:
    def area(self) -> int:
        return _side() ** 2

def _side() -> int:
    return 2
"""
OWN_CLASSES = """
import lib.shapes

class Box:
    def __init__(self, shape):
        self.shape = shape

def box() -> Box:
    return Box(lib.shapes.Square())

def is_box(box: object) -> bool:
    return type(box) is Box
"""
ELSEWHERE = """
def area(box: object) -> int:
    return box.shape.area()
"""


def test_values_of_the_projects_own_classes_reach_every_process(project: Project) -> None:
    project.write(SHAPES, name="lib/shapes.py")
    project.write(OWN_CLASSES)
    project.write(ELSEWHERE, name="elsewhere.py")
    area = f"{project.folder}/elsewhere.py:area"
    takes_box: Any = {"inputs": {"box": "box"}, "own_process": True}
    calls = [
        project.call("box"),
        project.call("is_box", **takes_box),
        Call(name="area", function=area, **takes_box),
    ]
    first = project.run(*calls)
    assert project.value(first["is_box"]) is True
    assert project.value(first["area"]) == 4
    project.workspace.blobs.remove(first["box"].digest)
    assert project.run(*calls)["box"].digest == first["box"].digest
    # The box holds the same as before; what it does is not the same.
    project.write(SHAPES.replace("return 2", "return 3"), name="lib/shapes.py")
    assert project.value(project.run(*calls)["area"]) == 9


def test_params_inputs_and_version_are_part_of_the_key(project: Project) -> None:
    project.write(CHAIN)
    _chain(project)
    assert _cached(_chain(project, times=2)) == {"collected", "prepared"}
    assert _cached(_chain(project, count=4)) == set()
    stored = store_value(project.workspace, pl.DataFrame({"x": [5]}))
    call = project.call("prepared", inputs={"collected": f"blob:{stored}"})
    assert not project.run(call)["prepared"].cached
    assert project.run(call)["prepared"].cached
    other = project.call("prepared", inputs={"collected": f"blob:{stored}"}, version="2")
    assert not project.run(other)["prepared"].cached


def test_a_value_that_is_gone_is_made_again(project: Project) -> None:
    project.write(CHAIN)
    results = _chain(project)
    project.workspace.blobs.remove(results["prepared"].digest)
    assert _cached(_chain(project)) == {"collected", "total"}
    assert project.value(results["prepared"]).height == 3


def test_steps_run_side_by_side(project: Project) -> None:
    project.write(
        "import time\n\ndef slow(index: int) -> int:\n    time.sleep(0.5)\n    return index\n\n"
        "def both(one: int, two: int) -> int:\n    return one + two\n"
    )
    project.run(project.call("both", params={"one": 0, "two": 0}))
    started = time.perf_counter()
    results = project.run(
        project.call("one", function="slow", params={"index": 1}),
        project.call("two", function="slow", params={"index": 2}),
        project.call("both", inputs={"one": "one", "two": "two"}),
    )
    assert time.perf_counter() - started < 0.95
    assert project.value(results["both"]) == 3


def test_a_step_cannot_change_what_another_is_given(project: Project) -> None:
    project.write(
        """
        import numpy as np
        import polars as pl

        def made() -> dict[str, list[int]]:
            return {"a": [1]}

        def frame() -> pl.DataFrame:
            return pl.DataFrame({"x": [1]})

        def array() -> np.ndarray:
            return np.zeros(2)

        def spoils(made: dict[str, list[int]], frame: pl.DataFrame, array: np.ndarray) -> int:
            made["a"].append(2)
            array += 1
            frame[0, "x"] = 9
            frame.insert_column(0, pl.Series("z", [1]))
            return 1

        def reads(made: dict, frame: pl.DataFrame, array: np.ndarray, spoils: int) -> list:
            return [made, frame.to_dicts(), array.tolist()]
        """
    )
    inputs = {"made": "made", "frame": "frame", "array": "array"}
    calls = [project.call(name) for name in inputs]
    calls.append(project.call("spoils", inputs=inputs))
    calls.append(project.call("reads", inputs={**inputs, "spoils": "spoils"}))
    with StepPool(project.workspace, processes=1) as single:
        results = execute(project.workspace, "run", calls, pool=single)
    assert project.value(results["reads"]) == [{"a": [1]}, [{"x": 1}], [0.0, 0.0]]


def test_a_step_gives_the_same_bytes_wherever_it_runs(project: Project) -> None:
    # In the process that made it, the word would be one object with the literal beside it, and a
    # pickle writes one object once.
    project.write(
        """
        def made() -> tuple[str, str]:
            return "a word", "another"

        def paired(made: tuple[str, str]) -> tuple[str, str]:
            return made[0], "a word"
        """
    )

    def digest(*, own: bool) -> str:
        taken = {"made": "made"}
        paired = project.call("paired", inputs=taken, own_process=own, version=str(own))
        results = project.run(project.call("made"), paired)
        assert not results["paired"].cached
        return results["paired"].digest

    assert digest(own=False) == digest(own=True)


def test_children_stay_warm_and_an_own_process_is_fresh(project: Project) -> None:
    project.write("import os\n\ndef pid(index: int) -> int:\n    return os.getpid()\n")

    def pids(first: int, *, own: bool) -> list[int]:
        done = [
            project.run(project.call("pid", params={"index": first + i}, own_process=own))
            for i in range(2)
        ]
        return [project.value(results["pid"]) for results in done]

    warm, own = pids(0, own=False), pids(2, own=True)
    assert warm[0] == warm[1]
    assert len({*warm, *own}) == 3


def test_a_child_loads_only_what_its_steps_need(project: Project) -> None:
    project.write("import sys\n\ndef loaded() -> list[str]:\n    return sorted(sys.modules)\n")
    loaded = project.value(project.run(project.call("loaded"))["loaded"])
    heavy = {"sqlalchemy", "polars", "numpy", "sklearn", "everfit.kernel", "everfit.steps"}
    assert heavy.isdisjoint(loaded)


def test_the_file_is_compiled_as_python_would(project: Project) -> None:
    project.write("def kind() -> str:\n    return type(kind.__annotations__['return']).__name__\n")
    assert project.value(project.run(project.call("kind"))["kind"]) == "type"


def test_what_a_step_prints_is_kept_and_harms_nothing(project: Project) -> None:
    project.write(
        """
        import os, sys

        def talks() -> int:
            print("begin" + "x" * 200_000)
            os.write(1, b"raw \\xff\\x00\\n")
            print("to stderr", file=sys.stderr)
            os.system("echo from a child")
            print("input:", repr(sys.stdin.read()))
            return 1

        def closes() -> int:
            os.close(1)
            os.close(2)
            return 2
        """
    )
    results = project.run(project.call("talks"), project.call("closes"))
    assert project.value(results["talks"]) == 1
    assert project.value(results["closes"]) == 2
    with project.workspace.reading() as tx:
        rows = {row.name: row for row in run_steps(tx, "run")}
    output = rows["talks"].output
    assert len(output) <= 10_000
    assert output.endswith("raw ��\nto stderr\nfrom a child\ninput: ''\n")
    assert rows["closes"].output == ""


def test_calls_that_do_not_fit_together_are_refused_before_anything_runs(project: Project) -> None:
    project.write(CHAIN)
    with pytest.raises(PipelineInvalid) as raised:
        project.run(
            project.call("prepared", inputs={"collected": "nowhere"}),
            project.call("total", inputs={"prepared": "total"}),
            project.call("collected"),
            project.call("collected"),
        )
    assert len(raised.value.problems) == 3
    with pytest.raises(PipelineInvalid, match="not JSON"):
        project.run(project.call("collected", params={"count": float("nan")}))
    with pytest.raises(PipelineInvalid, match="no 'absent'"):
        project.run(project.call("absent"), project.call("collected"))
    assert project.ran == []


def test_a_library_function_is_a_step(workspace: Workspace, pool: StepPool) -> None:
    call = Call(name="e", function="everfit.kernel.ids:_encode", params={"number": 5, "length": 3})
    room = Call(name="d", function="everfit.steps.execution:digest_of", params={"value": 1})
    results = execute(workspace, "run", [call, room], pool=pool)
    assert load_value(workspace, results["e"].digest) == "005"
    assert load_value(workspace, results["d"].digest) == digest_of(1)


def test_frames_inside_other_values_outlive_the_process_that_gave_them(project: Project) -> None:
    project.write(
        """
        import polars as pl

        def parts() -> tuple[pl.DataFrame, str]:
            return pl.DataFrame({"x": [1, 2]}), "whole"

        def height(parts: tuple[pl.DataFrame, str]) -> int:
            return parts[0].height
        """
    )
    calls = [project.call("parts"), project.call("height", inputs={"parts": "parts"})]
    results = project.run(*calls)
    assert project.value(results["parts"])[0].equals(pl.DataFrame({"x": [1, 2]}))
    assert project.value(results["height"]) == 2
    # Also where the process that gave it is gone.
    with StepPool(project.workspace, processes=1) as other:
        again = project.call("again", function="height", inputs={"parts": "parts"}, version="2")
        results = execute(project.workspace, "next", [calls[0], again], pool=other)
    assert (results["parts"].cached, project.value(results["again"])) == (True, 2)


def test_only_values_of_this_installation_are_opened(workspace: Workspace) -> None:
    foreign = workspace.blobs.put(b"\x80\x05K\x01.")
    with pytest.raises(UntrustedModel):
        load_value(workspace, foreign)
    assert store_value(workspace, (1, 2)) != foreign
    assert load_value(workspace, store_value(workspace, (1, 2))) == (1, 2)
    with pytest.raises(NotFound):
        load_value(workspace, "0" * 64)


def test_records_are_the_same_on_every_database(any_workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("def one() -> tuple[int, str]:\n    print('hello')\n    return 1, 'a'\n")
    calls = [Call(name="one", function=f"{file}:one")]
    for cached in (False, True):
        with StepPool(any_workspace, processes=1) as single:
            result = execute(any_workspace, "run", calls, pool=single)["one"]
        assert result.cached is cached
        assert load_value(any_workspace, result.digest) == (1, "a")
    with any_workspace.reading() as tx:
        row = run_steps(tx, "run")[0]
    assert (row.name, row.status, row.cached) == ("one", "finished", True)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel must let the peak be reset")
def test_the_peak_is_that_of_the_step(project: Project) -> None:
    project.write(
        "def large() -> int:\n    return len(bytearray(b'x' * 100_000_000))\n\n"
        "def small(large: int) -> int:\n    return 1\n"
    )
    results = project.run(project.call("large"), project.call("small", inputs={"large": "large"}))
    assert results["large"].peak_bytes > 100_000_000 > results["small"].peak_bytes
