"""The code of a run is given back file for file, or not at all."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from everfit.errors import NotFound
from everfit.kernel import Workspace
from everfit.tracking import (
    RecordedCode,
    capture_code,
    kept_code,
    kept_environment,
    record_provenance,
    restore_code,
    start_run,
)
from everfit.tracking.capture import MAX_DIFF_BYTES, CodeState, environment_lock

from .conftest import git


def recorded(code: CodeState) -> RecordedCode:
    return RecordedCode(
        commit=code.commit, digest=code.digest, whole=code.whole, archive=code.archive
    )


def restored(code: CodeState, tmp_path: Path, project: Path) -> dict[str, str]:
    folder = tmp_path / "restored"
    folder.mkdir()
    root = restore_code(recorded(code), folder, project=project)
    assert root.is_relative_to(folder)
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def test_the_commit_gives_the_other_files_too(project: Path, tmp_path: Path) -> None:
    (project / "lookup.csv").write_text("a,b\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "a table")
    code = capture_code(project)
    (project / "pipeline.py").write_text("depth = 9\n")
    (project / "lookup.csv").write_text("changed\n")
    files = restored(code, tmp_path, project)
    assert files == {"pipeline.py": "depth = 4\n", "lookup.csv": "a,b\n"}


def test_what_was_not_committed_comes_from_the_archive(project: Path, tmp_path: Path) -> None:
    (project / "gone.py").write_text("")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "one more")
    (project / "gone.py").unlink()
    (project / "pipeline.py").write_text("depth = 8\n")
    (project / "new.py").write_text("width = 3\n")
    code = capture_code(project)
    git(project, "checkout", "--quiet", "--", ".")
    files = restored(code, tmp_path, project)
    assert files == {"pipeline.py": "depth = 8\n", "new.py": "width = 3\n"}


def test_a_commit_that_no_branch_has_any_more_will_do(project: Path, tmp_path: Path) -> None:
    (project / "note.txt").write_text("of then\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "then")
    code = capture_code(project)
    git(project, "commit", "--quiet", "--amend", "--message", "now")
    assert restored(code, tmp_path, project)["note.txt"] == "of then\n"


def test_without_the_commit_the_archive_is_enough(project: Path, tmp_path: Path) -> None:
    code = capture_code(project)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert restored(code, tmp_path, elsewhere) == {"pipeline.py": "depth = 4\n"}


def test_code_too_large_for_the_archive_needs_the_commit(project: Path, tmp_path: Path) -> None:
    (project / "large.yaml").write_bytes(b"#" * (MAX_DIFF_BYTES + 1))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "a large file")
    (project / "pipeline.py").write_text("depth = 8\n")
    code = capture_code(project)
    assert not code.whole
    (tmp_path / "bare").mkdir()
    with pytest.raises(NotFound, match=r"commit \w{12} and the archive of .* do not give"):
        restore_code(recorded(code), tmp_path / "bare", project=tmp_path)
    assert restored(code, tmp_path, project)["pipeline.py"] == "depth = 8\n"


def test_what_was_recorded_is_found_by_its_digests(any_workspace: Workspace, project: Path) -> None:
    code = capture_code(project)
    blobs = any_workspace.blobs
    with any_workspace.transaction() as tx:
        run = start_run(tx, kind="training", name="bikes")
        kept = record_provenance(tx, blobs, run.id, code)
    assert kept_code(blobs, kept) == recorded(code)
    assert kept_environment(blobs, kept) == environment_lock()
    assert (kept_code(blobs, {}), kept_environment(blobs, {})) == (None, "")


def test_nothing_but_code_comes_out_of_the_archive(project: Path, tmp_path: Path) -> None:
    code = capture_code(project)
    packed = io.BytesIO(code.archive)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("polars.so", b"")
    assert restored(replace(code, archive=packed.getvalue()), tmp_path, tmp_path) == {
        "pipeline.py": "depth = 4\n"
    }
