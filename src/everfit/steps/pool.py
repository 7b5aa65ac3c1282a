"""Warm child processes for steps: started when first needed, kept between runs, never forked."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Self

from everfit.kernel import Workspace
from everfit.steps import worker
from everfit.steps.model import Heartbeat

MOST_OUTPUT_BYTES = 10_000
SAMPLE_SECONDS = 0.2
# Steps already run side by side: a library that takes every core for itself slows them all.
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
Code = Mapping[str, tuple[str, str]]


class ProcessEnded(Exception):
    """The child ended before it answered: by ``signal``, or with ``exit_code`` where that is 0."""

    def __init__(self, *, status: int, output: str, peak_bytes: int) -> None:
        super().__init__(f"the process ended with status {status}")
        self.signal = max(0, -status)
        self.exit_code = max(0, status)
        self.output = output
        self.peak_bytes = peak_bytes


@dataclass(frozen=True, slots=True)
class Value:
    """A stored value as steps take it."""

    digest: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a child answered: the header, the encoded value, and the end of what was printed."""

    header: dict[str, Any]
    content: bytes
    output: str
    handle: int


class Process:
    """One child process, doing one step at a time."""

    def __init__(self, *, single_thread: bool) -> None:
        read_end, write_end = os.pipe()
        watched, held = os.pipe()
        # `env` sets variables that only the start of the interpreter and of BLAS reads. Sets then
        # have one order in every process, so that equal values have equal bytes.
        variables = ["PYTHONHASHSEED=0"]
        variables += [f"{name}=1" for name in THREAD_LIMITS if single_thread]
        # -P: the folder of worker.py stays off the path.
        command = ["/usr/bin/env", *variables, sys.executable, "-P", worker.__file__]
        self.child = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [*command, str(write_end), str(watched)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end, watched),
            process_group=0,
        )
        os.close(write_end)
        os.close(watched)
        self._alive = os.fdopen(held, "wb")
        self._replies = os.fdopen(read_end, "rb")
        self._requests, self._output = _pipes(self.child)
        os.set_blocking(self._output.fileno(), False)
        self._handles: dict[Value, int] = {}
        self._next = 0
        self.peak_bytes = 0
        worker.write_message(self._requests, {"path": sys.path})

    def lacks(self, values: Sequence[Value]) -> list[Value]:
        """Return which of these the child does not hold."""
        return [value for value in values if value not in self._handles]

    def holds(self, value: Value, handle: int) -> None:
        """Take note that the child has this value as ``handle``."""
        self._handles[value] = handle

    def run(
        self,
        request: Mapping[str, Any],
        inputs: Mapping[str, Value],
        contents: Mapping[Value, bytes],
    ) -> Answer:
        """Send one step with the values that the child lacks, and return its answer.

        Raises
        ------
        ProcessEnded
            If the child ended instead.
        """
        self.peak_bytes = 0
        attached = [(self._handle(value), value.kind) for value in contents]
        self._next += 1
        output = self._next
        header = {
            **request,
            "inputs": {name: self._handles[value] for name, value in inputs.items()},
            "attached": attached,
            "output": output,
        }
        tail = bytearray()
        try:
            worker.write_message(self._requests, header, list(contents.values()))
            self._await_reply(tail)
            reply, attachments = worker.read_message(self._replies)
        except (EOFError, BrokenPipeError) as error:
            self._drain(tail)
            self.kill()
            status = self.child.wait()
            raise ProcessEnded(
                status=status, output=_text(tail), peak_bytes=self.peak_bytes
            ) from error
        self._drain(tail)
        self._forget(reply["dropped"])
        content = attachments[0] if attachments else b""
        return Answer(header=reply, content=content, output=_text(tail), handle=output)

    def _handle(self, value: Value) -> int:
        self._next += 1
        self._handles[value] = self._next
        return self._next

    def _forget(self, dropped: Sequence[int]) -> None:
        gone = set(dropped)
        if gone:
            self._handles = {v: h for v, h in self._handles.items() if h not in gone}

    def _await_reply(self, tail: bytearray) -> None:
        """Return when the reply begins; meanwhile keep the end of what the child prints."""
        waiting = select.poll()
        waiting.register(self._replies, select.POLLIN)
        waiting.register(self._output, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll(SAMPLE_SECONDS * 1000)}
            if not ready:
                self.peak_bytes = max(self.peak_bytes, worker.peak_bytes(self.child.pid))
            if self._output.fileno() in ready and not self._drain(tail):
                waiting.unregister(self._output)
            if self._replies.fileno() in ready:
                return

    def _drain(self, tail: bytearray) -> bool:
        """Read what was printed; return False at its end, when the step closed its output."""
        with contextlib.suppress(BlockingIOError):
            while content := os.read(self._output.fileno(), 65_536):
                tail += content
                del tail[:-MOST_OUTPUT_BYTES]
            return False
        return True

    def kill(self) -> None:
        """End the child and what it started, now; ``run`` raises ProcessEnded in its thread."""
        # Once it was waited for, its number may be another's.
        if self.child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the child and free what it took."""
        self.kill()
        self.child.wait()
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._replies.close()
        self._output.close()
        self._alive.close()


class StepPool:
    """Up to ``processes`` children that run steps; a context manager.

    Children are started when there is work for them and stay warm, with what they imported and
    with recent values, until the block ends. One run uses the pool at a time.
    """

    def __init__(self, workspace: Workspace, processes: int | None = None) -> None:
        self.processes = processes or workspace.settings.step_processes
        self.threads = ThreadPoolExecutor(self.processes, thread_name_prefix="everfit-step")
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._code: dict[str, tuple[str, str]] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    @contextlib.contextmanager
    def turn(self, code: Code, lease: Heartbeat | None) -> Iterator[None]:
        """Yield when no other run uses the pool, with children that have imported this code."""
        while not self._turn.acquire(timeout=1.0):
            if lease is not None:
                lease.check()
        try:
            if any(self._code.get(name, found) != found for name, found in code.items()):
                # A module is imported once in the life of a process.
                self._close(self._idle)
                self._code = {}
            self._code |= code
            yield
        finally:
            self._turn.release()

    def take(self, values: Sequence[Value], *, fresh: bool = False) -> Process | None:
        """Return a child for a step that takes ``values``, or None while all are busy.

        The idle child that lacks the fewest of them, or one that has run nothing if ``fresh``.
        """
        if len(self._busy) >= self.processes:
            return None
        self._close([process for process in self._idle if process.child.poll() is not None])
        if fresh or not self._idle:
            process = Process(single_thread=self.processes > 1)
        else:
            process = min(self._idle, key=lambda idle: len(idle.lacks(values)))
            self._idle.remove(process)
        self._busy.add(process)
        return process

    def give_back(self, process: Process, *, keep: bool) -> None:
        """Make a child free for another step, or end it."""
        self._busy.discard(process)
        if keep:
            self._idle.append(process)
        else:
            process.close()

    def kill_busy(self) -> None:
        """End the children that run a step: ``run`` raises ProcessEnded in their threads."""
        for process in self._busy:
            process.kill()

    def close(self) -> None:
        """End all children."""
        self.kill_busy()
        self.threads.shutdown()
        self._close([*self._idle, *self._busy])

    def _close(self, processes: Sequence[Process]) -> None:
        for process in list(processes):
            process.close()
            self._busy.discard(process)
            if process in self._idle:
                self._idle.remove(process)


def _pipes(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if child.stdin is None or child.stdout is None:
        raise ValueError("the child was started without pipes")
    return child.stdin, child.stdout


def _text(tail: bytearray) -> str:
    return tail.decode(errors="replace")
