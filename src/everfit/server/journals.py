"""Everfit's own interface: the journals of clients that log with ``everfit.log``."""

from __future__ import annotations

import msgspec

from everfit.errors import Invalid
from everfit.server.asked import Answering, Asked
from everfit.server.files import stored
from everfit.tracking import apply_batch
from everfit.tracking.journalled import BLOBS_PATH, JOURNAL_PATH, MEDIA, encoded, read_batch
from everfit.web import Reply, answered


async def journal(asked: Asked) -> Reply:
    """``POST /api/everfit/1/journal``: apply a batch of records, and say how far that leads."""
    return await answered(asked.scope, _applied(asked))


async def blob(asked: Asked) -> Reply:
    """``PUT /api/everfit/1/blobs``: keep the content of an artifact that a record will name."""
    return await answered(asked.scope, _kept(asked))


async def _applied(asked: Asked) -> Reply:
    # No page of another site can send this type without being asked first what it wants.
    media = asked.header(b"content-type")
    if media != MEDIA:
        raise Invalid(f"a batch is no {media}", hint=f"Send it as {MEDIA}.")
    batch = read_batch(await asked.body())
    blobs = asked.plane.workspace.blobs
    receipt = await asked.plane.write(lambda tx: apply_batch(tx, blobs, batch))
    return Reply(status=200, body=encoded(receipt), media=MEDIA.encode())


async def _kept(asked: Asked) -> Reply:
    digest, size = await stored(asked)
    return Reply(status=200, body=msgspec.json.encode({"digest": digest, "bytes": size}))


JOURNALS: dict[str, dict[str, Answering]] = {
    JOURNAL_PATH: {"POST": journal},
    BLOBS_PATH: {"PUT": blob},
}
