"""``python -m bench.tracking [--quick] [--python PYTHON] [--server NAME | NAME=COMMAND] ...``."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.tracking.artifacts import Artifacts
from bench.tracking.fill import Filler, warm
from bench.tracking.reads import History, Search
from bench.tracking.servers import Kind, Server, ours, ours_is_there, python_with_mlflow, stock
from bench.tracking.sizes import FULL, QUICK, Sizes
from bench.tracking.start import LINES, started
from bench.tracking.table import Results, Section, Table
from bench.tracking.wire import Clients, Connection, get
from bench.tracking.writes import Batches, RealClient, Singles

MANY_AT_MOST = 100  # milliseconds, the bar of a search over many runs


def main(arguments: Sequence[str]) -> None:
    """Start the servers, measure section after section, and stop everything whatever happens."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    chosen = _parsed(arguments)
    kinds = _kinds(chosen.server, chosen.python)
    if not kinds:
        sys.exit("no server to measure: this interpreter has no mlflow, name one with --python")
    sizes = QUICK if chosen.quick else FULL
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder, prefix="tracking-") as folder,
        contextlib.ExitStack() as stack,
    ):
        servers = [Server(kind=kind, folder=Path(folder) / kind.name) for kind in kinds]
        for server in servers:
            stack.callback(server.stop)
        clients = stack.enter_context(Clients(sizes.clients))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # stopping is not cut short
        judged = len(kinds) == 2 or kinds[0].sqlite is None
        table = Table(servers=tuple(kind.name for kind in kinds), judged=judged)
        began = time.perf_counter()
        table.head()
        _start(table, servers, sizes)
        for section in _sections(stack, sizes, clients, Path(folder), chosen.python):
            _measure(table, section, servers, sizes)
        _many(table, servers, sizes, clients)
        _foot(servers, sizes, time.perf_counter() - began)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench tracking", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, one repetition")
    parser.add_argument(
        "--python",
        default=python_with_mlflow(),
        metavar="PYTHON",
        help="an interpreter that has MLflow (default: this one, or that of `mlflow` on the path)",
    )
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME",
        help="everfit, mlflow, or NAME=COMMAND with {folder} and {port}; two at most",
    )
    parser.add_argument("--folder", type=Path, help="where the temporary data goes")
    return parser.parse_args(arguments)


def _kinds(wanted: list[str] | None, python: str | None) -> list[Kind]:
    """Return the servers to measure; without a wish ours and MLflow, as far as they are there."""
    known = {} if python is None else {"mlflow": stock(python)}
    if ours_is_there():
        known = {"everfit": ours(), **known}
    if wanted is None:
        return list(known.values())
    kinds = []
    for word in wanted[:2]:
        name, custom, command = word.partition("=")
        if not custom and name not in known:
            sys.exit(f"no server {name!r} here; there is {', '.join(known) or 'none'}")
        kinds.append(
            Kind(name=name, command=tuple(shlex.split(command))) if custom else known[name]
        )
    return kinds


def _sections(
    stack: contextlib.ExitStack, sizes: Sizes, clients: Clients, folder: Path, python: str | None
) -> Iterator[Section]:
    filler = Filler(clients=clients)
    yield Batches(sizes=sizes, clients=clients, folder=folder)
    yield Singles(sizes=sizes, clients=clients, folder=folder)
    if python is not None:
        client = RealClient(sizes=sizes, python=python)
        stack.callback(client.stop)
        yield client
        client.stop()
    yield Search(sizes=sizes, filler=filler, count=sizes.runs)
    yield History(sizes=sizes, filler=filler)
    yield Artifacts(sizes=sizes, folder=folder)


def _start(table: Table, servers: list[Server], sizes: Sizes) -> None:
    results = Results()
    for server in servers:
        results.by_server[server.name] = started(server, sizes)
        warm(server)
    table.section("start", LINES, results)


def _measure(table: Table, section: Section, servers: list[Server], sizes: Sizes) -> None:
    """Measure turn by turn, so that what else the machine does meets every server alike."""
    turns: dict[str, list[Mapping[str, float]]] = {server.name: [] for server in servers}
    broken: dict[str, str] = {}
    spent = dict.fromkeys(turns, 0.0)
    for server in servers:
        with _noted(server, broken):
            section.prepare(server)
    for _ in range(sizes.repetitions):
        for server in servers:
            if server.name in broken or spent[server.name] >= sizes.budget_seconds:
                continue
            began = time.perf_counter()
            with _noted(server, broken):
                turns[server.name].append(section.once(server))
            spent[server.name] += time.perf_counter() - began
    medians = {name: _medians(taken) for name, taken in turns.items() if name not in broken}
    results = Results(by_server=medians, floor=section.floor(), broken=broken)
    table.section(section.title, section.lines, results)


@contextlib.contextmanager
def _noted(server: Server, broken: dict[str, str]) -> Iterator[None]:
    """Note what went wrong with one server, and let the others be measured."""
    try:
        yield
    except (AssertionError, KeyError, OSError, ValueError) as error:
        broken[server.name] = f"{type(error).__name__}: {error}"


def _medians(turns: list[Mapping[str, float]]) -> dict[str, float]:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def _many(table: Table, servers: list[Server], sizes: Sizes, clients: Clients) -> None:
    """Search over many runs, only in the servers that have no peer's database to be filled."""
    lone = [server for server in servers if server.kind.sqlite is None]
    if lone:
        section = Search(
            sizes=sizes,
            filler=Filler(clients=clients),
            count=sizes.many_runs,
            at_most=MANY_AT_MOST,
        )
        _measure(table, section, lone, sizes)


def _foot(servers: list[Server], sizes: Sizes, seconds: float) -> None:
    print(
        f"medians of {sizes.repetitions} (of fewer where those take over"
        f" {sizes.budget_seconds:.0f} s), servers in turn; server CPU is of its whole process tree,"
        " less what it burns idle"
    )
    for server in servers:
        with Connection(server.port) as connection:
            version = connection.send(get("/version")).body.decode()
        command = " ".join(server.kind.command)
        print(f"{server.name} {version}: {server.processes()} processes, {command}")
    print(f"{seconds:.0f} s in all")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
