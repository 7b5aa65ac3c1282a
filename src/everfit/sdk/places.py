"""Where journals are delivered to: a project's folder, in this process, or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import httpx
import sqlalchemy as sa

from everfit.errors import EverfitError, Invalid, TooLarge, Unavailable
from everfit.kernel import Workspace, load_settings, open_workspace
from everfit.kernel.blobs import BlobReader
from everfit.tracking import apply_batch
from everfit.tracking.journalled import (
    BLOBS_PATH,
    JOURNAL_PATH,
    MEDIA,
    Batch,
    Receipt,
    encoded,
    read_receipt,
)

# A server that is there takes a call at once; one that answers may be busy for a while.
TIMEOUT = httpx.Timeout(30.0, connect=3.0)


class Place(Protocol):
    """Takes batches and contents; raises an EverfitError where that cannot be now.

    For one thread. ``TooLarge`` asks for smaller batches.
    """

    name: str

    def deliver(self, batch: Batch) -> Receipt:
        """Apply a batch; what the receipt says is on disk."""
        ...

    def keep(self, content: BlobReader) -> None:
        """Keep the content of an artifact."""
        ...

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""
        ...


class FolderPlace:
    """The project in a folder, which is opened on the first delivery."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder
        self._workspace: Workspace | None = None

    def deliver(self, batch: Batch) -> Receipt:
        """Apply a batch in one transaction."""
        try:
            workspace = self._opened()
            with workspace.transaction() as tx:
                return apply_batch(tx, workspace.blobs, batch)
        except (OSError, sa.exc.SQLAlchemyError) as error:
            raise Unavailable(
                f"{self.name} cannot be written: {error}",
                hint="See that this process may write there, and the database runs.",
            ) from error

    def keep(self, content: BlobReader) -> None:
        """Copy the content to the project's blobs."""
        with self._opened().blobs.writer() as writer:
            for chunk in content:
                writer.write(chunk)
            writer.finish()

    def close(self) -> None:
        """Close the connections to the database."""
        if self._workspace is not None:
            self._workspace.close()
            self._workspace = None

    def _opened(self) -> Workspace:
        if self._workspace is None:
            self._workspace = open_workspace(load_settings(self._folder))
        return self._workspace


class ServerPlace:
    """The control plane at an address; raises Invalid where it is none."""

    def __init__(self, url: str) -> None:
        try:
            host = httpx.URL(url).host
        except httpx.InvalidURL:
            host = ""
        if not host:
            raise Invalid(f"{url!r} is no address", hint="Write http://HOST:PORT.")
        self.name = url
        self._http: httpx.Client | None = None

    def deliver(self, batch: Batch) -> Receipt:
        """Send a batch."""
        headers = {"content-type": MEDIA}
        request = self._client().build_request(
            "POST", JOURNAL_PATH, content=encoded(batch), headers=headers
        )
        return read_receipt(self._answer(request))

    def keep(self, content: BlobReader) -> None:
        """Send the content, chunk by chunk."""
        headers = {"content-length": str(content.size)}
        request = self._client().build_request(
            "PUT", BLOBS_PATH, content=iter(content), headers=headers
        )
        self._answer(request)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(base_url=self.name, timeout=TIMEOUT)
        return self._http

    def _answer(self, request: httpx.Request) -> bytes:
        try:
            response = self._client().send(request)
        except httpx.TransportError as error:
            hint = "Start it with `everfit server`, or correct the address."
            raise Unavailable(f"no answer from {self.name}: {error}", hint=hint) from error
        if response.is_success:
            return response.content
        raise self._refusal(response)

    def _refusal(self, response: httpx.Response) -> EverfitError:
        kind = TooLarge if response.status_code == TooLarge.status else Unavailable
        try:
            said = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = "it does not seem to be an Everfit server"
        return kind(
            f"{self.name} answers {response.status_code}: {said}",
            hint="Look at the log of the server, or correct the address.",
        )
