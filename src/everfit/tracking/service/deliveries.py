"""Journals of clients, applied batch by batch, each record once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial, singledispatch

from everfit.errors import Conflict, EverfitError, Invalid, NotFound
from everfit.kernel import Blobs, Transaction, moment
from everfit.tracking.journalled import (
    Batch,
    File,
    Missing,
    Params,
    Place,
    Points,
    Receipt,
    Record,
    Refusal,
    RunEnded,
    RunStarted,
    Tags,
    applicable,
    read_record,
)
from everfit.tracking.model import DEFAULT_EXPERIMENT, ENDED, MetricPoint, RunStatus
from everfit.tracking.service import experiments, logged, runs
from everfit.tracking.service.files import log_artifact
from everfit.tracking.store import deliveries as store
from everfit.tracking.store import runs as run_store

REASON_LENGTH = 500
Placed = tuple[Place, Record]


def apply_batch(tx: Transaction, blobs: Blobs, batch: Batch) -> Receipt:
    """Apply the records of a batch that were not applied before; return how far that leads.

    A record that cannot be applied is refused alone. Applying ends before the first artifact
    whose content is not among ``blobs``: the receipt names what is missing, and the batch is to
    be sent again with it.
    """
    before, told = store.hold(tx, batch.writer)
    refused = [Refusal((segment, byte), reason) for (segment, byte), reason in told]
    fresh = [noted for noted in batch.records if noted.place > before]
    if not fresh:
        return Receipt(place=before, refused=refused)
    # What begins anew with records that were applied did not hear the answer about them.
    refused = [one for one in refused if one.place >= batch.records[0].place]
    records: list[Placed] = []
    for noted in fresh:
        try:
            records.append((noted.place, read_record(noted.payload)))
        except Invalid as error:
            refused.append(_refusal(noted.place, error))
    missing = [
        Missing(at, record.digest)
        for at, record in records
        if isinstance(record, File) and not _has(blobs, record.digest)
    ]
    records = list(applicable(records, missing))
    if missing:
        refused = [one for one in refused if one.place < missing[0].place]
    end = max((*(at for at, _ in records), *(one.place for one in refused)), default=before)
    refused = sorted([*refused, *_applied(tx, records)], key=lambda one: one.place)
    if end > before:
        store.advance(tx, batch.writer, end, [[one.place, one.reason] for one in refused])
    return Receipt(place=end, refused=refused, missing=missing)


def _applied(tx: Transaction, records: Sequence[Placed]) -> Iterator[Refusal]:
    """Apply records and yield what is refused; points come last, those of a run together."""
    points: dict[str, list[tuple[Place, Points]]] = defaultdict(list)
    for at, record in records:
        if isinstance(record, Points):
            points[record.run].append((at, record))
        else:
            yield from _tried(tx, at, partial(_apply, record, tx))
    for run, noted in points.items():
        together = [record for _, record in noted]
        if _tried(tx, noted[0][0], partial(_put, tx, run, together)):
            # One of them is wrong: each for itself, so that the others are kept.
            for at, record in noted:
                yield from _tried(tx, at, partial(_put, tx, run, [record]))


def _tried(tx: Transaction, at: Place, apply: Callable[[], None]) -> list[Refusal]:
    """Apply something in a savepoint; return the refusal where it cannot be."""
    try:
        with tx.connection.begin_nested():
            apply()
    except (NotFound, Invalid, Conflict) as error:
        return [_refusal(at, error)]
    return []


def _refusal(at: Place, error: EverfitError) -> Refusal:
    return Refusal(at, error.message[:REASON_LENGTH])


def _has(blobs: Blobs, digest: str) -> bool:
    try:
        return blobs.has(digest)
    except NotFound:
        return False


def _put(tx: Transaction, run: str, records: Sequence[Points]) -> None:
    points = [
        MetricPoint(key, value, step, record.at_us)
        for record in records
        for key, value, step in record.values
    ]
    logged.log_points(tx, run, points)


@singledispatch
def _apply(record: Record, tx: Transaction) -> None:
    raise TypeError(record)


@_apply.register
def _start(record: RunStarted, tx: Transaction) -> None:
    """Start a run, or go on with it where what is there began, or ended, before."""
    started_at = moment(record.at_us)
    if run_store.find(tx, record.run) is None:
        experiment = DEFAULT_EXPERIMENT
        if record.experiment is None:
            experiments.ensure_default(tx)
        else:
            experiment = experiments.experiment_named(tx, record.experiment).id
        runs.create_run(
            tx,
            experiment,
            name=record.name,
            actor=record.actor,
            started_at=started_at,
            tags=record.tags,
            run_id=record.run,
        )
        return
    if record.tags:
        logged.set_tags(tx, record.run, record.tags)
    present = run_store.get_run(tx, record.run, lock=True)
    ended = present.finished_at
    # Journals of several processes come in any order: an end that lies behind this stays.
    goes_on = present.status in ENDED and ended is not None and ended < started_at
    status = RunStatus.RUNNING if goes_on else None
    runs.update_run(tx, record.run, status=status, name=record.name)


@_apply.register
def _end(record: RunEnded, tx: Transaction) -> None:
    runs.update_run(
        tx,
        record.run,
        status=record.status,
        finished_at=moment(record.at_us),
        error=record.error,
    )


@_apply.register
def _params(record: Params, tx: Transaction) -> None:
    logged.log_params(tx, record.run, record.values)


@_apply.register
def _tags(record: Tags, tx: Transaction) -> None:
    logged.set_tags(tx, record.run, record.values)


@_apply.register
def _file(record: File, tx: Transaction) -> None:
    log_artifact(tx, record.run, record.name, record.digest, bytes=record.bytes, media=record.media)
