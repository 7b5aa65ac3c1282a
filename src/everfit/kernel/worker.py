"""The worker: claims due jobs, keeps their leases alive, and writes how they ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from everfit.errors import EverfitError
from everfit.kernel import work, work_store
from everfit.kernel.schedule import enqueue_due, is_due
from everfit.kernel.work import Job, JobState
from everfit.kernel.workspace import Transaction, Workspace

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one attempt to write how its job ended."""

    workspace: Workspace
    job: Job

    def finish(self, tx: Transaction, result: Mapping[str, Any] | None = None) -> None:
        """Write the job done in the caller's transaction: its effects count once, or not at all.

        Raises
        ------
        Cancelled, LeaseLost
            If this attempt no longer owns the job; the transaction must then not commit.
        """
        job = work.done(self.job, result, now=tx.now)
        if not work_store.save(tx, self.job, job):
            self._raise_if_lost(tx)
        work_store.record_end(tx, job)

    def check(self) -> None:
        """Return if the work is still wanted from this attempt; call it between its parts.

        It reads only, so it may be called inside a transaction of the handler.

        Raises
        ------
        Cancelled, LeaseLost
            If the job was cancelled, or another attempt took it over.
        """
        with self.workspace.reading() as tx:
            self._raise_if_lost(tx)

    def _raise_if_lost(self, tx: Transaction) -> None:
        if reason := work.lost(work_store.get_job(tx, self.job.id), self.job.attempt):
            raise reason


Handler = Callable[[Workspace, Lease], Mapping[str, Any] | None]


class Worker:
    """Runs the jobs of the kinds it has handlers for, one after the other.

    A handler does its work and returns its result, or calls ``lease.finish(tx, result)`` in the
    transaction that holds its effects: these then happen exactly once, although the work may be
    started several times. Any number of workers, in any number of processes, share the jobs.
    """

    def __init__(self, workspace: Workspace, handlers: Mapping[str, Handler], *, name: str) -> None:
        self.workspace = workspace
        self.handlers = dict(handlers)
        self.name = name
        self._lease = timedelta(seconds=workspace.settings.lease_seconds)
        self._job: Job | None = None

    def run_one(self) -> bool:
        """Run the job that is due longest; return False if there is none."""
        with self._heartbeat():
            return self._run_one()

    def run_pending(self) -> int:
        """Run everything that is due now, also what that enqueues; return how many jobs ran."""
        self._enqueue_due()
        count = 0
        with self._heartbeat():
            while self._run_one():
                count += 1
        return count

    def run_until(self, stop: threading.Event) -> None:
        """Run jobs as they come due until ``stop`` is set; a job that has begun is ended first."""
        with self._heartbeat():
            while not stop.is_set():
                if not self._turn():
                    stop.wait(POLL_SECONDS)

    def _turn(self) -> bool:
        try:
            self._enqueue_due()
            return self._run_one()
        except EverfitError as error:
            # The database is busy, away or full: the leases keep the jobs meanwhile.
            logger.warning("worker %s waits: %s %s", self.name, error.message, error.hint)
            return False
        except Exception:
            logger.exception("worker %s goes on after an error", self.name)
            return False

    def _run_one(self) -> bool:
        job = self._claim()
        if job is None:
            return False
        self._job = job
        try:
            lease = Lease(workspace=self.workspace, job=job)
            result = self.handlers[job.kind](self.workspace, lease)
            self._finish(lease, result)
        except Exception as error:  # noqa: BLE001 - the worker loop: any error ends an attempt
            self._fail(job, error)
        except (KeyboardInterrupt, SystemExit):
            # Whoever comes next need not wait until the lease has run out.
            self._give_back(job)
            raise
        finally:
            self._job = None
        return True

    def _enqueue_due(self) -> None:
        with self.workspace.reading() as tx:
            due = is_due(tx)
        if due:
            with self.workspace.transaction() as tx:
                enqueue_due(tx)

    def _claim(self) -> Job | None:
        # Looking takes no lock: idle workers never stand in the way of a writer.
        with self.workspace.reading() as tx:
            if not work_store.is_due(tx, self.handlers):
                return None
        with self.workspace.transaction() as tx:
            return work_store.claim(tx, self.handlers, worker=self.name, lease=self._lease)

    def _finish(self, lease: Lease, result: Mapping[str, Any] | None) -> None:
        with self.workspace.reading() as tx:
            job = work_store.get_job(tx, lease.job.id)
        if job.state is JobState.DONE and job.attempt == lease.job.attempt:
            return  # The handler finished it together with its effects.
        with self.workspace.transaction() as tx:
            lease.finish(tx, result)

    def _give_back(self, job: Job) -> None:
        with self.workspace.transaction() as tx:
            work_store.save(tx, job, work.given_back(job, now=tx.now))

    def _fail(self, job: Job, error: Exception) -> None:
        with self.workspace.transaction() as tx:
            after = work.failed(job, error, now=tx.now)
            if not work_store.save(tx, job, after):
                # Cancelled, taken over, or done before the error: the outcome stands.
                logger.info("job %s (%s) was left: %s", job.id, job.kind, error)
                return
            if after.state is JobState.FAILED:
                work_store.record_end(tx, after)
        _log(job, error)

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Renew the lease of the job at hand, in a thread of its own, until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._lease.total_seconds() / RENEWALS_PER_LEASE):
            job = self._job
            if job is None:
                continue
            try:
                with self.workspace.transaction() as tx:
                    work_store.renew(tx, job, lease=self._lease)
            except EverfitError as error:
                logger.warning("the lease of job %s is not renewed: %s", job.id, error.message)


def _log(job: Job, error: Exception) -> None:
    about = f"job {job.id} ({job.kind}), attempt {job.attempt}"
    if isinstance(error, EverfitError):
        logger.warning("%s: %s %s", about, error.message, error.hint)
    else:
        # Nobody foresaw it: where it came from is all there is to say.
        logger.error(about, exc_info=error)
