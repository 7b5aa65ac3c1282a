"""Schedules: the calendar, fixed distances, and times that were missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import Invalid
from everfit.kernel import (
    ManualClock,
    Worker,
    Workspace,
    enqueue_due,
    list_jobs,
    list_schedules,
    next_time,
    parse_every,
    schedule,
    unschedule,
)

moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.sampled_from(["hourly", "daily", "weekly", "monthly", "30s", "7m", "6h", "2d", "3w"])


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("hourly", "2024-02-29T14:00"),
        ("daily", "2024-03-01T00:00"),
        ("weekly", "2024-03-04T00:00"),  # a Monday
        ("monthly", "2024-03-01T00:00"),
        ("30m", "2024-02-29T14:07"),
        ("2d", "2024-03-02T13:37"),
    ],
)
def test_next_time_follows_the_calendar_in_utc(every: str, expected: str) -> None:
    now = datetime(2024, 2, 29, 13, 37, tzinfo=UTC)
    found = next_time(every, planned=now, now=now)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@given(every=texts, planned=moments, now=moments)
def test_next_time_is_later_than_now_and_keeps_the_phase(
    every: str, planned: datetime, now: datetime
) -> None:
    found = next_time(every, planned=planned, now=now)
    assert found > now
    step = parse_every(every)
    if isinstance(step, timedelta):
        assert (found - planned) % step == timedelta()
        assert found - max(now, planned) <= step
    else:
        assert found - now <= timedelta(days=31)


@pytest.mark.parametrize(
    "every", ["", "often", "0h", "-1d", "1.5h", "h", "6 hours", "Daily", "999999999d", "٣h"]
)
def test_what_cannot_be_read_says_what_can(every: str) -> None:
    with pytest.raises(ValueError, match=r"write hourly, daily, weekly, monthly, or .* 30m, 6h"):
        parse_every(every)


def test_a_schedule_is_refused_in_our_own_words(workspace: Workspace) -> None:
    with workspace.transaction() as tx, pytest.raises(Invalid, match="'sweep': 'often'"):
        schedule(tx, "sweep", "often", "sweep", {})


def test_missed_times_are_enqueued_once(any_workspace: Workspace, clock: ManualClock) -> None:
    ran: list[datetime] = []
    worker = Worker(any_workspace, {"sweep": lambda w, _: ran.append(w.clock.now())}, name="w")
    with any_workspace.transaction() as tx:
        schedule(tx, "sweep", "daily", "sweep", {"endpoint": "bikes"})
        assert enqueue_due(tx) == []
    clock.advance(timedelta(days=5, hours=3))
    assert worker.run_pending() == 1
    assert worker.run_pending() == 0
    clock.advance(timedelta(hours=21))
    assert worker.run_pending() == 1
    assert [f"{moment:%d %H:%M}" for moment in ran] == ["06 03:00", "07 00:00"]
    with any_workspace.reading() as tx:
        assert [job.payload for job in list_jobs(tx)] == [{"endpoint": "bikes"}] * 2


def test_no_second_job_while_the_first_still_lives(
    workspace: Workspace, clock: ManualClock
) -> None:
    with workspace.transaction() as tx:
        schedule(tx, "sweep", "1h", "sweep", {})
    for _ in range(3):
        clock.advance(timedelta(hours=1))
        with workspace.transaction() as tx:
            enqueue_due(tx)
    with workspace.reading() as tx:
        assert len(list_jobs(tx)) == 1


def test_setting_a_schedule_again_keeps_its_next_time(
    workspace: Workspace, clock: ManualClock
) -> None:
    with workspace.transaction() as tx:
        first = schedule(tx, "sweep", "30d", "sweep", {})
    clock.advance(timedelta(days=29))
    with workspace.transaction() as tx:
        assert schedule(tx, "sweep", "30d", "sweep", {}) == first
        assert schedule(tx, "sweep", "30d", "sweep", {"all": True}).next_at == first.next_at
        assert schedule(tx, "sweep", "7d", "sweep", {}).next_at == tx.now + timedelta(days=7)
        assert len(list_schedules(tx)) == 1
        assert [event.kind for event in tx.events()] == ["schedule-set"] * 3


def test_a_removed_schedule_enqueues_nothing(workspace: Workspace, clock: ManualClock) -> None:
    with workspace.transaction() as tx:
        schedule(tx, "sweep", "hourly", "sweep", {})
        unschedule(tx, "sweep")
        unschedule(tx, "sweep")
    clock.advance(timedelta(days=1))
    with workspace.transaction() as tx:
        assert enqueue_due(tx) == []
        assert list_schedules(tx) == []
        assert [event.kind for event in tx.events()] == ["schedule-set", "schedule-removed"]
