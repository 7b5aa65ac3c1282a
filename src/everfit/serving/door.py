"""What is decided before a request is read: cheap refusals, and room for large bodies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from everfit.errors import EndpointFull, EverfitError
from everfit.serving.admission import Admission, Why
from everfit.serving.core import ModelServer
from everfit.serving.counts import route_of
from everfit.serving.model import Bounds
from everfit.serving.refusals import in_words_of_path
from everfit.serving.terms import client_of
from everfit.web import Scope, as_http, error_reply, fields

# So long one refusal is sent to all who are refused alike: the numbers in it are of then.
SAME_SECONDS = 0.1
# Bodies of up to so many bytes need no room kept.
SMALL_BYTES = 64 * 1024

# Where predictions are asked for; the first only where there is one endpoint.
PATHS = (
    "/invocations",
    "/endpoints/{name}/invocations",
    "/predict/{name}",
    "/v2/models/{name}/infer",
)
Headers = list[tuple[bytes, bytes]]


class Door:
    """Answers requests for which there is no room, as bytes, before they are made into calls.

    It knows the addresses at which predictions are asked for as they are mostly written; requests
    to others are refused by the application.
    """

    def __init__(self, servers: Mapping[str, ModelServer]) -> None:
        self._asked: dict[bytes, tuple[ModelServer, str]] = {}
        for name, server in servers.items():
            for path in PATHS if len(servers) == 1 else PATHS[1:]:
                self._asked[path.format(name=name).encode()] = server, route_of("POST", path)
        self._said: dict[tuple[bytes, Why], tuple[float, bytes, EverfitError]] = {}

    def is_open(self, target: bytes) -> bool:
        """Return whether anybody may come in who asks for ``target``."""
        asked = self._asked.get(target)
        return asked is None or asked[0].admission.is_roomy

    def refusal(self, target: bytes, headers: Headers) -> bytes | None:
        """Return the answer to a POST that there is no room for, or None where there is."""
        server, route = self._asked[target]
        why = server.admission.why_not(client_of(headers))
        if why is None:
            return None
        said, error = self._said_of(target, server.admission, why)
        now = server.workspace.clock.now()
        server.traffic.note(now, error.status, 0.0, route=route, refused=error.code)
        return said

    def _said_of(self, target: bytes, admission: Admission, why: Why) -> tuple[bytes, EverfitError]:
        now = time.monotonic()
        last = self._said.get((target, why))
        if last is not None and now <= last[0]:
            return last[1:]
        error = admission.refusal(why)
        said = as_http(in_words_of_path(target.decode(), error_reply(error)))
        self._said[target, why] = (now + SAME_SECONDS, said, error)
        return said, error


class Uploads:
    """Bounds the memory of large bodies while they come; whoever sends one slowly stops no other.

    A place at the endpoint is taken once a body is there. Everything happens on one thread.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._most, self._most_each = bounds.upload_bytes, bounds.body_bytes
        self._coming = 0

    def is_small(self, scope: Scope) -> bool:
        """Return whether the body of a call needs no room kept."""
        return self._announced(scope) <= SMALL_BYTES

    @contextmanager
    def coming(self, scope: Scope, admission: Admission, client: str) -> Iterator[None]:
        """Keep room for the body of a call.

        Raises
        ------
        EndpointFull, Overloaded
            If there is no room for it, or none at the endpoint: then it is not read for nothing.
        """
        size = self._announced(scope)
        why = admission.why_not(client)
        if why is not None:
            raise admission.refusal(why)
        if self._coming and self._coming + size > self._most:
            raise EndpointFull(
                f"bodies of {self._coming:,} bytes are being received already",
                hint="Send it again after the time in Retry-After, or in smaller requests.",
            )
        self._coming += size
        try:
            yield
        finally:
            self._coming -= size

    def _announced(self, scope: Scope) -> int:
        """Return how many bytes a body may come to: all that one may have, if it does not say."""
        found = fields(scope)
        length = found.get(b"content-length", b"")
        if length.isdigit():
            return min(int(length), self._most_each)
        return self._most_each if b"transfer-encoding" in found else 0
