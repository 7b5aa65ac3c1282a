"""The servers that are compared: how each is started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil

from bench.tracking.wire import HOST, Connection, get

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
READY_SECONDS = 180
SETTLING_SECONDS = 90
STOPPING_SECONDS = 5
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a server is started: ``{folder}`` and ``{port}`` in its command are filled in."""

    name: str
    command: tuple[str, ...]
    sqlite: str | None = None  # MLflow's own database below the folder, if rows may be put there
    environment: dict[str, str] = field(default_factory=dict)


def ours() -> Kind:
    """Return the server of this repository."""
    return Kind(
        name="everfit",
        command=(sys.executable, "-m", "everfit.cli", "server", "{folder}", "--port", "{port}"),
        environment={"PYTHONPATH": str(ROOT / "src")},
    )


def stock(python: str) -> Kind:
    """Return stock MLflow on SQLite with its defaults (workers, job runners)."""
    return Kind(
        name="mlflow",
        command=(
            *(python, "-m", "mlflow", "server", "--host", HOST, "--port", "{port}"),
            *("--backend-store-uri", "sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", "{folder}/artifacts"),
        ),
        sqlite="mlflow.db",
    )


def ours_is_there() -> bool:
    """Tell whether this checkout has the command that starts our server."""
    command = [sys.executable, "-m", "everfit.cli", "server", "--help"]
    environment = {**os.environ, **ours().environment}
    return (
        subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    )


def python_with_mlflow() -> str | None:
    """Return an interpreter that has MLflow: this one, or that of the `mlflow` on the path."""
    if find_spec("mlflow") is not None:
        return sys.executable
    found = shutil.which("mlflow")
    beside = Path(found).with_name("python") if found else None
    return str(beside) if beside and beside.exists() else None


@dataclass(kw_only=True)
class Server:
    """A server in processes of its own, with its data in one folder."""

    kind: Kind
    folder: Path
    port: int = 0
    idle_share: float = 0.0  # of one core, while nobody asks for anything
    _process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.kind.name

    def start(self) -> float:
        """Start the server and return the seconds until `/health` says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        places = {"{folder}": str(self.folder), "{port}": str(self.port)}
        command = [_filled(word, places) for word in self.kind.command]
        environment = {**os.environ, **QUIET, **self.kind.environment}
        started = time.perf_counter()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not self._healthy():
            if self._process.poll() is not None or time.perf_counter() - started > READY_SECONDS:
                raise ChildProcessError(
                    f"{self.name} did not start:\n{self.log.read_text()[-2000:]}"
                )
            time.sleep(0.005)
        return time.perf_counter() - started

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def stop(self) -> None:
        """Stop every process of the server, those that do not listen by force."""
        if self._process is None:
            return
        processes = self._tree()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(processes, STOPPING_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    def settle(self) -> None:
        """Wait until the server is done with what it does after it says that it is ready."""
        deadline = time.perf_counter() + SETTLING_SECONDS
        while self._burned(1.0) > 0.15 and time.perf_counter() < deadline:
            pass
        self.idle_share = self._burned(3.0)

    def cpu(self) -> float:
        """Return the CPU-seconds that the processes of the server used, ended ones included."""
        return sum(self._each(lambda process: sum(process.cpu_times()[:4])))

    def resident(self) -> float:
        """Return the resident memory of all processes in megabytes."""
        return sum(self._each(lambda process: process.memory_info().rss)) / MEGABYTE

    def largest(self) -> float:
        """Return the resident memory of the largest process in megabytes."""
        return max(self._each(lambda process: process.memory_info().rss)) / MEGABYTE

    def proportional(self) -> float:
        """Return the resident memory in megabytes with every shared page counted once."""
        return sum(self._each(lambda process: process.memory_full_info().pss)) / MEGABYTE

    def processes(self) -> int:
        return len(self._tree())

    def _burned(self, seconds: float) -> float:
        before, started = self.cpu(), time.perf_counter()
        time.sleep(seconds)
        return (self.cpu() - before) / (time.perf_counter() - started)

    def _healthy(self) -> bool:
        try:
            with Connection(self.port) as connection:
                return connection.send(get("/health")).status == 200
        except OSError:
            return False

    def _tree(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _each(self, figure: Callable[[psutil.Process], float]) -> Iterator[float]:
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                yield figure(process)


class Meter:
    """The server CPU and the wall time between two moments.

    What the server burns while idle is taken off, so that a slow operation does not pay for it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.start()

    def start(self) -> None:
        self._cpu, self._wall = self._server.cpu(), time.perf_counter()

    def wall(self) -> float:
        return time.perf_counter() - self._wall

    def cpu(self) -> float:
        used = self._server.cpu() - self._cpu
        return max(used - self._server.idle_share * self.wall(), 0.0)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


def _filled(word: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word
