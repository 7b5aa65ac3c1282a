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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CODE_SUFFIXES = (".py", ".yaml", ".yml")
MAX_DIFF_BYTES = 8 * 1024 * 1024
GIT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeState:
    """The code of a project folder at one moment.

    ``commit`` is None outside a git tree, ``diff`` holds the changes of tracked files since
    the commit, ``untracked`` the names of files git neither tracks nor ignores, ``archive`` a zip
    of the code that git does not hold (all of it without git). ``digest`` is equal for equal
    contents of the folder's ``*.py`` and ``*.yaml`` files, with or without git.
    """

    commit: str | None
    diff: bytes
    untracked: tuple[str, ...]
    archive: bytes
    digest: str

    @property
    def dirty(self) -> bool:
        """Return whether the commit alone does not give this code back."""
        return bool(self.diff or self.untracked)


def capture_code(folder: Path) -> CodeState:
    """Return the state of the code in ``folder``, and of nothing outside it."""
    digest = _digest(folder)
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        whole = _archive(folder, _code_files(folder))
        return CodeState(commit=None, diff=b"", untracked=(), archive=whole, digest=digest)
    here = ("--", ".", ":(exclude).everfit")
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", *here)
    others = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", *here)
    names = sorted(filter(None, (others or b"").decode(errors="replace").split("\0")))
    code = (folder / name for name in names if _is_code(folder, name))
    return CodeState(
        commit=commit.decode().strip(),
        diff=_bounded(diff or b""),
        untracked=tuple(names),
        archive=_archive(folder, (path for path in code if path.is_file())),
        digest=digest,
    )


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


def _git(folder: Path, *arguments: str) -> bytes | None:
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


def _archive(folder: Path, paths: Iterable[Path]) -> bytes:
    """Return a zip of the files, equal for equal contents; empty for none."""
    packed, room = io.BytesIO(), MAX_DIFF_BYTES
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        # The project's own files first: what lies deeper may not find room.
        for path in sorted(paths, key=lambda path: (len(path.parts), path)):
            # Without a date of its own a file has the first that a zip can hold.
            named = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            try:
                content = path.read_bytes()
            except OSError:
                continue  # It is gone, or not for this user: `untracked` names it all the same.
            if len(content) <= room:
                room -= len(content)
                archive.writestr(named, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue() if archive.namelist() else b""


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(_code_files(folder)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return whole.hexdigest()


def _code_files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = [name for name in folders if _holds_code(here / name)]
        for name in names:
            if name.endswith(CODE_SUFFIXES) and (here / name).is_file():
                yield here / name


def _is_code(folder: Path, name: str) -> bool:
    """Return whether the file, named from ``folder`` on, is code of the project itself."""
    above = Path(name).parents
    return name.endswith(CODE_SUFFIXES) and all(
        _holds_code(folder / part) for part in above if part != Path()
    )


def _holds_code(folder: Path) -> bool:
    """Return whether a sub-folder may hold the project's own code: no cache, no environment."""
    installed = folder.name in ("__pycache__", "node_modules")
    return not (installed or folder.name.startswith(".") or (folder / "pyvenv.cfg").exists())
