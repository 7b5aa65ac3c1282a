"""``everfit.log`` with real processes: whatever is away or killed, all of it arrives, once."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import everfit
from everfit.errors import Conflict, Invalid, SourceMissing
from everfit.kernel import Workspace, load_settings, open_workspace
from everfit.sdk import OpenRun
from everfit.sdk.delivery import Delivery, deliver_abandoned
from everfit.sdk.outbox import Outbox, destination
from everfit.sdk.writer import Writer
from everfit.server import BackgroundControlPlane
from everfit.tracking import artifacts, get_run_data, metric_history
from everfit.tracking.journalled import Points, RunStarted, encoded

SOURCES = str(Path(everfit.__file__).parents[1])
CHILDREN = Path(__file__).with_name("children.py")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where journals for servers wait: a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    return tmp_path / "state/everfit/outbox"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script called ``train.py`` in ``folder``, and see it end."""
    (folder / "train.py").write_text(code)
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "everfit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    workspace = open_workspace(load_settings(folder, environment={}), durable=False)
    yield workspace
    workspace.close()


def waiting(outbox: Path) -> list[str]:
    """Name the journals in an outbox."""
    return [entry.name for entry in outbox.glob("*/")]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_script_only_logs_and_its_run_is_there_at_its_end(folder: Path) -> None:
    done = python(
        "import everfit\n"
        "everfit.log_params(depth=3, name='x', deep=True, none=None)\n"
        "for loss in (0.5, 0.25, float('nan')):\n"
        "    everfit.log(loss=loss, step_s=1)\n"
        "everfit.log({'val/loss': 1}, step=7)\n"
        "everfit.set_tags({'team.name': 'a'}, number=3)\n"
        "open('model.bin', 'wb').write(b'w' * 3_000_000)\n"
        "everfit.log_file('model.bin', 'm/model.bin')\n",
        folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = everfit.runs(folder=folder)
    assert (run.name, run.status, run.kind) == ("train.py", "finished", "logged")
    assert run.params == {"depth": "3", "name": "x", "deep": "true", "none": "null"}
    assert (run.tags["team.name"], run.tags["number"]) == ("a", "3")
    assert (math.isnan(run.metrics["loss"]), run.metrics["val/loss"]) == (True, 1.0)
    with opened(folder) as workspace, workspace.reading() as tx:
        found = [(point.step, point.value) for point in metric_history(tx, run.id, "loss")]
        assert found[:2] == [(0, 0.5), (1, 0.25)]
        assert [point.step for point in metric_history(tx, run.id, "val/loss")] == [7]
        assert artifacts(tx, run.id)["m/model.bin"].bytes == 3_000_000
    assert waiting(folder / ".everfit/outbox") == []


def test_how_a_script_ended_is_how_its_run_ended(folder: Path) -> None:
    done = python("import everfit\neverfit.log(a=1)\nraise ValueError('no data')", folder)
    assert "ValueError: no data" in done.stderr
    python("import everfit\neverfit.log(a=1)\nraise KeyboardInterrupt", folder)
    code = "import everfit, sys\nwith everfit.start_run('left'):\n    sys.exit(3)"
    python(code, folder)
    left, cancelled, failed = everfit.runs(folder=folder)
    assert (failed.status, cancelled.status, left.status) == ("failed", "cancelled", "failed")
    with opened(folder) as workspace, workspace.reading() as tx:
        assert get_run_data(tx, failed.id).run.error == "ValueError: no data"


def test_blocks_nest_and_a_loose_run_ends_with_the_next(folder: Path) -> None:
    code = """
import everfit
loose = everfit.start_run("loose", experiment="houses")
with everfit.start_run("outer", tags={"k": 1}) as outer:
    everfit.log(m=1)
    with everfit.start_run("inner"):
        everfit.log(m=2)
    everfit.log(m=3)
try:
    loose.log(m=9)
except everfit.EverfitError as error:
    assert error.code == "conflict"
with everfit.start_run(run_id=outer.id):
    everfit.log(again=1)
"""
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = {run.name: run for run in everfit.runs(folder=folder)}
    assert {run.status for run in found.values()} == {"finished"}
    assert [found[name].metrics.get("m") for name in ("loose", "outer", "inner")] == [None, 3, 2]
    assert found["inner"].tags["mlflow.parentRunId"] == found["outer"].id
    assert found["outer"].metrics["again"] == 1
    assert found["outer"].tags["k"] == "1"
    assert [run.name for run in everfit.runs(folder=folder, experiments=["houses"])] == ["loose"]


@pytest.fixture
def run(folder: Path) -> Iterator[OpenRun]:
    """A run in this process whose server never answers."""
    writer = Writer(lambda: (Outbox(folder / "outbox"), destination("http://127.0.0.1:9")[1]))
    started = RunStarted("run_1", writer.now_us(), None, None, "Ada", {})
    yield OpenRun(writer, started, ended=lambda _run: None)
    writer.close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"loss": "0.3"}, "metric 'loss'"),
        ({"loss": None, "m": [1.0]}, "2 problems"),
        ({"../loss": 1.0}, "no path out"),
        ({3: 1.0}, "by a text"),
    ],
)
def test_what_is_wrong_in_itself_is_told_at_once(
    run: OpenRun, values: dict[str, object], said: str
) -> None:
    with pytest.raises(Invalid, match=re.escape(said)):
        run.log({"good": 1.0, **values})


def test_other_things_that_cannot_be_kept_are_told_at_once(run: OpenRun, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no step"):
        run.log(loss=1.0, step=2**63)
    with pytest.raises(Invalid, match="list"):
        run.log_params(layers=[1, 2])
    with pytest.raises(Invalid, match="at most"):
        run.set_tags(long="x" * 10_000)
    with pytest.raises(Invalid, match="cannot be written"):
        run.log_params(text="\ud800")
    with pytest.raises(SourceMissing):
        run.log_file(tmp_path / "absent.bin")
    with pytest.raises(Invalid, match="no artifact name"):
        run.log_file(CHILDREN, "../x")
    run.end()
    with pytest.raises(Conflict, match="has ended"):
        run.log(loss=1.0)


def test_an_address_that_is_none_is_told_at_once() -> None:
    with pytest.raises(Invalid, match="no address"):
        everfit.start_run(to="http://")


def test_times_never_go_back(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    writer = Writer(lambda: destination(folder))
    before = writer.now_us()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    assert [writer.now_us(), writer.now_us()] == [before + 1, before + 2]


def test_with_the_server_down_nothing_is_lost_and_the_next_program_delivers(
    folder: Path, state: Path
) -> None:
    port = free_port()
    code = (
        "import everfit\n"
        f"with everfit.start_run('away', to='http://127.0.0.1:{port}'):\n"
        "    for i in range(500):\n        everfit.log(loss=1 / (i + 1))\n"
        "    everfit.log_file('train.py')\n"
    )
    done = python(code, folder)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "everfit sync" in done.stderr
    (outbox,) = [entry for entry in state.iterdir() if entry.is_dir()]
    assert len(waiting(outbox)) == 1
    failed = cli("sync", str(folder))
    assert (failed.returncode, "no answer" in failed.stderr) == (1, True)
    server = subprocess.Popen([sys.executable, str(CHILDREN), "serve", str(folder), str(port)])
    try:
        until_it_listens(port)
        done = python(code, folder)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        server.kill()
        server.wait()
    assert waiting(outbox) == []
    runs = everfit.runs(folder=folder)
    assert [run.status for run in runs] == ["finished", "finished"]
    with opened(folder) as workspace, workspace.reading() as tx:
        for run in runs:
            assert len(metric_history(tx, run.id, "loss")) == 500
            assert artifacts(tx, run.id)["train.py"].bytes == len(code)
            # When it was logged, not when it arrived.
            (first, *_, last) = metric_history(tx, run.id, "loss")
            assert last.at_us - first.at_us < 5_000_000


def until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)


def test_a_program_delivers_by_itself_when_the_server_comes_back(
    folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    run = everfit.start_run("waits", to=f"http://127.0.0.1:{port}")
    run.log(loss=1.0)
    time.sleep(0.6)
    server = subprocess.Popen([sys.executable, str(CHILDREN), "serve", str(folder), str(port)])
    try:
        deadline = time.monotonic() + 30
        until_it_listens(port)
        while not metrics_of(folder, run.id):
            assert time.monotonic() < deadline, "nothing was delivered"
            time.sleep(0.1)
        run.end()
    finally:
        server.kill()
        server.wait()


def metrics_of(folder: Path, run_id: str) -> dict[str, float]:
    found = [run for run in everfit.runs(folder=folder) if run.id == run_id]
    return dict(found[0].metrics) if found else {}


def test_a_refused_record_is_kept_with_its_reason(folder: Path) -> None:
    done = python(
        "import everfit\neverfit.log_params(depth=3)\neverfit.log_params(depth=4)\n"
        "everfit.log(a=1)\neverfit.log_params(depth=5)\n",
        folder,
    )
    assert (done.returncode, done.stderr.count("\n") > 0) == (0, True)
    (file,) = (folder / ".everfit/outbox").glob("*.refused")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["record"][2]["depth"] for line in lines] == [4, 5]
    assert "is 3" in lines[0]["reason"] or "'3'" in lines[0]["reason"]
    (run,) = everfit.runs(folder=folder)
    assert (run.params, run.metrics) == ({"depth": "3"}, {"a": 1.0})


def test_a_record_too_large_for_the_server_is_refused_alone(folder: Path, tmp_path: Path) -> None:
    environment = {"EVERFIT_MAX_BODY_BYTES": "20000"}
    workspace = open_workspace(load_settings(folder, environment=environment), durable=False)
    with BackgroundControlPlane(workspace) as plane:
        outbox, place = Outbox(tmp_path / "outbox"), destination(plane.url)[1]
        writer = Writer(lambda: (outbox, place))
        run = OpenRun(
            writer,
            RunStarted("run_1", writer.now_us(), None, None, "Ada", {}),
            ended=lambda _run: None,
        )
        for step in range(1_000):
            run.log(loss=1.0, step=step)
        run.set_tags({f"k{number}": "x" * 5_000 for number in range(5)})
        run.set_tags(last="one")
        run.end()
        writer.close()
    with workspace.reading() as tx:
        assert len(metric_history(tx, "run_1", "loss")) == 1_000
        data = get_run_data(tx, "run_1")
    workspace.close()
    assert (data.run.status, data.tags["last"], "k0" in data.tags) == ("finished", "one", False)
    assert len(list(outbox.folder.glob("*.refused"))) == 1


def test_forked_processes_log_to_the_run_of_their_parent(folder: Path) -> None:
    done = python(
        """
import os, everfit
with everfit.start_run("parent"):
    everfit.log(p=1)
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            for step in range(50):
                everfit.log({f"c{number}": step}, step=step)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    everfit.log(p=2)
""",
        folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = everfit.runs(folder=folder)
    assert run.metrics == {"p": 2, "c0": 49, "c1": 49, "c2": 49}
    assert waiting(folder / ".everfit/outbox") == []


def test_what_an_interrupted_delivery_sent_is_not_doubled(folder: Path) -> None:
    outbox, place = destination(folder)
    journal = outbox.open_journal()
    writer = journal.folder.name
    with journal:
        journal.append(encoded(RunStarted("run_1", 1, None, None, "Ada", {})))
        for step in range(10):
            journal.append(encoded(Points("run_1", 5, [("m", float(step), 0)])))
        # Delivered, and killed before it could clear up: the next one begins at the beginning.
        Delivery(outbox, place, writer).run()
    done = deliver_abandoned(outbox, place)
    assert (done.records, waiting(outbox.folder)) == (11, [])
    place.close()
    with opened(folder) as workspace, workspace.reading() as tx:
        assert len(metric_history(tx, "run_1", "m")) == 10


def test_whoever_is_killed_all_that_was_logged_arrives_once(folder: Path, state: Path) -> None:
    port = free_port()
    subprocess.run(
        [sys.executable, str(CHILDREN), "kill", str(folder), str(port), "7", "10"],
        check=True,
        timeout=120,
        stderr=subprocess.DEVNULL,
    )
    server = subprocess.Popen([sys.executable, str(CHILDREN), "serve", str(folder), str(port)])
    try:
        until_it_listens(port)
        done = cli("sync", str(folder))
        assert done.returncode == 0, done.stderr
    finally:
        server.kill()
        server.wait()
    lines = [line.split() for line in (folder / "acknowledged").read_text().splitlines()]
    points = {(key, int(step)) for key, step in lines if step != "file"}
    assert len(points) > 1_000
    with opened(folder) as workspace, workspace.reading() as tx:
        found = []
        for key in {key for key, _ in points}:
            found += [(key, point.step) for point in metric_history(tx, "run_killed", key)]
        files = artifacts(tx, "run_killed")
        for file in files.values():
            assert workspace.blobs.has(file.digest)
    assert len(found) == len(set(found))
    assert points <= set(found)
    assert {key for key, what in lines if what == "file"} <= set(files)
    # One more may be there of each process that was killed: noted, and not returned from.
    assert len(found) <= len(points) + 12
    (outbox,) = [entry for entry in state.iterdir() if entry.is_dir()]
    assert waiting(outbox) == []
