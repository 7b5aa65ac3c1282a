"""Restore: the code that a run was made with, file for file, in an empty folder."""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from everfit.errors import NotFound
from everfit.tracking.capture import CODE_SUFFIXES, code_digest, code_files, run_git


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCode:
    """What was recorded of the code of a run; the fields mean what they do in ``CodeState``."""

    commit: str | None
    digest: str
    whole: bool
    archive: bytes


def restore_code(code: RecordedCode, folder: Path, *, project: Path) -> Path:
    """Write the code below the empty ``folder``; return the place of the project's folder there.

    Where git in ``project`` still has the commit, the other files that it holds are there too, as
    they were committed. The files of code are those of the archive.

    Raises
    ------
    NotFound
        If what is recorded does not give back exactly the code that ran.
    """
    root = _checked_out(code.commit, folder, project) or folder
    if code.archive:
        with zipfile.ZipFile(io.BytesIO(code.archive)) as archive:
            names = {name for name in archive.namelist() if name.endswith(CODE_SUFFIXES)}
            for path in list(code_files(root)) if code.whole else []:
                if path.relative_to(root).as_posix() not in names:
                    path.unlink()
            archive.extractall(root, names)
    if code_digest(root) != code.digest:
        where = f"commit {code.commit[:12]} and " if code.commit else ""
        raise NotFound(
            f"{where}the archive of {len(code.archive):,} bytes do not give the recorded code back",
            hint="Have the project's folder under git, with the commit, and keep its own code "
            "small: beyond 8 MB only the files that git does not hold are archived.",
        )
    return root


def _checked_out(commit: str | None, folder: Path, project: Path) -> Path | None:
    """Return where the project's folder lies in a fresh copy of the commit; None without it."""
    top = run_git(project, "rev-parse", "--show-toplevel")
    prefix = run_git(project, "rev-parse", "--show-prefix")
    if commit is None or top is None or prefix is None:
        return None
    if run_git(project, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return None
    copy = folder / "tree"
    origin, inside = top.decode().strip("\n"), prefix.decode().strip("\n") or "."
    # Objects are shared, not copied; branches do not matter: a commit that none has will do.
    clone = ("clone", "--quiet", "--shared", "--no-checkout", "--", origin, str(copy))
    if run_git(folder, *clone) is None:
        return None
    run_git(copy, "checkout", "--quiet", commit, "--", inside)
    shutil.rmtree(copy / ".git")
    root = copy / inside
    root.mkdir(parents=True, exist_ok=True)
    return root
