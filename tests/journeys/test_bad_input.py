"""Wrong input through the real command: a clear error, and nothing lost."""

from __future__ import annotations

import contextlib
import random
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from .conftest import Command, Done

POLICY = """\
model: small
task: {task}
data: {{source: rows.csv, target: {target}{more}}}
train: {{candidates: {{linear: {{}}}}}}
gate: [{{better: {{}}}}]
"""


def project(
    folder: Path, table: str | bytes, *, task: str = "regression", target: str = "y", more: str = ""
) -> None:
    """Write a project around ``table``."""
    content = table if isinstance(table, bytes) else table.encode()
    (folder / "rows.csv").write_bytes(content)
    (folder / "everfit.yaml").write_text(POLICY.format(task=task, target=target, more=more))


def rows(count: int = 300) -> str:
    chance = random.Random(0)
    lines = []
    for _ in range(count):
        a, b = chance.random(), chance.random()
        lines.append(f"{a},{b},{2 * a - b + chance.random() / 10}\n")
    return "a,b,y\n" + "".join(lines)


def refused(done: Done) -> str:
    """Return what an error said, after checking that it is an error of ours, and said once."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error: ") == 1
    assert done.stderr.count("\n  -> ") == 1
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all that is refused: what one case does must not harm the next."""
    return tmp_path_factory.mktemp("refused")


CASES: dict[str, tuple[str | bytes, dict[str, str], list[str]]] = {
    "empty table": ("", {}, ["rows.csv", "empty"]),
    "header only": ("a,b,y\n", {}, ["rows.csv", "no row"]),
    "one-class target": (
        "a,y\n" + "".join(f"{i},yes\n" for i in range(100)),
        {"task": "classification"},
        ["'y'", "yes"],
    ),
    "all-null column": (
        "a,b,y\n" + "".join(f"{i},,{i}\n" for i in range(100)),
        {},
        ["'b'", "exclude"],
    ),
    "NaN target": (rows() + "1,2,NaN\n3,4,\n", {}, ["'y'", "2 "]),
    "unknown column": (rows(), {"more": ", exclude: [bb]"}, ["'bb'", "did you mean"]),
    "unknown target": (rows(), {"target": "z"}, ["'z'", "a, b, y"]),
    "text as target": (
        "a,y\n" + "".join(f"{i},{'low' if i % 2 else i}\n" for i in range(100)),
        {},
        ["'y'", "low"],
    ),
    "non-UTF-8": (rows().encode() + "1,é,3\n".encode("latin-1"), {}, ["302", "UTF-8"]),
    "ragged rows": (rows() + "1,2\n1,2,3,4\n", {}, ["302", "303"]),
    "10,000 columns": (
        ",".join(f"c{i}" for i in range(10_000)) + ",y\n" + ",".join(["1"] * 10_001) + "\n",
        {},
        ["10,001", "2,000"],
    ),
    "duplicate header": ("a,a,y\n1,2,3\n", {}, ["'a'"]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_unusable_data_are_refused_with_a_reason(name: str, folder: Path, here: Command) -> None:
    table, options, words = CASES[name]
    project(folder, table, **options)
    for command in ("check", "run"):
        said = refused(here(command, str(folder)))
        for word in words:
            assert word in said, f"{command}: {word!r} not in {said}"


def test_too_few_rows_are_refused_where_they_are_divided(folder: Path, here: Command) -> None:
    project(folder, "a,b,y\n1,2,3\n4,5,6\n")
    assert here("check", str(folder)).returncode == 0
    said = refused(here("run", str(folder)))
    assert "2 rows" in said
    assert "at least 20" in said


def test_a_missing_file_is_named_with_its_neighbours(folder: Path, here: Command) -> None:
    project(folder, rows())
    (folder / "rows.csv").rename(folder / "rows2.csv")
    for command in ("check", "run"):
        said = refused(here(command, str(folder)))
        assert "rows.csv" in said
        assert "rows2.csv" in said


POLICY_CASES: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "duplicate key": (lambda text: text + "model: other\n", ["model (line 6)", "line 1"]),
    "wrong type": (lambda text: text + "truth: {arrives: 7}\n", ["truth.arrives (line 6)", "1d"]),
    "unknown gate": (lambda text: text.replace("better", "nicer"), ["gate[0].nicer", "better"]),
    "unknown key": (lambda text: text + "rolout: 100%\n", ["rolout", "'rollout'"]),
    "no YAML": (lambda text: text + "gate: [\n", ["line 7"]),
    "not UTF-8": (lambda text: text + "# é\n", ["UTF-8"]),
}


@pytest.mark.parametrize("name", list(POLICY_CASES))
def test_unusable_policies_are_refused_with_a_reason(
    name: str, folder: Path, here: Command
) -> None:
    change, words = POLICY_CASES[name]
    project(folder, rows())
    policy = folder / "everfit.yaml"
    policy.write_text(change(policy.read_text()), encoding="latin-1")
    for command in ("check", "run"):
        said = refused(here(command, str(folder)))
        for word in words:
            assert word in said


def test_after_all_that_a_right_table_is_trained_and_the_ledger_is_whole(
    folder: Path, here: Command
) -> None:
    project(folder, rows())
    assert_runs(here, folder)


def assert_runs(everfit: Command, folder: Path) -> None:
    """A run succeeds and the ledger is whole."""
    done = everfit("run", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v1 is live" in done.stdout or "v1 rolls out" in done.stdout
    assert "chain unbroken" in everfit("audit", "verify", "--in", str(folder)).stdout


def test_a_locked_database_loses_nothing(tmp_path: Path, everfit: Command) -> None:
    project(tmp_path, rows())
    quick = {"EVERFIT_BUSY_SECONDS": "0.5"}
    assert everfit("status", **quick).returncode == 0
    holder = sqlite3.connect(tmp_path / ".everfit/everfit.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "held the database" in refused(everfit("run", **quick))
    holder.execute("ROLLBACK")
    holder.close()
    assert_runs(everfit, tmp_path)


Relieve = Callable[[], object]
Full = Callable[[Path], AbstractContextManager[Relieve]]


@contextlib.contextmanager
def small_files(_home: Path) -> Iterator[Relieve]:
    """Let no process write beyond 400 KiB of a file, as where a quota is used up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400 * 1024, limits[1]))
    relieve = partial(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
    try:
        yield relieve
    finally:
        relieve()


@contextlib.contextmanager
def small_disk(home: Path) -> Iterator[Relieve]:
    """Put the blobs on a file system of their own that has 256 KiB."""
    blobs = home / "blobs"
    with mounted(blobs, "256k"):
        grow = ["mount", "-o", "remount,size=64m", str(blobs)]
        yield partial(subprocess.run, grow, check=True)


@contextlib.contextmanager
def no_room_at_all(home: Path) -> Iterator[Relieve]:
    """Put everything on a file system that is full to the last byte."""
    database = (home / "everfit.db").read_bytes()
    with mounted(home, "64m"):
        (home / "everfit.db").write_bytes(database)
        filler = home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        yield filler.unlink


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("full", [small_files, small_disk, no_room_at_all])
def test_a_full_disk_loses_nothing(full: Full, tmp_path: Path, here: Command) -> None:
    project(tmp_path, rows(16_000))
    assert here("status", "--in", str(tmp_path)).returncode == 0
    with full(tmp_path / ".everfit") as relieve:
        said = refused(here("run", str(tmp_path)))
        assert "no room left" in said
        assert "ree disk space" in said
        relieve()
        assert_runs(here, tmp_path)
