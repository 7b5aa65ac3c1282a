"""Wrong input through the real command: a clear error, and nothing lost."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Everfit = Callable[..., subprocess.CompletedProcess[str]]

POLICY = """\
model: small
task: {task}
data: {{source: rows.csv, target: {target}{more}}}
train: {{candidates: {{linear: {{}}}}}}
"""


def project(
    folder: Path, table: str | bytes, *, task: str = "regression", target: str = "y", more: str = ""
) -> None:
    """Write a project around ``table``."""
    content = table if isinstance(table, bytes) else table.encode()
    (folder / "rows.csv").write_bytes(content)
    (folder / "everfit.yaml").write_text(POLICY.format(task=task, target=target, more=more))


def rows(n: int = 200) -> str:
    return "a,b,y\n" + "".join(f"{i % 17},{i % 5},{i % 17 * 2 + i % 3}\n" for i in range(n))


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return what an error said, after checking that it is an error of ours."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert "\n  -> " in done.stderr
    return done.stderr


def test_missing_file_is_named_with_its_neighbours(tmp_path: Path, everfit: Everfit) -> None:
    project(tmp_path, rows())
    (tmp_path / "rows.csv").rename(tmp_path / "rows2.csv")
    said = refused(everfit("run"))
    assert "rows.csv" in said
    assert "rows2.csv" in said


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
    "NaN target": (
        rows() + "1,2,NaN\n3,4,\n",
        {},
        ["'y'", "2 "],
    ),
    "unknown column": (rows(), {"more": ", exclude: [bb]"}, ["bb", "'b'"]),
    "non-UTF-8": (rows().encode() + "1,é,3\n".encode("latin-1"), {}, ["UTF-8"]),
    "ragged rows": (rows() + "1,2\n1,2,3,4\n", {}, ["202", "203"]),
    "10,000 columns": (
        ",".join(f"c{i}" for i in range(10_000)) + ",y\n" + ",".join(["1"] * 10_001) + "\n",
        {},
        ["10,001", "2,000"],
    ),
    "duplicate header": ("a,a,y\n1,2,3\n", {}, ["'a'"]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_unusable_data_are_refused_with_a_reason(
    name: str, tmp_path: Path, everfit: Everfit
) -> None:
    table, options, words = CASES[name]
    project(tmp_path, table, **options)
    for command in ("check", "run"):
        said = refused(everfit(command))
        for word in words:
            assert word in said, f"{command}: {word!r} not in {said}"


POLICY_CASES: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "duplicate key": (lambda text: text + "model: other\n", ["model (line 5)", "line 1"]),
    "wrong type": (lambda text: text + "truth: {arrives: 7}\n", ["truth.arrives (line 5)", "1d"]),
    "unknown gate": (lambda text: text + "gate: [{nicer: {}}]\n", ["gate[0].nicer", "better"]),
    "unknown key": (lambda text: text + "rolout: 100%\n", ["rolout", "'rollout'"]),
}


@pytest.mark.parametrize("name", list(POLICY_CASES))
def test_unusable_policies_are_refused_with_a_reason(
    name: str, tmp_path: Path, everfit: Everfit
) -> None:
    change, words = POLICY_CASES[name]
    project(tmp_path, rows())
    policy = tmp_path / "everfit.yaml"
    policy.write_text(change(policy.read_text()))
    said = refused(everfit("check"))
    for word in words:
        assert word in said


def test_locked_database_loses_nothing(tmp_path: Path, everfit: Everfit) -> None:
    project(tmp_path, rows())
    quick = {"EVERFIT_BUSY_SECONDS": "0.5"}
    assert everfit("status", **quick).returncode == 0
    holder = sqlite3.connect(tmp_path / ".everfit/everfit.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "held the database" in refused(everfit("run", **quick))
    holder.execute("ROLLBACK")
    holder.close()
    assert everfit("run", **quick).returncode == 0
    assert "chain unbroken" in everfit("audit", "verify").stdout


def test_full_disk_loses_nothing(tmp_path: Path, everfit: Everfit) -> None:
    """Blobs live on a file system of their own that has 256 KiB."""
    project(tmp_path, rows(20_000))
    assert everfit("status").returncode == 0
    blobs = tmp_path / ".everfit/blobs"
    blobs.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(blobs)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    try:
        assert "no room left" in refused(everfit("run"))
    finally:
        subprocess.run(["umount", str(blobs)], check=True)
    assert everfit("run").returncode == 0
    assert "chain unbroken" in everfit("audit", "verify").stdout
