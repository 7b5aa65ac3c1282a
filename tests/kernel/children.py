"""What tests run in processes of their own, to be killed: ``python children.py NAME ARGUMENTS``."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from everfit.data import TableStream
from everfit.kernel import (
    ARROW,
    Committer,
    Journal,
    Lease,
    LocalBlobs,
    Transaction,
    Worker,
    Workspace,
    load_settings,
    open_workspace,
)


def opened(folder: str, url: str) -> Workspace:
    environment = {"EVERFIT_LEASE_SECONDS": "0.2", "EVERFIT_WORKERS": "1"}
    if url:
        environment["EVERFIT_DATABASE_URL"] = url
    return open_workspace(load_settings(Path(folder), environment=environment), durable=False)


def record(folder: str, url: str, processes: str, count: str) -> None:
    """Open the workspace and write ``count`` events from each of ``processes`` at once."""
    children = [_forked(partial(_record, folder, url, int(count))) for _ in range(int(processes))]
    if any(os.waitpid(pid, 0)[1] for pid in children):
        raise SystemExit("a child failed")


def _record(folder: str, url: str, count: int) -> None:
    workspace = opened(folder, url)
    for number in range(count):
        with workspace.transaction() as tx:
            tx.record("counted", f"{os.getpid()}", number=number)


def hold(folder: str, url: str) -> None:
    """Hold a write lock from the line ``held`` on until stdin ends."""
    workspace = opened(folder, url)
    with workspace.transaction() as tx:
        tx.record("held", "lock")
        print("held", flush=True)  # noqa: T201 - the test waits for it
        sys.stdin.read()


def work(folder: str, url: str, seed: str, kills: str) -> None:
    """Start workers and kill them at random moments, ``kills`` times; two live at a time."""
    alive: list[int] = []
    chance = random.Random(int(seed))
    at_work, tells = os.pipe()
    for number in range(int(kills)):
        alive.append(_forked(partial(_run_worker, folder, url, number, tells)))
        if not select.select([at_work], [], [], 20)[0]:
            raise SystemExit("no job is left to be killed in")
        os.read(at_work, 1)
        if len(alive) == 2:
            time.sleep(chance.uniform(0, 0.1))
            _kill(alive.pop(0))
    for pid in alive:
        _kill(pid)


def _run_worker(folder: str, url: str, number: int, tells: int) -> None:
    chance = random.Random(number)
    begun: list[str] = []

    def effect(workspace: Workspace, lease: Lease) -> Mapping[str, Any]:
        if not begun:
            os.write(tells, b"!")
        begun.append(lease.job.id)
        time.sleep(chance.uniform(0, 0.02))
        with workspace.transaction() as tx:
            insert = sa.text("INSERT INTO effects (job) VALUES (:job)")
            tx.connection.execute(insert, {"job": lease.job.id})
            time.sleep(chance.uniform(0, 0.01))
            lease.finish(tx, {"worker": number})
        time.sleep(chance.uniform(0, 0.01))
        return {"never": "used"}

    Worker(opened(folder, url), {"effect": effect}, name=f"w{number}").run_until(threading.Event())


def append(folder: str, seed: str, kills: str) -> None:
    """Append from four threads and kill the process, ``kills`` times; ``acknowledged`` says what
    had returned.
    """
    chance = random.Random(int(seed))
    for number in range(int(kills)):
        pid = _forked(partial(_run_appends, Path(folder), number))
        time.sleep(chance.uniform(0.02, 0.1))
        _kill(pid)


def _run_appends(folder: Path, number: int) -> None:
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    journal = Journal(folder / "journal", writer="w", segment_bytes=20_000)

    def appends(thread: int) -> None:
        for count in range(1_000_000):
            payload = f"{number}-{thread}-{count}-".encode()
            journal.append(payload + bytes(count % 200))
            os.write(acknowledged, payload + b"\n")

    threads = [threading.Thread(target=appends, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def append_messages(folder: str, seed: str, kills: str) -> None:
    """Append messages of an Arrow stream as ``append`` does payloads."""
    chance = random.Random(int(seed))
    for number in range(int(kills)):
        pid = _forked(partial(_run_messages, Path(folder), number))
        time.sleep(chance.uniform(0.05, 0.15))
        _kill(pid)


def _run_messages(folder: Path, number: int) -> None:
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = TableStream({"number": pl.Int64(), "text": pl.String()})
    journal = Journal(folder / "journal", writer="w", segment_bytes=20_000, framing=ARROW)

    def appends(thread: int) -> None:
        for count in range(1_000_000):
            name = (number * 10 + thread) * 1_000_000 + count
            message = stream.of_columns([[name], ["x" * (count % 5000)]], 1)
            journal.append(message, preamble=stream.preamble)
            os.write(acknowledged, f"{name}\n".encode())

    threads = [threading.Thread(target=appends, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def submit(folder: str, url: str, seed: str, kills: str) -> None:
    """Submit works from four threads and kill the process once some were answered, ``kills``
    times; ``acknowledged`` says which.
    """
    chance = random.Random(int(seed))
    acknowledged = Path(folder) / "acknowledged"
    acknowledged.touch()
    for number in range(int(kills)):
        enough = acknowledged.stat().st_size + 500
        pid = _forked(partial(_run_submits, folder, url, number))
        deadline = time.monotonic() + 20
        while acknowledged.stat().st_size < enough and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        _kill(pid)


def _run_submits(folder: str, url: str, number: int) -> None:
    committer = Committer(opened(folder, url))
    acknowledged = os.open(Path(folder) / "acknowledged", os.O_WRONLY | os.O_APPEND)

    def write(name: str, tx: Transaction) -> None:
        tx.record("counted", name)

    def submits(thread: int) -> None:
        for count in range(1_000_000):
            name = f"{number}-{thread}-{count}"
            committer.submit(partial(write, name)).result()
            os.write(acknowledged, f"{name}\n".encode())

    threads = [threading.Thread(target=submits, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write_blob(root: str, size: str) -> None:
    """Write so many bytes, say so, and never finish."""
    with LocalBlobs(Path(root)).writer() as writer:
        writer.write(bytes(int(size)))
        print("written", flush=True)  # noqa: T201 - the test waits for it
        sys.stdin.read()


def write_blobs(folder: str, seed: str, kills: str) -> None:
    """Write blobs in two processes at a time and kill them, ``kills`` times; ``acknowledged``
    holds the digests of those that were finished.
    """
    chance = random.Random(int(seed))
    alive: list[int] = []
    for number in range(int(kills)):
        alive.append(_forked(partial(_run_writes, Path(folder), number)))
        time.sleep(chance.uniform(0.02, 0.1))
        if len(alive) == 2:
            _kill(alive.pop(0))
    for pid in alive:
        _kill(pid)


def _run_writes(folder: Path, seed: int) -> None:
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    chance = random.Random(seed)
    blobs = LocalBlobs(folder / "blobs")
    while True:
        with blobs.writer() as writer:
            for _ in range(chance.choice([1, 10, 100])):
                writer.write(chance.randbytes(30_000))
            digest, _ = writer.finish()
        os.write(acknowledged, f"{digest}\n".encode())


def _forked(child: Callable[[], None]) -> int:
    # Forked from a process with the libraries loaded: a child works within milliseconds.
    pid = os.fork()
    if pid == 0:
        child()  # An error ends the child through the interpreter, with its traceback.
        os._exit(0)
    return pid


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"child {pid} ended by itself")


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {
        "record": record,
        "hold": hold,
        "work": work,
        "append": append,
        "append_messages": append_messages,
        "submit": submit,
        "write_blob": write_blob,
        "write_blobs": write_blobs,
    }
    programs[sys.argv[1]](*sys.argv[2:])
