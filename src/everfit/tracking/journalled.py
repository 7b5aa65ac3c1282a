"""What a client notes in its journal, and the batches in which the journal is delivered.

Records and batches are MessagePack: unlike JSON it keeps NaN and infinities, and the bytes of a
record travel as they stand in the journal. A record is an array that begins with its kind, so
that a later release can add a field at its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import msgspec

from everfit.errors import Invalid
from everfit.kernel import Position
from everfit.tracking.model import ENDED, RunStatus

MEDIA = "application/msgpack"
JOURNAL_PATH, BLOBS_PATH = "/api/everfit/1/journal", "/api/everfit/1/blobs"
# Below the journal of a writer: the contents of artifacts that wait.
FILES_FOLDER = "files"
# The last microsecond of the year 9999: later ones are no time.
Time = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
# It is part of the paths of the run's files.
RunId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
WriterId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Place = tuple[Whole, Whole]
"""A position in a journal: segment and offset."""


class RunStarted(msgspec.Struct, frozen=True, array_like=True, tag="started"):
    """A run begins under an id of the client's choice, or goes on."""

    run: RunId
    at_us: Time
    name: str | None
    experiment: str | None
    actor: str
    tags: dict[str, str]


class RunEnded(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """A run ends."""

    run: str
    at_us: Time
    status: RunStatus
    error: str | None


class Points(msgspec.Struct, frozen=True, array_like=True, tag="points"):
    """Values of metrics at one time, each with its step."""

    run: str
    at_us: int
    values: list[tuple[str, float, int]]


class Params(msgspec.Struct, frozen=True, array_like=True, tag="params"):
    """Parameters."""

    run: str
    values: dict[str, str | int | float | bool | None]


class Tags(msgspec.Struct, frozen=True, array_like=True, tag="tags"):
    """Tags."""

    run: str
    values: dict[str, str]


class File(msgspec.Struct, frozen=True, array_like=True, tag="file"):
    """An artifact; its content is sent as a blob."""

    run: str
    name: str
    digest: str
    bytes: Whole
    media: str


Record = RunStarted | RunEnded | Points | Params | Tags | File


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """The bytes of one record, and the place behind it in the journal of its writer."""

    place: Place
    payload: bytes


class Batch(msgspec.Struct, frozen=True):
    """Records of one writer in the order of its journal; none asks how far it was delivered."""

    writer: WriterId
    records: list[Noted]


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A record that was not applied, and will not be."""

    place: Place
    reason: str


class Missing(msgspec.Struct, frozen=True, array_like=True):
    """A record whose content has not been sent yet."""

    place: Place
    digest: str


class Receipt(msgspec.Struct, frozen=True):
    """How far the journal of a writer is applied, on disk.

    ``refused`` are those of the last batch that was applied. What stands behind ``missing``
    waits for its content.
    """

    place: Place
    refused: list[Refusal]
    missing: list[Missing] = []


_ENCODER = msgspec.msgpack.Encoder()
_RECORDS: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_BATCHES = msgspec.msgpack.Decoder(Batch)
_RECEIPTS = msgspec.msgpack.Decoder(Receipt)


def encoded(value: Record | Batch | Receipt) -> bytes:
    """Return the bytes of a record, a batch or a receipt; raises Invalid."""
    try:
        return _ENCODER.encode(value)
    except (OverflowError, UnicodeEncodeError) as error:
        raise Invalid(
            f"what is logged cannot be written: {error}",
            hint="Log whole numbers of up to 64 bits, and text without lone surrogates.",
        ) from error


def read_record(payload: bytes) -> Record:
    """Return the record of these bytes.

    Raises
    ------
    Invalid
        If they are none, or one of a later release.
    """
    try:
        record = _RECORDS.decode(payload)
    except msgspec.DecodeError as error:
        raise Invalid(f"no record: {error}", hint="Use a server as new as the client.") from error
    if isinstance(record, RunEnded) and record.status not in ENDED:
        raise Invalid(f"{record.status!r} is no end of a run", hint="Say how it ended.")
    return record


def read_batch(body: bytes) -> Batch:
    """Return the batch of these bytes; raises Invalid."""
    try:
        batch = _BATCHES.decode(body)
    except msgspec.DecodeError as error:
        raise Invalid(f"no batch: {error}", hint="Send what the client library sends.") from error
    places = [noted.place for noted in batch.records]
    if any(later <= earlier for earlier, later in itertools.pairwise(places)):
        raise Invalid(
            f"the records of {batch.writer} are not in the order of its journal",
            hint="Send them as they stand there.",
        )
    return batch


def read_receipt(body: bytes) -> Receipt:
    """Return the receipt of these bytes; raises Invalid."""
    try:
        return _RECEIPTS.decode(body)
    except msgspec.DecodeError as error:
        raise Invalid(f"no receipt: {error}", hint="Is an Everfit server answering?") from error


def place(position: Position) -> Place:
    """Return a position of the journal as it is sent."""
    return position.segment, position.offset


def applicable(
    records: Sequence[tuple[Place, Record]], lacking: Sequence[Missing]
) -> Sequence[tuple[Place, Record]]:
    """Return the records before the first one whose content is lacking."""
    if not lacking:
        return records
    return [(at, record) for at, record in records if at < lacking[0].place]
