"""What the workers of one server count together: a file for each, read by the one that is asked."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SUFFIX = ".counts"


class Exchange:
    """What each worker of a server has last told the others, in one folder.

    A worker that ends leaves its file behind, and the next one of its name goes on from there: what
    has been told is never taken back, whoever is killed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}{SUFFIX}"
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def last(self) -> bytes | None:
        """Return what the worker of this name told last, or None if there was none."""
        with suppress(FileNotFoundError):
            return self._file.read_bytes()
        return None

    def tell(self, told: Callable[[], bytes]) -> bytes:
        """Write what ``told`` returns in place of what was told before, and return it.

        Raises
        ------
        OSError
            If it cannot be written; what was told before stands.
        """
        # One at a time: else what was asked for earlier could be written later.
        with self._lock:
            content = told()
            new = self._file.with_suffix(".new")
            new.write_bytes(content)
            new.replace(self._file)
        return content

    def others(self) -> list[bytes]:
        """Return what each of the other workers told last."""
        files = sorted(self._file.parent.glob(f"*{SUFFIX}"))
        return [file.read_bytes() for file in files if file != self._file]


def clear(folder: Path) -> None:
    """Forget what the workers of an earlier server told each other."""
    shutil.rmtree(folder, ignore_errors=True)
