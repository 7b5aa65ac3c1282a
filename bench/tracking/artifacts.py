"""Artifacts up and down through the server, beside a copy of the same file on the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.tracking import fill
from bench.tracking.floor import copies_per_second
from bench.tracking.servers import MEGABYTE, Meter, Server
from bench.tracking.sizes import Sizes
from bench.tracking.table import Line
from bench.tracking.wire import Connection

MEBIBYTE = 1 << 20


@dataclass(kw_only=True)
class Artifacts:
    """One large file, with new content each time: a store that knows the content copies nothing."""

    sizes: Sizes
    folder: Path
    _paths: dict[str, str] = field(default_factory=dict)
    _uploads: int = 0

    @property
    def title(self) -> str:
        size = self.sizes.artifact_mebibytes
        return f"an artifact of {size} MiB; floor: copyfile and fsync on the same disk"

    @property
    def lines(self) -> Mapping[str, Line]:
        return {
            "up": Line(what="upload", unit="MB/s", more_is_better=True, of_floor=0.5),
            "up cpu": Line(what="  server CPU", unit="ms/GB"),
            "down": Line(what="download", unit="MB/s", more_is_better=True, of_floor=0.5),
            "down cpu": Line(what="  server CPU", unit="ms/GB"),
            "resident": Line(what="resident memory afterwards", unit="MB"),
        }

    def prepare(self, server: Server) -> None:
        with Connection(server.port) as connection:
            experiment = fill.new_experiment(connection, "artifacts")
            self._paths[server.name] = fill.artifact_path(connection, experiment)

    def once(self, server: Server) -> Mapping[str, float]:
        file, self._uploads = self._written(), self._uploads + 1
        path = f"{self._paths[server.name]}/large-{self._uploads}.bin"
        size = file.stat().st_size
        figures = {}
        with Connection(server.port) as connection:
            for way in ("up", "down"):
                meter, started = Meter(server), time.perf_counter()
                if way == "up":
                    answer = connection.upload(path, file)
                    assert answer.status == 200, answer.body[:500]
                else:
                    assert connection.download(path) == size, "the artifact came back shorter"
                figures[way] = size / MEGABYTE / (time.perf_counter() - started)
                figures[f"{way} cpu"] = 1e3 * meter.cpu() / (size / 1e9)
        figures["resident"] = server.resident()
        return figures

    def floor(self) -> Mapping[str, float]:
        file = self._written()
        rate = copies_per_second(file, self.sizes.repetitions) * file.stat().st_size / MEGABYTE
        return {"up": rate, "down": rate}

    def _written(self) -> Path:
        file = self.folder / "large.bin"
        with file.open("wb") as content:
            for _ in range(self.sizes.artifact_mebibytes):
                content.write(os.urandom(MEBIBYTE))
            content.flush()
            os.fsync(content.fileno())
        return file
