"""Artifacts on their way in and out: streamed, so that their size does not matter."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar
from urllib.parse import quote

import msgspec

from everfit.errors import Invalid
from everfit.kernel import BlobWriter, Transaction
from everfit.mlflow_api.artifacts import (
    UNKNOWN_MEDIA,
    BeginParts,
    EndParts,
    digests_in_order,
    part_credentials,
    target_of,
)
from everfit.mlflow_api.dispatch import Endpoint, Request, query_values
from everfit.server.asked import Answering, Asked
from everfit.tracking import Artifact, artifact_folder, check_path, get_file, get_run, put_file
from everfit.web import Reply, StreamedReply, body_chunks

ROOT = "/api/2.0/mlflow-artifacts"
# So much is gathered before a thread is asked to write it; so much at most while it does.
BLOCK_BYTES = 1 << 20
MOST_BYTES = 8 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
M = TypeVar("M")
_DONE = Reply(status=200, body=b"{}")


async def upload(asked: Asked) -> Reply:
    """``PUT …/artifacts/PATH``: keep the body as the file of that path."""
    path = asked.names["path"]
    check_path(path)
    media = asked.header(b"content-type") or UNKNOWN_MEDIA
    digest, size = await stored(asked)
    await asked.plane.write(lambda tx: put_file(tx, path, digest, bytes=size, media=media))
    return _DONE


async def upload_of_run(asked: Asked) -> Reply:
    """``POST …/upload-artifact?run_uuid=…&path=…``: keep the body as an artifact of a run."""
    query = dict(query_values(asked.query))
    name, run_id = query.get("path", ""), query.get("run_uuid", "")
    check_path(name)
    digest, size = await stored(asked)

    def named(tx: Transaction) -> Artifact:
        folder = artifact_folder(get_run(tx, run_id))
        return put_file(tx, f"{folder}/{name}", digest, bytes=size, media=UNKNOWN_MEDIA)

    await asked.plane.write(named)
    return _DONE


async def upload_part(asked: Asked) -> Reply:
    """``PUT …/mpu/part/UPLOAD/NUMBER``: keep one part; its digest is its etag."""
    digest, _ = await stored(asked)
    return Reply(status=200, body=b"{}", headers=((b"etag", f'"{digest}"'.encode()),))


async def begin_parts(asked: Asked) -> Reply:
    """``POST …/mpu/create/PATH``: say where parts go."""
    request = await _message(asked, BeginParts)
    host = asked.header(b"host") or "127.0.0.1"
    url = f"{asked.scope['scheme']}://{host}{ROOT}/mpu/part"
    return Reply(status=200, body=msgspec.json.encode(part_credentials(request, url)))


async def end_parts(asked: Asked) -> Reply:
    """``POST …/mpu/complete/PATH``: make one file of the parts."""
    request = await _message(asked, EndParts)
    path, digests = target_of(request.artifact_path, request.path), digests_in_order(request)
    blobs = asked.plane.workspace.blobs
    digest, size = await asked.plane.in_thread(blobs.concatenate, digests)
    await asked.plane.write(lambda tx: put_file(tx, path, digest, bytes=size, media=UNKNOWN_MEDIA))
    return _DONE


async def drop_parts(asked: Asked) -> Reply:
    """``POST …/mpu/abort/PATH``: no artifact names the parts, so there is nothing to undo."""
    await asked.body()
    return _DONE


async def download(asked: Asked) -> StreamedReply:
    """``GET …/artifacts/PATH``: give the file, or the range of it that is asked for."""
    path = asked.names["path"]
    return await _given(asked, await asked.plane.read(lambda tx: get_file(tx, path)))


async def download_of_run(asked: Asked) -> StreamedReply:
    """``GET /get-artifact?run_id=…&path=…``: give an artifact of a run."""
    query = dict(query_values(asked.query))
    run_id, name = query.get("run_id") or query.get("run_uuid", ""), query.get("path", "")

    def found(tx: Transaction) -> Artifact:
        return get_file(tx, f"{artifact_folder(get_run(tx, run_id))}/{name}")

    return await _given(asked, await asked.plane.read(found))


async def stored(asked: Asked) -> tuple[str, int]:
    """Return digest and size of the body, which is on disk then; raises TooLarge, StorageFull."""
    plane = asked.plane
    most = plane.workspace.settings.max_artifact_bytes
    with plane.workspace.blobs.writer() as writer:

        def writing(chunks: Sequence[bytes]) -> asyncio.Future[None]:
            return asyncio.ensure_future(plane.in_thread(_write, writer, chunks))

        gathered: list[bytes] = []
        size = 0
        # What is written while the next chunks come in; at first there is nothing.
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        try:
            async with aclosing(body_chunks(asked.scope, asked.receive, most=most)) as chunks:
                async for chunk in chunks:
                    gathered.append(chunk)
                    size += len(chunk)
                    if size >= (BLOCK_BYTES if written.done() else MOST_BYTES):
                        await written
                        written, gathered, size = writing(gathered), [], 0
        finally:
            # A thread that still writes must not find its file closed.
            await asyncio.wait([written])
        await written
        await writing(gathered)
        return await plane.in_thread(writer.finish)


def _write(writer: BlobWriter, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        writer.write(chunk)


async def _given(asked: Asked, file: Artifact) -> StreamedReply:
    first, length, status = _range(asked, file.bytes)
    headers = [
        (b"accept-ranges", b"bytes"),
        # A browser must not run what somebody logged.
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", _attachment(file.name)),
    ]
    if status == 206:
        last = first + length - 1
        headers.append((b"content-range", f"bytes {first}-{last}/{file.bytes}".encode()))
    media = mimetypes.guess_type(file.name)[0] or UNKNOWN_MEDIA
    return StreamedReply(
        status=status,
        chunks=_chunks(asked, file, first, length if status == 206 else None),
        media=media.encode(),
        length=length,
        headers=tuple(headers),
    )


async def _chunks(
    asked: Asked, file: Artifact, first: int, length: int | None
) -> AsyncGenerator[bytes, None]:
    plane = asked.plane
    with plane.workspace.blobs.open(file.digest, offset=first, length=length) as reader:
        chunks: Iterator[bytes] = iter(reader)
        while chunk := await plane.in_thread(next, chunks, b""):
            yield chunk


def _range(asked: Asked, size: int) -> tuple[int, int, int]:
    """Return first byte, length and status of what is asked for."""
    wanted = asked.header(b"range")
    if wanted is None:
        return 0, size, 200
    found = _RANGE.fullmatch(wanted)
    first = int(found[1]) if found else size
    if found is None or first >= size:
        raise Invalid(f"no range {wanted!r} of {size:,} bytes", hint="Send bytes=FIRST-LAST.")
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return first, max(last - first + 1, 0), 206


def _attachment(path: str) -> bytes:
    name = quote(path.rpartition("/")[2])
    return f"attachment; filename*=UTF-8''{name}".encode()


async def _message(asked: Asked, kind: type[M]) -> M:
    body = await asked.body()
    request = Request(path_values={"artifact_path": asked.names["path"]}, body=body)
    message: M = Endpoint(kind, kind, writes=False).decode(request)
    return message


FILES: dict[str, dict[str, Answering]] = {
    f"{ROOT}/artifacts/{{path...}}": {"GET": download, "PUT": upload},
    f"{ROOT}/mpu/create/{{path...}}": {"POST": begin_parts},
    f"{ROOT}/mpu/complete/{{path...}}": {"POST": end_parts},
    f"{ROOT}/mpu/abort/{{path...}}": {"POST": drop_parts},
    f"{ROOT}/mpu/part/{{number}}": {"PUT": upload_part},
    "/get-artifact": {"GET": download_of_run},
    "/ajax-api/2.0/mlflow/upload-artifact": {"POST": upload_of_run},
}
