"""What is remembered of the code and the environment a run was made with."""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import time
import zipfile
from pathlib import Path

from everfit.kernel import Workspace
from everfit.tracking import (
    artifacts,
    capture_code,
    environment_lock,
    record_provenance,
    start_run,
)
from everfit.tracking.capture import MAX_DIFF_BYTES

from .conftest import git


def test_clean_code_is_its_commit(project: Path) -> None:
    code = capture_code(project)
    assert code.commit == git(project, "rev-parse", "HEAD")
    assert (code.diff, code.untracked, code.dirty) == (b"", (), False)


def test_changes_of_the_folder_are_kept_and_those_elsewhere_are_not(project: Path) -> None:
    (project / "pipeline.py").write_text("depth = 8\n")
    (project / "näh.py").write_text("secret = 1\n")
    (project.parent / "elsewhere.py").write_text("x = 2\n")
    (project.parent / "new.py").write_text("")
    (project / ".everfit").mkdir()
    (project / ".everfit" / "everfit.db").write_text("")
    code = capture_code(project)
    assert b"+depth = 8" in code.diff
    assert b"elsewhere" not in code.diff
    assert b"secret" not in code.diff
    assert code.untracked == ("näh.py",)
    assert code.dirty


def test_the_diff_brings_the_commit_to_the_present_code(project: Path, tmp_path: Path) -> None:
    (project / "pipeline.py").write_text("depth = 8\n")
    code = capture_code(project)
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "--quiet", str(project.parent), str(copy))
    subprocess.run(["git", "-C", str(copy), "apply"], input=code.diff, check=True)
    assert (copy / "bikes" / "pipeline.py").read_text() == "depth = 8\n"
    assert capture_code(copy / "bikes").digest == code.digest


def test_a_diff_of_a_large_file_is_cut_and_says_so(project: Path) -> None:
    (project / "data.csv").write_text("")
    git(project, "add", "data.csv")
    (project / "data.csv").write_text("1,2,3\n" * (MAX_DIFF_BYTES // 6))
    code = capture_code(project)
    assert len(code.diff) < MAX_DIFF_BYTES + 100
    assert b"# cut: the diff has" in code.diff[-100:]


def test_without_git_the_digest_alone_tells_code_apart(tmp_path: Path) -> None:
    folder = tmp_path / "bikes"
    (folder / "steps").mkdir(parents=True)
    (folder / "steps" / "clean.py").write_text("a = 1\n")
    (folder / "everfit.yaml").write_text("model: bikes\n")
    first = capture_code(folder)
    assert (first.commit, first.diff, first.dirty) == (None, b"", False)
    (folder / "data.csv").write_text("1,2\n")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "installed.py").write_text("")
    assert capture_code(folder).digest == first.digest
    (folder / "steps" / "clean.py").write_text("a = 2\n")
    assert capture_code(folder).digest != first.digest


def test_a_tree_without_a_commit_counts_as_no_git(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert capture_code(tmp_path).commit is None


def test_what_is_too_big_to_keep_does_not_keep_the_rest_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * (MAX_DIFF_BYTES + 1))
    (tmp_path / "pipeline.py").write_text("a = 1\n")
    with zipfile.ZipFile(io.BytesIO(capture_code(tmp_path).archive)) as archive:
        assert archive.namelist() == ["pipeline.py"]


def test_without_git_the_archive_gives_the_code_back(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "everfit.yaml").write_text("model: m\n")
    (tmp_path / "steps/own.py").write_text("a = 1\n")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    code = capture_code(tmp_path)
    assert code.archive == capture_code(tmp_path).archive
    with zipfile.ZipFile(io.BytesIO(code.archive)) as archive:
        archive.extractall(tmp_path / "again")
    assert capture_code(tmp_path / "again").digest == code.digest
    assert not (tmp_path / "again/rows.csv").exists()


def test_what_git_does_not_hold_is_archived_first(project: Path) -> None:
    (project / "aaa.yaml").write_bytes(b"#" * (MAX_DIFF_BYTES - 100))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "a large file")
    (project / "pipeline.py").write_text("depth = 8\n" * 20)
    (project / "deep").mkdir()
    (project / "deep/new.py").write_text("width = 3\n")
    code = capture_code(project)
    with zipfile.ZipFile(io.BytesIO(code.archive)) as archive:
        assert archive.namelist() == ["pipeline.py", "deep/new.py"]
    assert not code.whole


def test_the_lock_names_every_installed_distribution() -> None:
    environment_lock.cache_clear()
    start = time.process_time()
    lines = environment_lock().splitlines()
    spent = time.process_time() - start
    assert lines[0].startswith("# python 3.")
    assert lines[1].startswith("# platform ")
    assert f"polars=={importlib.metadata.version('polars')}" in lines
    assert lines[2:] == sorted(set(lines[2:]))
    # Every run starts with it. Measured: 0.012 s.
    assert spent < 0.06


def test_provenance_becomes_artifacts_of_the_run(any_workspace: Workspace, project: Path) -> None:
    (project / "pipeline.py").write_text("depth = 8\n")
    (project / "new.py").write_text("width = 3\n")
    code = capture_code(project)
    with any_workspace.transaction() as tx:
        run = start_run(tx, kind="training", name="bikes")
        record_provenance(tx, any_workspace.blobs, run.id, code)
        found = artifacts(tx, run.id)
    content = {name: any_workspace.blobs.get(found[name].digest) for name in found}
    assert content["environment.txt"].decode() == environment_lock()
    assert content["code.patch"] == code.diff
    described = json.loads(content["code.json"])
    assert described == {
        "commit": code.commit,
        "untracked": ["new.py"],
        "whole": True,
        "digest": code.digest,
    }
    with zipfile.ZipFile(io.BytesIO(content["code.zip"])) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "new.py": b"width = 3\n",
            "pipeline.py": b"depth = 8\n",
        }
    assert found["code.patch"].bytes == len(code.diff)
