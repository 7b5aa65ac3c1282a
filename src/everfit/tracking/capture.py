"""What a run was made with: the state of the code and the environment."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import io
import os
import platform
import subprocess
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

CODE_SUFFIXES = (".py", ".yaml", ".yml")
MAX_DIFF_BYTES = 8 * 1024 * 1024
GIT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeState:
    """The code of a project folder at one moment.

    ``commit`` is None outside a git tree, ``diff`` holds the changes of tracked files since
    the commit, ``untracked`` the names of files git neither tracks nor ignores. ``archive`` is a
    zip of the folder's ``*.py`` and ``*.yaml`` files, what git does not hold first; ``whole`` says
    whether all of them found room in it. ``digest`` is equal for equal contents of these files,
    with or without git.
    """

    commit: str | None
    diff: bytes
    untracked: tuple[str, ...]
    archive: bytes
    whole: bool
    digest: str

    @property
    def dirty(self) -> bool:
        """Return whether the commit alone does not give this code back."""
        return bool(self.diff or self.untracked)


def capture_code(folder: Path) -> CodeState:
    """Return the state of the code in ``folder``, and of nothing outside it."""
    digest = code_digest(folder)
    commit = run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        archive, whole = _archive(folder, ())
        return CodeState(
            commit=None, diff=b"", untracked=(), archive=archive, whole=whole, digest=digest
        )
    here = ("--", ".", ":(exclude).everfit")
    diff = run_git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", *here)
    untracked = _names(folder, "ls-files", "--others", "--exclude-standard", "-z", *here)
    changed = _names(folder, "diff", "HEAD", "--name-only", "--relative", "-z", *here)
    archive, whole = _archive(folder, {*untracked, *changed})
    return CodeState(
        commit=commit.decode().strip(),
        diff=_bounded(diff or b""),
        untracked=untracked,
        archive=archive,
        whole=whole,
        digest=digest,
    )


def _names(folder: Path, *arguments: str) -> tuple[str, ...]:
    listed = run_git(folder, *arguments) or b""
    return tuple(sorted(filter(None, listed.decode(errors="replace").split("\0"))))


@functools.cache
def environment_lock() -> str:
    """Return Python, platform and every installed distribution as a requirements file.

    Read once per process: what is installed later is not what this process imported.
    """
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name, version = _name_and_version(distribution)
        # The first on the path is the one that is imported.
        found.setdefault(name, version)
    lines = sorted(f"{name}=={version}" for name, version in found.items() if name)
    python = f"# python {platform.python_version()} ({platform.python_implementation()})"
    return "\n".join([python, f"# platform {platform.platform()}", *lines]) + "\n"


def _name_and_version(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    # `distribution.metadata` parses the whole file, long description and all: ten times slower.
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    header = text.replace("\r\n", "\n").split("\n\n", 1)[0]
    fields = dict(line.split(": ", 1) for line in header.split("\n") if ": " in line)
    return fields.get("Name", ""), fields.get("Version", "")


def run_git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git prints, or None without git, outside its trees, or before a first commit."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; the folder is an argument, no shell
            command, capture_output=True, check=False, timeout=GIT_SECONDS
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _bounded(diff: bytes) -> bytes:
    if len(diff) <= MAX_DIFF_BYTES:
        return diff
    # A changed data file under git must not be copied into every run.
    return diff[:MAX_DIFF_BYTES] + f"\n# cut: the diff has {len(diff):,} bytes\n".encode()


def _archive(folder: Path, first: Collection[str]) -> tuple[bytes, bool]:
    """Return a zip of the code, equal for equal contents, and whether it holds all of it.

    The files ``first``, which nothing else holds, come before the others.
    """
    packed, room, whole = io.BytesIO(), MAX_DIFF_BYTES, True
    found = {path.relative_to(folder).as_posix(): path for path in code_files(folder)}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # The project's own files first: what lies deeper may not find room.
        for name in sorted(found, key=lambda name: (name not in first, name.count("/"), name)):
            try:
                content = found[name].read_bytes()
            except OSError:
                whole = False  # It is gone, or not for this user.
                continue
            if len(content) > room:
                whole = False
                continue
            room -= len(content)
            # Without a date of its own a file has the first that a zip can hold.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return (packed.getvalue() if archive.namelist() else b""), whole


def archived_files(archive: bytes) -> dict[str, str]:
    """Return the name and the SHA-256 of each file in an archive of code."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return {
            name: hashlib.sha256(packed.read(name)).hexdigest()
            for name in sorted(packed.namelist())
        }


def code_digest(folder: Path) -> str:
    """Return the SHA-256 of names and contents of the code in ``folder``."""
    whole = hashlib.sha256()
    for path in sorted(code_files(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return whole.hexdigest()


def code_files(folder: Path) -> Iterator[Path]:
    """Yield the ``*.py`` and ``*.yaml`` files of a project, without caches and environments."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = [name for name in folders if _holds_code(here / name)]
        for name in names:
            if name.endswith(CODE_SUFFIXES) and (here / name).is_file():
                yield here / name


def _holds_code(folder: Path) -> bool:
    """Return whether a sub-folder may hold the project's own code: no cache, no environment."""
    installed = folder.name in ("__pycache__", "node_modules")
    return not (installed or folder.name.startswith(".") or (folder / "pyvenv.cfg").exists())
