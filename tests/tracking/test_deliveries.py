"""Journals are applied record by record, each once, whatever is sent again or refused."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from everfit.errors import Invalid
from everfit.kernel import ManualClock, Workspace, microseconds
from everfit.tracking import (
    RunStatus,
    apply_batch,
    artifacts,
    get_run,
    get_run_data,
    metric_history,
    params,
    tags,
)
from everfit.tracking.journalled import (
    Batch,
    File,
    Missing,
    Noted,
    Params,
    Points,
    Receipt,
    Record,
    RunEnded,
    RunStarted,
    Tags,
    encoded,
    read_batch,
)

RUN = "run_1"


def started(clock: ManualClock, run: str = RUN, name: str | None = "first") -> RunStarted:
    return RunStarted(run, microseconds(clock.now()), name, "houses", "Ada", {"team": "a"})


def points(*values: float, run: str = RUN, at_us: int = 1_000) -> Points:
    return Points(run, at_us, [("loss", value, step) for step, value in enumerate(values)])


def batch(*records: Record | bytes, first: int = 1) -> Batch:
    noted = [
        Noted((1, 10 * number), record if isinstance(record, bytes) else encoded(record))
        for number, record in enumerate(records, first)
    ]
    return read_batch(encoded(Batch("w_1", noted)))


def send(workspace: Workspace, sent: Batch) -> Receipt:
    with workspace.transaction() as tx:
        return apply_batch(tx, workspace.blobs, sent)


def history(workspace: Workspace, run: str = RUN, key: str = "loss") -> list[float]:
    with workspace.reading() as tx:
        return [point.value for point in metric_history(tx, run, key)]


def test_a_batch_that_comes_again_changes_nothing(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    end = RunEnded(RUN, microseconds(clock.now()) + 5, RunStatus.FAILED, "ValueError: no")
    whole = batch(started(clock), Params(RUN, {"depth": 3, "name": "x"}), points(2.0, 1.0), end)
    first = send(any_workspace, whole)
    assert (first.place, first.refused, first.missing) == ((1, 40), [], [])
    events = len_of_ledger(any_workspace)
    assert send(any_workspace, whole) == first
    # Half of it is new: only that half is applied.
    again = batch(end, Tags(RUN, {"team": "b"}), first=4)
    assert send(any_workspace, again).place == (1, 50)
    assert send(any_workspace, whole).place == (1, 50)
    assert len_of_ledger(any_workspace) == events
    with any_workspace.reading() as tx:
        data = get_run_data(tx, RUN)
        assert params(tx, RUN) == {"depth": 3, "name": "x"}
    assert (data.run.status, data.run.error) == ("failed", "ValueError: no")
    assert (data.run.name, data.run.actor, data.tags["team"]) == ("first", "Ada", "b")
    assert data.run.finished_at == clock.now() + timedelta(microseconds=5)
    assert history(any_workspace) == [2.0, 1.0]


def len_of_ledger(workspace: Workspace) -> int:
    with workspace.reading() as tx:
        return len(tx.events())


def test_what_is_refused_does_not_hold_up_the_rest(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    sent = batch(
        started(clock),
        Params(RUN, {"depth": 3}),
        Params(RUN, {"depth": 4}),
        points(1.0, run="run_of_nobody"),
        points(2.0),
        Points(RUN, 2_000, [("loss", 9.0, 0), ("../loss", 1.0, 0)]),
        b"\xff",
        points(math.nan, at_us=3_000),
    )
    receipt = send(any_workspace, sent)
    assert receipt.place == (1, 80)
    assert [refusal.place[1] for refusal in receipt.refused] == [30, 40, 60, 70]
    assert ["already" in receipt.refused[0].reason, "no run" in receipt.refused[1].reason] == [
        True,
        True,
    ]
    assert str(history(any_workspace)) == "[2.0, nan]"
    # The answer was lost: what comes again with more hears of it, what goes on behind does not.
    assert send(any_workspace, sent) == receipt
    more = Batch("w_1", [*sent.records, *batch(Tags(RUN, {"a": "b"}), first=9).records])
    assert send(any_workspace, more).refused == receipt.refused
    assert send(any_workspace, batch(Tags(RUN, {"a": "c"}), first=10)).refused == []


def test_an_artifact_waits_for_its_content(any_workspace: Workspace, clock: ManualClock) -> None:
    content = b"weights"
    with any_workspace.blobs.writer() as writer:
        writer.write(content)
        digest, size = writer.finish()
    any_workspace.blobs.remove(digest)
    sent = batch(started(clock), File(RUN, "m/w.bin", digest, size, "x/y"), points(1.0))
    receipt = send(any_workspace, sent)
    assert (receipt.place, receipt.missing) == ((1, 10), [Missing((1, 20), digest)])
    assert history(any_workspace) == []
    any_workspace.blobs.put(content)
    assert send(any_workspace, sent).place == (1, 30)
    with any_workspace.reading() as tx:
        assert artifacts(tx, RUN)["m/w.bin"].digest == digest
    assert history(any_workspace) == [1.0]


def test_journals_of_two_processes_come_in_any_order(
    workspace: Workspace, clock: ManualClock
) -> None:
    early = started(clock)
    clock.advance(timedelta(hours=1))
    joined = started(clock, name=None)
    end = RunEnded(RUN, microseconds(clock.now()) + 1, RunStatus.FINISHED, None)
    send(workspace, batch(joined, end))
    with workspace.transaction() as tx:
        apply_batch(tx, workspace.blobs, Batch("w_2", batch(early).records))
        run = get_run(tx, RUN)
        assert (run.status, run.name) == ("finished", "first")
        clock.advance(timedelta(hours=1))
        apply_batch(tx, workspace.blobs, Batch("w_3", batch(started(clock)).records))
        assert get_run(tx, RUN).status == "running"
        assert tags(tx, RUN)["team"] == "a"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        encoded(Batch("../w", [])),
        encoded(Batch("w", [Noted((1, 20), b"x"), Noted((1, 10), b"x")])),
        encoded(Batch("w", [Noted((1, -1), b"x")])),
    ],
)
def test_a_batch_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_batch(body)


def test_a_run_cannot_lead_out_of_its_folder(workspace: Workspace, clock: ManualClock) -> None:
    receipt = send(workspace, batch(started(clock, run="../../run"), started(clock, run="a" * 65)))
    assert len(receipt.refused) == 2
