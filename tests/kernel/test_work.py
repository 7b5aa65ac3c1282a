"""Durable work: keys, retries, cancellation, leases and the fence around an outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from everfit.errors import (
    Cancelled,
    Conflict,
    DataInvalid,
    Invalid,
    LeaseLost,
    NotFound,
    StepFailed,
)
from everfit.kernel import (
    Job,
    JobState,
    Lease,
    ManualClock,
    SystemClock,
    Worker,
    Workspace,
    cancel,
    enqueue,
    get_job,
    hasten,
    list_jobs,
    open_workspace,
)
from everfit.kernel.work import MOST_LOST

Result = Mapping[str, Any] | None


def add(workspace: Workspace, kind: str = "train", **options: Any) -> Job:
    with workspace.transaction() as tx:
        return enqueue(tx, kind, {"model": "bikes"}, **options)


def now_is(workspace: Workspace, job: Job) -> Job:
    with workspace.reading() as tx:
        return get_job(tx, job.id)


def kinds(workspace: Workspace) -> list[str]:
    with workspace.reading() as tx:
        return [event.kind for event in tx.events()]


def worker(workspace: Workspace, train: Callable[[Workspace, Lease], Result]) -> Worker:
    return Worker(workspace, {"train": train}, name="tester")


def test_a_job_runs_and_keeps_its_result(any_workspace: Workspace) -> None:
    job = add(any_workspace)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    seen: list[Job] = []

    def train(_: Workspace, lease: Lease) -> Result:
        seen.append(now_is(any_workspace, lease.job))
        return {"version": 3}

    assert worker(any_workspace, train).run_pending() == 1
    assert (seen[0].state, seen[0].attempt, seen[0].worker) == (JobState.RUNNING, 1, "tester")
    assert seen[0].payload == {"model": "bikes"}
    done = now_is(any_workspace, job)
    assert (done.state, done.result) == (JobState.DONE, {"version": 3})
    assert done.finished_at == any_workspace.clock.now()
    assert kinds(any_workspace) == ["job-done"]


def test_a_worker_takes_only_kinds_it_can_do(any_workspace: Workspace) -> None:
    add(any_workspace, kind="other")
    assert worker(any_workspace, lambda *_: None).run_pending() == 0
    assert Worker(any_workspace, {}, name="idle").run_pending() == 0


def test_jobs_run_in_the_order_of_being_due_then_of_being_enqueued(workspace: Workspace) -> None:
    late = add(workspace, run_after=workspace.clock.now())
    first = [add(workspace, run_after=workspace.clock.now() - timedelta(1)) for _ in range(30)]
    order: list[str] = []
    assert worker(workspace, lambda _, lease: order.append(lease.job.id)).run_pending() == 31
    assert order == [*(job.id for job in first), late.id]


def test_what_a_job_enqueues_runs_too(workspace: Workspace) -> None:
    def train(workspace: Workspace, lease: Lease) -> Result:
        with workspace.transaction() as tx:
            if lease.job.payload["left"]:
                enqueue(tx, "train", {"left": lease.job.payload["left"] - 1})
            lease.finish(tx)
        return None

    with workspace.transaction() as tx:
        enqueue(tx, "train", {"left": 4})
    assert worker(workspace, train).run_pending() == 5


def test_a_job_waits_for_its_time(any_workspace: Workspace, clock: ManualClock) -> None:
    add(any_workspace, run_after=clock.now() + timedelta(hours=1))
    tester = worker(any_workspace, lambda *_: None)
    assert tester.run_pending() == 0
    clock.advance(timedelta(hours=1))
    assert tester.run_pending() == 1


def test_a_live_key_gives_the_job_that_has_it(any_workspace: Workspace) -> None:
    job = add(any_workspace, key="bikes")
    assert add(any_workspace, key="bikes") == job
    assert add(any_workspace, key="other").id != job.id
    assert add(any_workspace, kind="sweep", key="bikes").id != job.id
    during: list[Job] = []

    def train(_: Workspace, lease: Lease) -> Result:
        during.append(add(any_workspace, key=lease.job.key))
        return None

    worker(any_workspace, train).run_pending()
    assert [found.id for found in during[:1]] == [job.id]
    assert add(any_workspace, key="bikes").id != job.id


def test_the_database_itself_refuses_a_second_live_job_of_a_key(any_workspace: Workspace) -> None:
    add(any_workspace, key="bikes")
    copy = sa.text("UPDATE work_jobs SET key = 'bikes' WHERE key IS NULL")
    add(any_workspace)

    def force() -> None:
        with any_workspace.transaction() as tx:
            tx.connection.execute(copy)

    with pytest.raises(sa.exc.IntegrityError):
        force()


def test_threads_enqueue_one_job_of_a_key(any_workspace: Workspace) -> None:
    together = threading.Barrier(6)
    found: list[str] = []

    def work() -> None:
        together.wait()
        found.extend(add(any_workspace, key="bikes").id for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30
    assert len(set(found)) == 1


def test_errors_are_kept_and_tried_again_ever_later(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    job = add(any_workspace, max_attempts=4)

    def train(*_: object) -> Result:
        raise StepFailed("step `fitted` ended", hint="Look at its log.")

    tester = worker(any_workspace, train)
    waits = []
    for _ in range(3):
        assert tester.run_pending() == 1
        after = now_is(any_workspace, job)
        assert after.state is JobState.QUEUED
        assert (after.error, after.hint) == ("step `fitted` ended", "Look at its log.")
        waits.append((after.run_after - clock.now()).total_seconds())
        clock.move_to(after.run_after)
    assert waits == [5, 20, 80]
    assert kinds(any_workspace) == []
    assert tester.run_pending() == 1
    after = now_is(any_workspace, job)
    assert (after.state, after.attempt) == (JobState.FAILED, 4)
    clock.advance(timedelta(days=1))
    assert tester.run_pending() == 0
    assert kinds(any_workspace) == ["job-failed"]


def test_success_after_an_error_forgets_the_error(workspace: Workspace, clock: ManualClock) -> None:
    job = add(workspace)

    def train(_: Workspace, lease: Lease) -> Result:
        return {"share": 1 / (lease.job.attempt - 1)}

    tester = worker(workspace, train)
    tester.run_pending()
    assert now_is(workspace, job).error == "ZeroDivisionError: division by zero"
    clock.advance(timedelta(hours=1))
    tester.run_pending()
    done = now_is(workspace, job)
    assert (done.state, done.error, done.result) == (JobState.DONE, None, {"share": 1.0})


def test_refused_input_is_not_tried_again(workspace: Workspace) -> None:
    job = add(workspace)

    def train(*_: object) -> Result:
        raise DataInvalid("no rows", hint="Add some.")

    worker(workspace, train).run_pending()
    assert now_is(workspace, job).state is JobState.FAILED


@pytest.mark.parametrize("result", [{"mae": float("nan")}, {"when": object()}])
def test_a_result_that_is_no_json_fails_the_job_plainly(
    workspace: Workspace, result: Mapping[str, Any]
) -> None:
    job = add(workspace)
    worker(workspace, lambda *_: result).run_pending()
    failed = now_is(workspace, job)
    assert failed.state is JobState.FAILED
    assert "cannot be stored as JSON" in str(failed.error)


def test_what_cannot_be_a_job_is_refused(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        with pytest.raises(Invalid, match="JSON"):
            enqueue(tx, "train", {"at": tx.now})
        with pytest.raises(Invalid, match="max_attempts is 0"):
            enqueue(tx, "train", {}, max_attempts=0)
        with pytest.raises(NotFound, match="job_nowhere"):
            get_job(tx, "job_nowhere")


def test_a_queued_job_is_cancelled_at_once(any_workspace: Workspace) -> None:
    job = add(any_workspace, key="bikes")
    for _ in range(2):
        with any_workspace.transaction() as tx:
            assert cancel(tx, job.id).state is JobState.CANCELLED
    assert worker(any_workspace, lambda *_: None).run_pending() == 0
    assert kinds(any_workspace) == ["job-cancelled"]
    assert add(any_workspace, key="bikes").id != job.id


def test_a_finished_job_cannot_be_cancelled(workspace: Workspace) -> None:
    job = add(workspace)
    worker(workspace, lambda *_: None).run_pending()
    with workspace.transaction() as tx, pytest.raises(Conflict, match="is done since"):
        cancel(tx, job.id)


@pytest.mark.parametrize("checks", [True, False])
def test_a_cancelled_attempt_learns_so_and_writes_nothing(
    any_workspace: Workspace, checks: bool
) -> None:
    job = add(any_workspace)
    caught: list[Cancelled] = []

    def train(workspace: Workspace, lease: Lease) -> Result:
        lease.check()
        with workspace.transaction() as tx:
            cancel(tx, job.id)
        try:
            if checks:
                lease.check()
            with workspace.transaction() as tx:
                tx.record("effect", "of a cancelled job")
                lease.finish(tx)
        except Cancelled as error:
            caught.append(error)
            raise
        return None

    worker(any_workspace, train).run_pending()
    assert len(caught) == 1
    assert now_is(any_workspace, job).state is JobState.CANCELLED
    assert kinds(any_workspace) == ["job-cancelled"]


def test_an_attempt_that_was_taken_over_writes_nothing(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    job = add(any_workspace)
    lost: list[str] = []

    def slow(workspace: Workspace, lease: Lease) -> Result:
        clock.advance(timedelta(seconds=any_workspace.settings.lease_seconds + 1))
        assert worker(any_workspace, lambda *_: {"by": "the second"}).run_pending() == 1
        for step in (lease.check, lambda: finish(workspace, lease)):
            with pytest.raises(LeaseLost) as caught:
                step()
            lost.append(str(caught.value))
        return {"by": "the first"}

    def finish(workspace: Workspace, lease: Lease) -> None:
        with workspace.transaction() as tx:
            tx.record("effect", "of an attempt that lost its lease")
            lease.finish(tx, {"by": "the first"})

    worker(any_workspace, slow).run_pending()
    assert "attempt 1" in lost[0]
    done = now_is(any_workspace, job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 2, {"by": "the second"})
    assert kinds(any_workspace) == ["job-done"]


def test_a_job_that_always_kills_its_process_fails_in_the_end(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    job = add(any_workspace)

    class Killed(BaseException):
        """Ends the worker as a signal would: no code of the worker runs."""

    def train(*_: object) -> Result:
        raise Killed

    for _ in range(MOST_LOST):
        with pytest.raises(Killed):
            worker(any_workspace, train).run_pending()
        assert worker(any_workspace, train).run_pending() == 0
        clock.advance(timedelta(seconds=any_workspace.settings.lease_seconds))
    assert worker(any_workspace, train).run_pending() == 0
    failed = now_is(any_workspace, job)
    assert failed.state is JobState.FAILED
    assert f"attempt {MOST_LOST}: the process of tester ended" in str(failed.error)
    assert kinds(any_workspace) == ["job-failed"]


def test_an_attempt_whose_process_ended_is_no_error_of_the_job(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    job = add(any_workspace, max_attempts=2)

    class Killed(BaseException):
        """Ends the worker as a signal would: no code of the worker runs."""

    ends = iter([Killed(), StepFailed("one", hint="."), Killed(), Killed()])

    def train(*_: object) -> Result:
        if error := next(ends, None):
            raise error
        return {"version": 1}

    for _ in range(5):
        with suppress(Killed):
            worker(any_workspace, train).run_pending()
        clock.advance(timedelta(minutes=1))
    done = now_is(any_workspace, job)
    assert (done.state, done.attempt, done.failures) == (JobState.DONE, 5, 1)


def test_a_job_that_waits_for_its_next_attempt_can_be_had_at_once(
    any_workspace: Workspace,
) -> None:
    job = add(any_workspace)

    def train(_: Workspace, lease: Lease) -> Result:
        if lease.job.attempt == 1:
            raise StepFailed("no room", hint="Make some.")
        return None

    tester = worker(any_workspace, train)
    assert [tester.run_pending(), tester.run_pending()] == [1, 0]
    with any_workspace.transaction() as tx:
        assert hasten(tx, job.id).run_after == tx.now
    assert tester.run_pending() == 1
    with any_workspace.transaction() as tx:
        assert hasten(tx, job.id).state is JobState.DONE


def test_an_error_after_finishing_changes_nothing(workspace: Workspace) -> None:
    job = add(workspace)

    def train(workspace: Workspace, lease: Lease) -> Result:
        with workspace.transaction() as tx:
            lease.finish(tx, {"kept": True})
        raise KeyError("too late")

    assert worker(workspace, train).run_pending() == 1
    done = now_is(workspace, job)
    assert (done.state, done.result, done.error) == (JobState.DONE, {"kept": True}, None)


def test_finishing_fails_together_with_its_transaction(workspace: Workspace) -> None:
    job = add(workspace)

    def train(workspace: Workspace, lease: Lease) -> Result:
        with workspace.transaction() as tx:
            lease.finish(tx)
            raise KeyError("nothing is written")
        return None

    worker(workspace, train).run_pending()
    assert now_is(workspace, job).state is JobState.QUEUED
    assert kinds(workspace) == []


def test_a_long_job_keeps_its_lease(any_workspace: Workspace) -> None:
    settings = replace(any_workspace.settings, lease_seconds=0.15)
    real = open_workspace(settings, clock=SystemClock(), durable=False)
    job = add(real)
    stop = threading.Event()
    attempts: list[int] = []

    def train(_: Workspace, lease: Lease) -> Result:
        attempts.append(lease.job.attempt)
        time.sleep(0.6)
        lease.check()
        return None

    threads = [
        threading.Thread(target=worker(real, train).run_until, args=(stop,)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while now_is(real, job).state is not JobState.DONE and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert attempts == [1]
    assert now_is(real, job).state is JobState.DONE
    real.close()


def test_projects_do_not_see_each_others_jobs(any_workspace: Workspace) -> None:
    other = replace(any_workspace, settings=replace(any_workspace.settings, project="other"))
    job = add(any_workspace, key="bikes")
    assert add(other, key="bikes").id != job.id
    assert worker(other, lambda *_: None).run_pending() == 1
    assert now_is(any_workspace, job).state is JobState.QUEUED
    with other.reading() as tx, pytest.raises(NotFound):
        get_job(tx, job.id)


def test_listing_filters_by_state(workspace: Workspace) -> None:
    first, second = add(workspace), add(workspace)
    with workspace.transaction() as tx:
        cancel(tx, first.id)
        assert [job.id for job in list_jobs(tx)] == [first.id, second.id]
        assert [job.id for job in list_jobs(tx, states=[JobState.QUEUED])] == [second.id]


def test_finding_due_work_reads_only_live_jobs(workspace: Workspace) -> None:
    ran: list[tuple[str, Any]] = []

    @sa.event.listens_for(workspace.engine, "before_cursor_execute")
    def _keep(_c: object, _k: object, statement: str, parameters: Any, *_: object) -> None:
        ran.append((statement, parameters))

    add(workspace)
    worker(workspace, lambda *_: None).run_pending()
    asked = [query for query in ran if "ORDER BY work_jobs.run_after" in query[0]]
    assert len(asked) >= 2
    with workspace.reading() as tx:
        for statement, parameters in asked:
            explain = f"EXPLAIN QUERY PLAN {statement}"
            plan = str(tx.connection.exec_driver_sql(explain, parameters).all())
            assert "USING INDEX work_jobs_due (project=? AND run_after<?)" in plan
            assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("said", ["half a pair \ud800", "a NUL \0"], ids=["surrogate", "nul"])
def test_an_error_that_no_database_can_keep_as_it_is_ends_the_attempt_only(
    any_workspace: Workspace, said: str
) -> None:
    def fail(_workspace: Workspace, _lease: Lease) -> Result:
        raise ValueError(said)

    job = add(any_workspace, max_attempts=1)
    assert worker(any_workspace, fail).run_pending() == 1
    ended = now_is(any_workspace, job)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.startswith(f"ValueError: {said[:5]}")


def test_work_that_is_interrupted_is_free_at_once(any_workspace: Workspace) -> None:
    job = add(any_workspace)
    began = []

    def train(*_: object) -> Result:
        began.append(1)
        if len(began) == 1:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        worker(any_workspace, train).run_pending()
    assert now_is(any_workspace, job).state is JobState.QUEUED
    assert worker(any_workspace, train).run_pending() == 1
    assert now_is(any_workspace, job).state is JobState.DONE
    assert now_is(any_workspace, job).failures == 0
