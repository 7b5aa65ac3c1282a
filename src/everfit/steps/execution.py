"""One run of the step engine: which steps are done, which run, which may start."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from everfit.errors import EverfitError
from everfit.kernel import Blobs, Settings, Workspace, canonical_json, storable
from everfit.steps import service
from everfit.steps.ends import GIB, Raised, meaning, words
from everfit.steps.logs import StepLogs
from everfit.steps.model import (
    Call,
    Heartbeat,
    Progress,
    RunStep,
    StepResult,
    StoredStep,
    StoredValue,
)
from everfit.steps.pool import Code, Process, ProcessEnded, StepPool, Value

CHECK_SECONDS = 1.0
Row = tuple[StoredStep, StoredValue]


def digest_of(value: object) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a step gave, durable by now."""

    value: Value
    bytes: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


@dataclass(slots=True, kw_only=True)
class Execution:
    """Steps in the order in which their inputs are there, as many at once as the pool has children.

    A step whose process a signal ended is run once more: that tells of the machine, where memory
    ran out perhaps, and not of the step.

    ``cached`` holds by key what need not run, ``values`` what the calls take besides one another's
    results. Used once.
    """

    workspace: Workspace
    run_id: str
    calls: Mapping[str, Call]
    recipes: Mapping[str, str]
    cached: dict[str, StoredStep]
    values: dict[str, Value]
    code: Code
    pool: StepPool
    progress: Progress
    lease: Heartbeat | None
    logs: StepLogs | None
    _results: dict[str, StepResult] = field(default_factory=dict)
    _waiting: dict[str, set[str]] = field(default_factory=dict)
    _takers: dict[str, list[str]] = field(default_factory=dict)
    _ready: deque[str] = field(default_factory=deque)
    _running: dict[Future[Made], tuple[str, Process]] = field(default_factory=dict)
    _states: list[RunStep] = field(default_factory=list)
    _lost: dict[str, ProcessEnded] = field(default_factory=dict)
    _repeated: list[str] = field(default_factory=list)
    _checked_at: float = 0.0

    def finish(self) -> dict[str, StepResult]:
        """Run until every step is done; return the results by name."""
        for name, call in self.calls.items():
            self._waiting[name] = set(call.needs)
            for source in call.needs:
                self._takers.setdefault(source, []).append(name)
        self._deliver_logs()
        try:
            self._make_ready([name for name, needs in self._waiting.items() if not needs])
            self._record_and_start([])
            while self._running:
                self._check()
                done, _ = wait(self._running, CHECK_SECONDS, FIRST_COMPLETED)
                self._harvest(done)
        finally:
            self._end_running()
        return {name: self._results[name] for name in self.calls}

    def _check(self) -> None:
        # The lease writes to the database: not for each of a hundred short steps.
        if self.lease is not None and time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self.lease.check()

    def _deliver_logs(self) -> None:
        if self.logs is not None:
            self.logs.deliver()

    def _make_ready(self, names: Sequence[str]) -> None:
        """Take each of these from the cache, with what that makes ready, or let it wait to run."""
        left = deque(names)
        while left:
            name = left.popleft()
            known = self.cached.get(self._key(name))
            if known is not None and self.workspace.blobs.has(known.digest):
                left += self._done(name, known, cached=True)
            else:
                self._ready.append(name)

    def _start_waiting(self) -> None:
        """Start what waited for a child only: it runs while what has just ended is recorded."""
        while self._ready and (process := self._take(self.calls[self._ready[0]])):
            name = self._ready.popleft()
            self._note(name, "running")
            self._start(name, process)

    def _record_and_start(self, rows: Sequence[Row]) -> None:
        """Record what is done in one transaction; then only start what builds on it.

        So whatever has begun finds its inputs recorded, when the run is killed just then.
        """
        taken: dict[str, Process] = {}
        try:
            while self._ready and (process := self._take(self.calls[self._ready[0]])):
                name = self._ready.popleft()
                taken[name] = process
                self._note(name, "running")
            self._record(rows)
            while taken:
                self._start(*taken.popitem())
        finally:
            for process in taken.values():
                self.pool.give_back(process, keep=False)

    def _take(self, call: Call) -> Process | None:
        return self.pool.take(list(self._inputs(call).values()), fresh=call.own_process)

    def _start(self, name: str, process: Process) -> None:
        call = self.calls[name]
        logs = self.logs.begin(self._key(name), call.prefix) if self.logs else {}
        request = {
            "function": call.function,
            "params": dict(call.params),
            "code": self.code,
            "log": logs,
        }
        work = (self.workspace.blobs, process, request, self._inputs(call))
        self._running[self.pool.threads.submit(_run, *work)] = (name, process)

    def _harvest(self, done: set[Future[Made]]) -> None:
        """Record what is done, and start what has become ready by it."""
        # First what the steps logged: one that is on record does not run again.
        self._deliver_logs()
        rows: list[Row] = []
        ready: list[str] = []
        failure: BaseException | None = None
        for future in done:
            name, error = self._ended(future)
            if error is None:
                made = future.result()
                rows.append(self._rows(name, made))
                ready += self._done(name, rows[-1][0], output=made.output)
            elif isinstance(error, ProcessEnded) and error.signal and name not in self._lost:
                self._repeat(name, error)
            elif failure is None:
                failure = meaning(name, error, self._lost.get(name))
                self._note(name, "failed", output=getattr(error, "output", ""), error=str(failure))
        if failure is None:
            self._start_waiting()
            self._make_ready(ready)
            self._record_and_start(rows)
            return
        for name, _ in self._running.values():
            self._note(name, "stopped")
        self._record(rows)
        raise failure

    def _ended(self, future: Future[Made]) -> tuple[str, BaseException | None]:
        name, process = self._running.pop(future)
        error = future.exception()
        usable = error is None or isinstance(error, Raised | EverfitError)
        self.pool.give_back(process, keep=usable and not self.calls[name].own_process)
        return name, error

    def _repeat(self, name: str, ended: ProcessEnded) -> None:
        """Let a step wait to run once more."""
        self._lost[name] = ended
        self._repeated.append(name)
        self._ready.append(name)
        self.progress.note(f"step {name!r} is run once more: its process ended with {words(ended)}")

    def _end_running(self) -> None:
        """End what still runs after an error, and keep what had come to its end."""
        self.pool.kill_busy()
        rows = []
        for future in wait(self._running).done:
            name, error = self._ended(future)
            if error is None:
                rows.append(self._rows(name, future.result()))
        if rows:
            # Not the states: where the lease is lost, the run is another worker's by now.
            self._states.clear()
            self._record(rows)

    def _record(self, rows: Sequence[Row]) -> None:
        if not rows and not self._states:
            return
        steps, values = [step for step, _ in rows], [value for _, value in rows]
        with self.workspace.transaction() as tx:
            service.record_steps(tx, self.run_id, made=steps, stored=values, states=self._states)
            for name in self._repeated:
                service.record_repeated(tx, self.run_id, name, words(self._lost[name]))
        self._repeated.clear()
        told, self._states = self._states, []
        for state in told:
            if state.status == "running":
                self.progress.step_started(state.name)
            elif state.status == "finished":
                if self.logs is not None:
                    self.logs.done(self._results[state.name].key)
                self.progress.step_finished(self._results[state.name])

    def _inputs(self, call: Call) -> dict[str, Value]:
        return {parameter: self.values[source] for parameter, source in call.inputs.items()}

    def _key(self, name: str) -> str:
        inputs = self._inputs(self.calls[name])
        contents = {parameter: [value.kind, value.digest] for parameter, value in inputs.items()}
        return digest_of([self.recipes[name], contents])

    def _rows(self, name: str, made: Made) -> Row:
        now = self.workspace.clock.now()
        digest, kind = made.value.digest, made.value.kind
        step = StoredStep(
            key=self._key(name),
            recipe=self.recipes[name],
            name=name,
            digest=digest,
            kind=kind,
            wall_seconds=made.wall_seconds,
            cpu_seconds=made.cpu_seconds,
            peak_bytes=made.peak_bytes,
            cost=_cost(made, self.workspace.settings),
            created_at=now,
        )
        return step, StoredValue(digest=digest, kind=kind, bytes=made.bytes, created_at=now)

    def _done(
        self, name: str, step: StoredStep, *, cached: bool = False, output: str = ""
    ) -> list[str]:
        """Take note of the step's value; return the names of the steps that now have all inputs."""
        self.cached[step.key] = step
        self.values[name] = Value(step.digest, step.kind)
        self._results[name] = StepResult(
            name=name,
            key=step.key,
            digest=step.digest,
            cached=cached,
            wall_seconds=step.wall_seconds,
            cpu_seconds=step.cpu_seconds,
            peak_bytes=step.peak_bytes,
            cost=step.cost,
            finished_at=step.created_at,
        )
        self._note(name, "finished", result=self._results[name], output=output)
        takers = self._takers.get(name, [])
        for taker in takers:
            self._waiting[taker].discard(name)
        return [taker for taker in takers if not self._waiting[taker]]

    def _note(
        self,
        name: str,
        status: str,
        *,
        result: StepResult | None = None,
        output: str = "",
        error: str | None = None,
    ) -> None:
        if name in self._lost and status != "running":
            before = self._lost[name]
            output = f"{before.output}[its process ended with {words(before)}]\n{output}"
        state = RunStep(
            name=name,
            status=status,
            cached=result is not None and result.cached,
            key=result.key if result else self._key(name),
            digest=result.digest if result else None,
            output=storable(output),
            error=None if error is None else storable(error),
            at=self.workspace.clock.now(),
        )
        self._states.append(state)


def _run(
    blobs: Blobs, process: Process, request: Mapping[str, Any], inputs: Mapping[str, Value]
) -> Made:
    """Run one step in ``process`` and store its value; in a thread of the pool."""
    missing = process.lacks(list(inputs.values()))
    contents = {value: blobs.get(value.digest) for value in missing}
    answer = process.run(request, inputs, contents)
    if "failed" in answer.header:
        raise Raised(answer.header["failed"], answer.output)
    value = Value(blobs.put(answer.content), answer.header["kind"])
    process.holds(value, answer.handle)
    return Made(
        value=value,
        bytes=len(answer.content),
        wall_seconds=answer.header["wall_seconds"],
        cpu_seconds=answer.header["cpu_seconds"],
        peak_bytes=answer.header["peak_bytes"],
        output=answer.output,
    )


def _cost(made: Made, settings: Settings) -> float:
    cpu = made.cpu_seconds * settings.price_per_cpu_hour
    memory = made.peak_bytes / GIB * made.wall_seconds * settings.price_per_gib_hour
    return (cpu + memory) / 3600
