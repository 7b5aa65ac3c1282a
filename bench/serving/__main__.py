"""``python -m bench.serving [--quick] [--peers FOLDER] [--server NAME | NAME=COMMAND] ...``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.serving import kinds, measure, peers
from bench.serving.client import Client, cores
from bench.serving.kinds import Contender, Running, running
from bench.serving.measure import Bench, Figures
from bench.serving.project import ESTIMATORS, Model
from bench.serving.rows import asked
from bench.serving.sizes import FULL, QUICK
from bench.serving.table import Table, lines

TITLES = {
    "logistic": "imputer, scaler, one-hot of 30 mixed columns, logistic regression",
    "forest": "the same columns, a forest of 100 trees",
}
BARS: dict[str, tuple[float, float | None]] = {"logistic": (40, 25), "forest": (30, None)}
EQUAL = 1e-6  # between two servers' probabilities of one row
COMPARED_ROWS = 200


def main(arguments: Sequence[str]) -> None:
    """Train, start one server after the other, measure, and stop everything whatever happens."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    chosen = _parsed(arguments)
    if chosen.make_peers:
        peers.make(chosen.make_peers)
        return
    contenders = _contenders(chosen.server, chosen.peers)
    began, both = time.perf_counter(), cores()
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder, prefix="serving-") as folder,
        Client(both[1] if both else None) as client,
    ):
        sizes = QUICK if chosen.quick else FULL
        rows = asked(max(sizes.batch_rows * sizes.batches, sizes.singles))
        run = Run(
            bench=Bench(client=client, sizes=sizes, rows=rows),
            contenders=contenders,
            peers=chosen.peers,
            core=both[0] if both else None,
        )
        _head(run)
        for name in chosen.model or list(ESTIMATORS):
            model = Model(name=name, folder=Path(folder))
            model.make(rival=name == "logistic")
            run.model(model)
    _foot(run, time.perf_counter() - began)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one repetition")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the peers' venvs lie")
    parser.add_argument("--make-peers", type=Path, metavar="FOLDER", help="make them, and end")
    parser.add_argument(
        "--server",
        action="append",
        metavar="NAME",
        help="everfit, floor, a peer, or NAME=COMMAND with {project} and {port}",
    )
    parser.add_argument("--model", action="append", choices=list(ESTIMATORS))
    parser.add_argument("--folder", type=Path, help="where the temporary data goes")
    return parser.parse_args(arguments)


def _contenders(wanted: Sequence[str] | None, folder: Path | None) -> list[Contender]:
    """Return the servers to measure; without a wish all that are there."""
    others = {name: peer for name, peer in kinds.peers().items() if name in peers.there(folder)}
    known = {"everfit": kinds.ours(), **others, "floor": kinds.floor()}
    found = []
    for word in wanted or known:
        name, custom, command = word.partition("=")
        if not custom and name not in known:
            sys.exit(f"no server {name!r} here; there is {', '.join(known)}")
        found.append(kinds.custom(name, command) if custom else known[name])
    return found


@dataclass(kw_only=True)
class Run:
    """One run of the benchmark."""

    bench: Bench
    contenders: list[Contender]
    peers: Path | None
    core: int | None
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        judged = next((each.name for each in self.contenders if each.ours), None)
        others = [each for each in self.contenders if not each.ours and not each.is_floor]
        return Table(
            servers=tuple(each.name for each in self.contenders),
            peers=tuple(each.name for each in others),
            judged=judged,
        )

    def model(self, model: Model) -> None:
        """Measure every server with a model, in turn, and print the medians."""
        if any(each.name == "mlflow" for each in self.contenders) and self.peers:
            peers.save_for_mlflow(self.peers, model)
        self.broken.clear()
        self._compare(model)
        turns: dict[str, list[Figures]] = {each.name: [] for each in self.contenders}
        for turn in range(self.bench.sizes.repetitions):
            for each in (each for each in self.contenders if each.name not in self.broken):
                with self._noted(each):
                    turns[each.name].append(self._once(each, model, first=turn == 0))
        figures = {name: _medians(taken) for name, taken in turns.items() if taken}
        if floor := figures.get("floor"):
            for found in figures.values():
                found["of floor"] = 100 * found["rate"] / floor["rate"]
                found["of floor cpu"] = 100 * floor["cpu"] / found["cpu"]
        for name, why in self.broken.items():
            print(f"!! {name}: {why}")
        self.table.section(TITLES[model.name], lines(*BARS[model.name]), figures)

    def _compare(self, model: Model) -> None:
        """See that all answer the same before anything is measured."""
        rows, answers = list(self.bench.rows[:COMPARED_ROWS]), dict[str, list[float]]()
        for each in self.contenders:
            if each.is_floor:
                continue
            with self._noted(each), self._server(each, model) as server:
                server.start()
                one = each.answered(server.ask(each.request(rows[:1])))
                answers[each.name] = each.answered(server.ask(each.request(rows)))
                assert abs(one[0] - answers[each.name][0]) <= EQUAL, "one row alone differs"
        for name, found in answers.items():
            reference = next(iter(answers.values()))
            apart = max(abs(a - b) for a, b in zip(found, reference, strict=True))
            if not apart <= EQUAL:
                self.broken[name] = f"probabilities differ by up to {apart:g} from the first's"
        first = next(iter(answers.values()), [])
        print(f"{model.name}: {len(answers)} servers answer {len(first)} rows alike, ", end="")
        print(f"within {EQUAL:g}" if not self.broken else "but for those named below", flush=True)

    def _once(self, each: Contender, model: Model, *, first: bool) -> Figures:
        """Measure one server; revisions are swapped in the first turn alone, for it takes long."""
        bench, heavy = self.bench, model.name == "logistic"
        with self._server(each, model) as server:
            figures = measure.started(server) | measure.singles(bench, server)
            capacity = figures["rate"]
            figures |= measure.half_load(bench, server, capacity)
            if each.is_floor:
                return figures
            figures |= measure.batches(bench, server) | measure.at_rest(bench, server)
            if heavy and first and each.ours:
                with self._noted(each):
                    figures |= measure.swapping(bench, server, model, capacity)
            if heavy:
                figures |= measure.overload(bench, server, capacity)
        if each.name == "everfit":
            with self._noted(each):
                silent = self._silent(model)
                figures["log costs"] = 100 * (1 - capacity / silent["rate"])
                figures["log costs cpu"] = 100 * (1 - silent["cpu"] / figures["cpu"])
        return figures

    def _silent(self, model: Model) -> Figures:
        """Return our figures without the prediction log, once sure that there is none."""
        before = model.logged()
        assert before, "no prediction log was found where it should lie"
        with self._server(kinds.unlogged(), model) as server:
            server.start()
            figures = measure.singles(self.bench, server)
        assert model.logged() == before, "the server without a prediction log has kept one"
        return figures

    @contextlib.contextmanager
    def _server(self, each: Contender, model: Model) -> Iterator[Running]:
        """Yield a contender that is not started yet, and stop it in the end."""
        python = Path(sys.executable)
        if self.peers and each.name in peers.NEEDED:
            python = peers.python_of(self.peers, each.name).absolute()
        server = running(each, model, self.bench.rows[:1], python, self.core)
        try:
            yield server
        finally:
            server.stop()

    @contextlib.contextmanager
    def _noted(self, each: Contender) -> Iterator[None]:
        """Note what went wrong with one server, and let the others be measured."""
        try:
            yield
        except (AssertionError, KeyError, OSError, ValueError) as error:
            self.broken[each.name] = f"{type(error).__name__}: {error}"


def _medians(turns: Sequence[Figures]) -> Figures:
    keys = dict.fromkeys(key for turn in turns for key in turn)
    return {key: statistics.median(turn[key] for turn in turns if key in turn) for key in keys}


def _head(run: Run) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    where = "server and client share every core" if run.core is None else "a core for each"
    print(f"{os.cpu_count()} cores, load {load} before; {where}")
    missing = [name for name in peers.NEEDED if name not in peers.there(run.peers)]
    if missing:
        print(f"not there, so left out: {', '.join(missing)} (--make-peers FOLDER)")
    run.table.head()


def _foot(run: Run, seconds: float) -> None:
    print(
        f"medians of {run.bench.sizes.repetitions}, one server at a time; an open loop's requests"
        " come as a Poisson process\nand their latency counts from when they were due; CPU and"
        " memory are of the server's whole process tree\nwhere a busy server had less than 100% of"
        " its core, something else ran there: CPU for a request says more than the rate then"
    )
    for each in run.contenders:
        if run.peers and each.name in peers.NEEDED:
            print(f"{each.name}: {peers.versions(run.peers, each.name)}")
    print(f"load {', '.join(f'{each:.1f}' for each in os.getloadavg())} after {seconds:.0f} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
