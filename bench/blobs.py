"""Blobs beside copies of the same files: one of 200 MiB, and 1,000 of 4 KiB.

Sources are in the page cache, results are durable unless the row says otherwise. Every round
takes each row in turn, so that what else runs on the machine falls on all of them.

    python -m bench.blobs [folder]
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from everfit.kernel import LocalBlobs

ROUNDS = 5
MIB = 1024 * 1024
LARGE = 200 * MIB
SMALL, COUNT = 4096, 1000
PARTS = 10

Work = Callable[[Path], object]


def main(folder: str | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        large(Path(name))
        small(Path(name))


def large(folder: Path) -> None:
    source = folder / "large"
    chance = random.Random(1)  # noqa: S311
    content = chance.randbytes(LARGE)
    source.write_bytes(content)
    stored = LocalBlobs(folder / "stored")
    digest = stored.put(content)
    parts = [
        stored.put(content[at : at + LARGE // PARTS]) for at in range(0, LARGE, LARGE // PARTS)
    ]
    rows: dict[str, Work] = {
        "cp": lambda to: copy(source, to / "copy", sync=False),
        "cp and sync": lambda to: copy(source, to / "copy", sync=True),
        "SHA-256 alone": lambda _: hashlib.sha256(content).hexdigest(),
        "writer, chunks of 64 KiB": lambda to: write(LocalBlobs(to), source, MIB // 16),
        "writer, chunks of 1 MiB": lambda to: write(LocalBlobs(to), source, MIB),
        "put": lambda to: LocalBlobs(to).put(content),
        f"concatenate {PARTS} parts": lambda _: concatenated(stored, parts, chance),
        "open, all of it": lambda _: read(stored, digest),
        "open, all but one byte (unchecked)": lambda _: read(stored, digest, offset=1),
        "get": lambda _: stored.get(digest),
    }
    show(f"one of {LARGE // MIB} MiB", LARGE, rows, folder)


def small(folder: Path) -> None:
    source = folder / "small"
    source.mkdir()
    chance = random.Random(2)  # noqa: S311
    contents = [chance.randbytes(SMALL) for _ in range(COUNT)]
    for number, content in enumerate(contents):
        (source / f"{number}").write_bytes(content)
    stored = LocalBlobs(folder / "stored")
    digests = [stored.put(content) for content in contents]
    rows: dict[str, Work] = {
        "cp -r": lambda to: copy(source, to / "copy", sync=False),
        "cp -r and sync": lambda to: copy(source, to / "copy", sync=True),
        "each copied, then synced": lambda to: copy_each(source, to),
        "put": lambda to: put_all(LocalBlobs(to), contents),
        "put, already there": lambda _: put_all(stored, contents),
        "writer": lambda to: write_all(LocalBlobs(to), source),
        "writer, not durable": lambda to: write_all(LocalBlobs(to, durable=False), source),
        "open": lambda _: [read(stored, digest) for digest in digests],
        "get": lambda _: [stored.get(digest) for digest in digests],
    }
    show(f"{COUNT:,} of {SMALL // 1024} KiB", COUNT * SMALL, rows, folder)


def copy(source: Path, target: Path, *, sync: bool) -> None:
    subprocess.run(["cp", "-r", source, target], check=True)
    if sync:
        files = [target] if target.is_file() else list(target.iterdir())
        subprocess.run(["sync", *files], check=True)


def copy_each(folder: Path, target: Path) -> None:
    for source in folder.iterdir():
        with (target / source.name).open("wb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())


def write(blobs: LocalBlobs, source: Path, size: int) -> tuple[str, int]:
    with source.open("rb", buffering=0) as file, blobs.writer() as writer:
        while chunk := file.read(size):
            writer.write(chunk)
        return writer.finish()


def put_all(blobs: LocalBlobs, contents: list[bytes]) -> None:
    for content in contents:
        blobs.put(content)


def write_all(blobs: LocalBlobs, folder: Path) -> None:
    for source in folder.iterdir():
        write(blobs, source, SMALL)


def concatenated(blobs: LocalBlobs, parts: list[str], chance: random.Random) -> None:
    # In another order each time, so that what is written was not there before.
    assert blobs.concatenate(chance.sample(parts, len(parts)))[1] == LARGE


def read(blobs: LocalBlobs, digest: str, *, offset: int = 0) -> int:
    with blobs.open(digest, offset=offset) as reader:
        return sum(map(len, reader))


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def show(title: str, size: int, rows: dict[str, Work], folder: Path) -> None:
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, work in rows.items():
            with fresh(folder / "target") as target:
                started = time.perf_counter()
                work(target)
                taken[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    plain, synced = list(medians.values())[:2]
    print(f"{title}, median of {ROUNDS}; ratios are speeds in terms of the copy's")
    print(f"{'what':<36}{'seconds':>9}{'MiB/s':>8}{'of cp':>8}{'of cp and sync':>16}")
    for name, seconds in medians.items():
        ratios = f"{plain / seconds:>8.2f}{synced / seconds:>16.2f}"
        print(f"{name:<36}{seconds:>9.3f}{size / MIB / seconds:>8.0f}{ratios}")


if __name__ == "__main__":
    main(*sys.argv[1:])
