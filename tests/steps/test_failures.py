"""Whatever ends a step, or the process that runs it, is said, and what had finished is kept."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from everfit.errors import Cancelled, DataInvalid, StepFailed
from everfit.steps.model import Quiet, StepResult
from everfit.steps.pool import Process
from everfit.steps.service import run_step, run_steps

from .conftest import Project

SRC = Path(__file__).parents[2] / "src"

FAILING = """
import os, signal, sys, time
from everfit.errors import DataInvalid, Problem

def good() -> int:
    _ran("good")
    return 1

def raises(good: int) -> int:
    print("just before")
    return good / 0

def refuses() -> int:
    problem = Problem(path="age", found="-1", remedy="correct it")
    raise DataInvalid.of("the table", [problem], hint="Look at it.")

def dies(good: int) -> int:
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)

def leaves(good: int) -> int:
    os._exit(7)

def mumbles() -> int:
    raise ValueError("a \\0 \\ud800 b")

def exits() -> int:
    sys.exit("enough")

def gives_a_lock() -> object:
    import threading
    return threading.Lock()

def sleeps(seconds: float = 60.0) -> int:
    _ran(f"sleeps:{os.getpid()}")
    time.sleep(seconds)
    return 2
"""


def test_an_exception_names_the_line(project: Project) -> None:
    project.write(FAILING)
    with pytest.raises(StepFailed) as raised:
        project.run(project.call("good"), project.call("raises", inputs={"good": "good"}))
    line = project.file.read_text().splitlines().index("    return good / 0") + 1
    assert "step 'raises' raised ZeroDivisionError: division by zero" in str(raised.value)
    assert f"{project.file}:{line} in raises: return good / 0" in str(raised.value)
    assert raised.value.context["output"] == "just before\n"
    with project.workspace.reading() as tx:
        row = run_step(tx, "run", "raises")
        assert run_step(tx, "run", "good").status == "finished"
    assert (row.status, row.output, row.digest) == ("failed", "just before\n", None)
    assert row.error == str(raised.value)


def test_after_a_failure_the_rest_is_resumed(project: Project) -> None:
    project.write(FAILING)
    calls = [project.call("good"), project.call("raises", inputs={"good": "good"})]
    with pytest.raises(StepFailed):
        project.run(*calls)
    project.write(FAILING.replace("good / 0", "good / 1"))
    results = project.run(*calls)
    assert results["good"].cached
    assert project.value(results["raises"]) == 1.0
    assert project.ran == ["good"]


def test_an_error_of_ours_comes_as_itself(project: Project) -> None:
    project.write(FAILING)
    with pytest.raises(DataInvalid) as raised:
        project.run(project.call("refuses"))
    assert raised.value.hint == "Look at it."
    assert [problem.path for problem in raised.value.problems] == ["age"]
    assert raised.value.context["step"] == "refuses"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("mumbles", "raised ValueError: a .* b"),
        ("exits", "raised SystemExit: enough"),
        ("gives_a_lock", "its result, a lock, cannot be stored"),
        ("absent", "no 'absent'"),
    ],
)
def test_other_ways_to_fail(project: Project, step: str, said: str) -> None:
    project.write(FAILING + "\nabsent_on_purpose = 1\n")
    if step == "absent":
        project.write(FAILING + "\ndef absent() -> int:\n    raise LookupError(\"no 'absent'\")\n")
    with pytest.raises(StepFailed, match=said):
        project.run(project.call(step))


def test_a_file_that_cannot_be_imported_is_said_with_its_line(project: Project) -> None:
    project.write("import nowhere_to_be_found\n\ndef f() -> int:\n    return 1\n")
    line = project.file.read_text().splitlines().index("import nowhere_to_be_found") + 1
    with pytest.raises(StepFailed, match=rf"pipeline\.py:{line} in <module>"):
        project.run(project.call("f"))


def test_a_child_that_is_killed_again_is_a_failed_step_and_the_next_run_goes_on(
    project: Project,
) -> None:
    project.write(FAILING)
    calls = [project.call("good"), project.call("dies", inputs={"good": "good"})]
    with pytest.raises(StepFailed, match="'dies' ended with signal SIGKILL") as raised:
        project.run(*calls)
    assert "it was run twice, and the first time it ended with signal SIGKILL" in str(raised.value)
    assert "memory ran out" in raised.value.hint
    assert raised.value.context["signal"] == signal.SIGKILL
    assert raised.value.context["output"] == "last words\n"
    with project.workspace.reading() as tx:
        row = run_step(tx, "run", "dies")
    assert row.status == "failed"
    assert (row.output.count("last words"), row.output.count("SIGKILL")) == (2, 1)
    assert project.ran == ["good"]


def test_a_step_that_leaves_by_itself_is_not_run_again(project: Project) -> None:
    project.write(FAILING.replace("os._exit(7)", "_ran('leaves')\n    os._exit(7)"))
    with pytest.raises(StepFailed, match="'leaves' ended with exit code 7"):
        project.run(project.call("leaves", params={"good": 1}))
    assert project.ran == ["leaves"]


def test_a_step_whose_process_was_killed_is_run_once_more_and_that_is_on_record(
    project: Project,
) -> None:
    once = """
    import os, pathlib, signal

    def once() -> int:
        _ran("once")
        if _count("once") == 1:
            print("almost")
            os.kill(os.getpid(), signal.SIGKILL)
        print("done")
        return 5

    def _count(name: str) -> int:
        return pathlib.Path(__file__).with_name("ran").read_text().split().count(name)

    def then(once: int) -> int:
        return once + 1
    """
    project.write(once)
    told: list[str] = []

    class Listening(Quiet):
        def note(self, text: str) -> None:
            told.append(text)

    calls = [project.call("once"), project.call("then", inputs={"once": "once"})]
    results = project.run(*calls, progress=Listening())
    assert project.value(results["then"]) == 6
    assert project.ran == ["once", "once"]
    assert len(told) == 1
    assert told[0].startswith("step 'once' is run once more: its process ended with signal SIGKILL")
    with project.workspace.reading() as tx:
        [event] = tx.events("step-repeated", subject="run")
        row = run_step(tx, "run", "once")
    assert event.data["step"] == "once"
    assert event.data["ended"].startswith("signal SIGKILL")
    assert row.status == "finished"
    assert re.fullmatch(r"almost\n\[its process ended with signal SIGKILL.*\]\ndone\n", row.output)


def test_what_arrives_while_a_step_runs_does_not_end_it(project: Project) -> None:
    project.write(FAILING)
    code = {"pipeline": (str(project.file), hashlib.sha256(project.file.read_bytes()).hexdigest())}
    request = {"function": f"{project.file}:sleeps", "params": {"seconds": 1.0}, "code": code}
    process = Process(single_thread=True)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(process.run, {**request, "log": {}}, {}, {})
        _wait_until(lambda: bool(_pids(project)))
        # As a write that ends late: the kernel tells the reader after the step has begun.
        assert process.child.stdin is not None
        os.write(process.child.stdin.fileno(), b"\0")
        assert "failed" not in answer.result().header
    process.close()


def test_a_child_that_died_while_idle_is_replaced(project: Project) -> None:
    project.write(FAILING + "\ndef pid(index: int) -> int:\n    return os.getpid()\n")
    first = project.run(project.call("pid", params={"index": 1}))
    os.kill(project.value(first["pid"]), signal.SIGKILL)
    time.sleep(0.1)
    second = project.run(project.call("pid", params={"index": 2}))
    assert project.value(second["pid"]) != project.value(first["pid"])


def test_a_failure_ends_the_steps_beside_it(project: Project) -> None:
    project.write(FAILING)
    started = time.perf_counter()
    with pytest.raises(StepFailed, match="'bad' raised"):
        project.run(
            project.call("sleeps"), project.call("bad", function="raises", params={"good": 1})
        )
    assert time.perf_counter() - started < 10
    with project.workspace.reading() as tx:
        states = {row.name: row.status for row in run_steps(tx, "run")}
    assert states == {"bad": "failed", "sleeps": "stopped"}
    _wait_until(lambda: not any(_alive(pid) for pid in _pids(project)))


def test_cancelling_ends_what_runs_and_keeps_what_is_done(project: Project) -> None:
    project.write(FAILING)

    class Lease:
        def check(self) -> None:
            if _pids(project):
                raise Cancelled("cancelled", hint="-")

    calls = [project.call("good"), project.call("sleeps", params={"seconds": 60.0})]
    with pytest.raises(Cancelled):
        project.run(*calls, lease=Lease())
    _wait_until(lambda: not any(_alive(pid) for pid in _pids(project)))
    with project.workspace.reading() as tx:
        assert tx.events("step-repeated") == []
    results = project.run(project.call("good"), project.call("sleeps", params={"seconds": 0.0}))
    assert results["good"].cached


def test_progress_is_told_in_order(project: Project) -> None:
    project.write(FAILING)
    told: list[str] = []

    class Listening:
        def step_started(self, name: str) -> None:
            told.append(f"{name} started")

        def step_finished(self, result: StepResult) -> None:
            told.append(f"{result.name} {'found' if result.cached else 'finished'}")

        def note(self, text: str) -> None:
            told.append(text)

    calls = [
        project.call("good"),
        project.call("then", function="sleeps", inputs={"seconds": "good"}),
    ]
    project.write(FAILING.replace("time.sleep(seconds)", ""))
    project.run(calls[0], progress=Listening())
    project.run(*calls, progress=Listening())
    assert told == ["good started", "good finished", "good found", "then started", "then finished"]


PARENT = """
import sys
from pathlib import Path
from everfit.kernel import load_settings, open_workspace
from everfit.steps.engine import execute
from everfit.steps.pool import StepPool
from everfit.steps.model import Call

folder = Path(sys.argv[1])
workspace = open_workspace(load_settings(folder, environment={}))
names = ["one", "two", "three", "four"]
calls = [Call(name=name, function=f"{folder / 'pipeline.py'}:{name}",
              inputs={"before": before} if before else {})
         for before, name in zip(["", *names], names)]
with StepPool(workspace, processes=2) as pool:
    results = execute(workspace, "run", calls, pool=pool)
print([result.cached for result in results.values()])
"""

RESUMED = """
import os, pathlib, re, time

def one() -> int:
    _ran("one")
    return 1

def two(before: int) -> int:
    _ran("two")
    return 2

def three(before: int) -> int:
    _ran("three")
    if not pathlib.Path(FOLDER, "go").exists():
        pathlib.Path(FOLDER, "pid").write_text(str(os.getpid()))
        # Holds the interpreter lock for ever: no thread of this process can run.
        re.match("(a+)+$", "a" * 60 + "b")
    return 3

def four(before: int) -> int:
    _ran("four")
    return 4
"""


def test_a_parent_killed_in_the_middle_is_resumed_where_it_was(project: Project) -> None:
    project.write(f"FOLDER = {str(project.folder)!r}\n{RESUMED}")
    command = [sys.executable, "-c", PARENT, str(project.folder)]
    environment = {"PYTHONPATH": str(SRC), "PATH": os.defpath}
    parent = subprocess.Popen(command, env=environment)
    pid_file = project.folder / "pid"
    _wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    assert _alive(int(pid_file.read_text()))
    parent.kill()
    parent.wait()
    _wait_until(lambda: not _alive(int(pid_file.read_text())))
    assert project.ran == ["one", "two", "three"]

    (project.folder / "go").touch()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, False, False]\n"
    assert project.ran == ["one", "two", "three", "three", "four"]


def _pids(project: Project) -> list[int]:
    return [int(line.split(":")[1]) for line in project.ran if line.startswith("sleeps:")]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Whoever should wait for it may not have done so yet.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def _wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
