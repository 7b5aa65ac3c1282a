"""Taking journals to their place, batch by batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from everfit.errors import LedgerBroken, NotFound, TooLarge
from everfit.kernel import Frame, Journal, Position, frames, trim
from everfit.sdk.outbox import Outbox
from everfit.sdk.places import Place
from everfit.tracking.journalled import Batch, Missing, Noted, Receipt, Refusal, place

log = logging.getLogger("everfit")

BATCH_RECORDS = 2_000
BATCH_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Delivered:
    """How many journals and records arrived, and how many of these were refused."""

    journals: int = 0
    records: int = 0
    refused: int = 0


@dataclass(slots=True)
class Delivery:
    """Delivers the journal of one writer, each time what was appended since."""

    outbox: Outbox
    place: Place
    writer: str
    position: Position = field(default_factory=lambda: Position(segment=0, offset=0))
    done: Delivered = field(default_factory=Delivered)
    _most: int = field(default=BATCH_RECORDS, init=False)

    def run(self, rest: Callable[[float], object] = lambda _seconds: None) -> None:
        """Deliver until nothing is left; raises an EverfitError where that cannot be now.

        After each batch ``rest`` is told how many seconds of the processor it took.
        """
        while True:
            began = time.thread_time()
            found = list(self._next())
            if not found:
                return
            try:
                receipt = self.place.deliver(_batch(self.writer, found))
            except TooLarge as error:
                self._shrink(found, error)
                continue
            self._most = min(BATCH_RECORDS, self._most * 2)
            self._acknowledged(found, receipt)
            trim(self.outbox.folder, {self.writer: self.position})
            rest(time.thread_time() - began)

    def _next(self) -> Iterator[Frame]:
        """Yield the frames of one batch."""
        size = 0
        after = {self.writer: self.position}
        for count, frame in enumerate(frames(self.outbox.folder, after, writers=[self.writer])):
            size += len(frame.payload)
            if count and (count >= self._most or size > BATCH_BYTES):
                return
            yield frame

    def _acknowledged(self, found: Sequence[Frame], receipt: Receipt) -> None:
        before = self.position
        self._note(receipt.refused, found)
        segment, offset = receipt.place
        self.position = max(self.position, Position(segment=segment, offset=offset))
        self.done.records += sum(before < frame.position <= self.position for frame in found)
        for missing in receipt.missing:
            if not self._sent(missing, found):
                # It stands next, or behind others that are asked for once more.
                return

    def _sent(self, missing: Missing, found: Sequence[Frame]) -> bool:
        """Send the content of an artifact; where it is gone, go past the record."""
        try:
            with self.outbox.files(self.writer).open(missing.digest) as content:
                self.place.keep(content)
        except (NotFound, LedgerBroken):
            behind = [frame for frame in found if place(frame.position) < missing.place]
            if behind and behind[-1].position > self.position:
                return False
            self._skip(missing.place, "the content of the artifact is lost", found)
            return False
        return True

    def _shrink(self, found: Sequence[Frame], error: TooLarge) -> None:
        """Try less at once; a record that is too large alone is refused."""
        if len(found) == 1:
            self._skip(place(found[0].position), error.message, found)
        self._most = max(1, len(found) // 2)

    def _skip(self, at: tuple[int, int], reason: str, found: Sequence[Frame]) -> None:
        self._note([Refusal(at, reason)], found)
        self.position = Position(segment=at[0], offset=at[1])

    def _note(self, refusals: Sequence[Refusal], found: Sequence[Frame]) -> None:
        """Keep what was refused, and tell of the first ones."""
        if not refusals:
            return
        payloads = {place(frame.position): frame.payload for frame in found}
        if any(refusal.place not in payloads for refusal in refusals):
            # Of a batch whose answer was lost: it stands in the journal still.
            every = frames(self.outbox.folder, writers=[self.writer])
            payloads |= {place(frame.position): frame.payload for frame in every}
        kept = [(refusal, payloads.get(refusal.place, b"")) for refusal in refusals]
        new = self.outbox.keep_refused(self.writer, kept)
        if new and not self.done.refused:
            file = self.outbox.refused_file(self.writer)
            log.warning("everfit: refused, and kept in %s: %s", file, refusals[0].reason)
        self.done.refused += new


def deliver_abandoned(outbox: Outbox, place: Place) -> Delivered:
    """Deliver the journals whose writers have ended, and remove them.

    Raises
    ------
    EverfitError
        If the place takes nothing now; what is left stays as it is.
    """
    total = Delivered()
    for journal in outbox.abandoned():
        with journal:
            done = _emptied(outbox, place, journal)
        total.journals += done.records > 0
        total.records += done.records
        total.refused += done.refused
    return total


def _emptied(outbox: Outbox, place: Place, journal: Journal) -> Delivered:
    delivery = Delivery(outbox, place, journal.folder.name)
    delivery.run()
    outbox.remove(journal)
    return delivery.done


def _batch(writer: str, found: Sequence[Frame]) -> Batch:
    return Batch(writer, [Noted(place(frame.position), frame.payload) for frame in found])
