"""What this machine can do without any server: bare sqlite3, and a copy of a file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path


def rows_per_second(
    below: Path, synchronous: str, rows: int, seconds: float
) -> tuple[float, float]:
    """Return metrics a second that a bare table takes, and the CPU-seconds of each.

    A commit holds ``rows`` metrics; the database is in WAL mode, without any index.
    """
    with (
        tempfile.TemporaryDirectory(dir=below) as folder,
        closing(sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)) as database,
    ):
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute(
            "CREATE TABLE metric (run INTEGER NOT NULL, key TEXT NOT NULL,"
            " step INTEGER NOT NULL, at INTEGER NOT NULL, value REAL NOT NULL)"
        )
        return _filled(database, rows, seconds)


def _filled(database: sqlite3.Connection, rows: int, seconds: float) -> tuple[float, float]:
    done, started, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        batch = [
            (1, f"metric{at % 10}", at // 10, 1_700_000_000_000 + at, at / 7)
            for at in range(done, done + rows)
        ]
        database.execute("BEGIN")
        database.executemany("INSERT INTO metric VALUES (?, ?, ?, ?, ?)", batch)
        database.execute("COMMIT")
        done += rows
    return done / (time.perf_counter() - started), (time.process_time() - used) / done


def copies_per_second(file: Path, repetitions: int) -> float:
    """Return how many copies of a file a second reach the disk, by the median copy.

    All of them are kept, as a server keeps what it is given: a copy in the memory that the one
    before has just left is up to three times as fast.
    """
    taken = []
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        for repetition in range(repetitions):
            copy, started = Path(folder) / str(repetition), time.perf_counter()
            shutil.copyfile(file, copy)
            with copy.open("rb+") as written:
                os.fsync(written.fileno())
            taken.append(time.perf_counter() - started)
    return 1 / statistics.median(taken)
