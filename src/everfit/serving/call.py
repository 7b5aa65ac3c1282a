"""One request on its way: read, asked together with others, and written as its caller reads it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from everfit.serving.core import ModelServer
from everfit.serving.load import Loaded
from everfit.serving.media import Media, body_media
from everfit.serving.model import Answers, Rows
from everfit.serving.pinned import pinned
from everfit.serving.plain import Plain
from everfit.serving.reasons import Reasons
from everfit.serving.terms import Terms, terms_of
from everfit.web import Receive, Reply, Scope, fields, read_body

if TYPE_CHECKING:
    from everfit.serving.app import App

T = TypeVar("T")
R = TypeVar("R", bound=Rows | Plain)

# What is decoded and encoded faster than a thread is asked to.
SMALL_BYTES = 32 * 1024


class Call(msgspec.Struct, eq=False):
    """One request on its way, with what is noted of it: its endpoint, rows, answers and start.

    ``is_read`` says that its body came to its end.
    """

    app: App
    scope: Scope
    receive: Receive
    started: float
    name: str = ""
    version: str | None = None
    counted: ModelServer | None = None
    answers: Answers | None = None
    rows: int = 0
    explain: int = 0
    is_read: bool = False
    route: str = ""
    refused: str | None = None
    terms: Terms = msgspec.field(default_factory=Terms)

    @property
    def media(self) -> Media:
        """Return what the body is said to be; raises MediaUnknown if it is compressed."""
        return body_media(fields(self.scope))

    def header(self, name: str) -> bytes | None:
        """Return what stands in a header."""
        return fields(self.scope).get(name.lower().encode())

    async def predictions(self, form: Form[R]) -> Reply:
        """Return the answers to the rows of the body, asked together with those of others."""
        server = self.app.server(self.name)
        body = await self.body(server)
        with server.admission.enter(self.terms.client, left=self.terms.left):
            small = len(body) <= SMALL_BYTES
            loaded, found = await self._rows(form, server, body)
            if isinstance(found, Reply):
                return found
            self.rows = found.height
            if small and not (isinstance(found, Rows) and found.explain):
                write = partial(_with_answers, form, self, loaded, found)
                self.answers, reply = await self._asked(found, loaded, write)
                return reply
            self.answers = await self._answers(found, loaded)
            return await self.app.in_thread(form.write, self, loaded, found, self.answers)

    async def _rows(
        self, form: Form[R], server: ModelServer, body: bytes
    ) -> tuple[Loaded, R | Reply]:
        """Return the rows and what they were read by, or the reply where that is there at once."""
        while True:
            loaded = pinned(server.loaded, self.version)
            found: R | Reply
            if len(body) <= SMALL_BYTES:
                found = form.read(self, loaded, body)
            else:
                found = await self.terms.kept(self.app.in_thread(self._whole, form, loaded, body))
            if loaded.is_awake:
                return loaded, found
            # The rows are read again then: the plan may be another one.
            await self.terms.kept(server.waking.done())

    def _whole(self, form: Form[R], loaded: Loaded, body: bytes) -> R | Reply:
        """Return the rows of a large body, or the reply to them where no other thread is needed."""
        rows = form.read(self, loaded, body)
        if not (isinstance(rows, Plain) and loaded.needs_no_frame and loaded.is_awake):
            return rows
        self.rows = rows.height
        self.answers = self.app.server(self.name).answer(rows, loaded)
        return form.write(self, loaded, rows, self.answers)

    async def _answers(self, rows: Rows | Plain, loaded: Loaded) -> Answers:
        """Return the answers, with reasons if they are wanted; refused first if there are none."""
        if isinstance(rows, Plain) or not rows.explain:
            return await self._asked(rows, loaded, _as_they_are)
        aside, explainers = self.app.in_thread, self.app.server(self.name).explainers
        reasons = await aside(Reasons, explainers, loaded, rows, self.app.bounds)
        answers = await self._asked(rows, loaded, _as_they_are)
        return await aside(reasons.beside, answers, rows.explain)

    def _asked(
        self, rows: Rows | Plain, loaded: Loaded, write: Callable[[Answers], T]
    ) -> Awaitable[T]:
        """Return where that will be which ``write`` makes of the answers."""
        answering = self.app.batches[self.name].ask(rows, loaded, write)
        return answering if self.terms.ends == math.inf else self.terms.kept(answering)

    async def body(self, server: ModelServer) -> bytes:
        """Return the body of a request to an endpoint; refuse it when too much waits."""
        uploads, most = self.app.uploads, self.app.bounds.body_bytes
        self.terms = terms_of(fields(self.scope))
        if uploads.is_small(self.scope):
            body = await read_body(self.scope, self.receive, most=most)
        else:
            with uploads.coming(self.scope, server.admission, self.terms.client):
                body = await read_body(self.scope, self.receive, most=most)
        self.is_read = True
        self.terms.check()
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Generic[R]):
    """How requests of one kind are read and answered. Both run where it suits their size."""

    read: Callable[[Call, Loaded, bytes], R]
    write: Callable[[Call, Loaded, R, Answers], Reply]


def _with_answers(
    form: Form[R], call: Call, loaded: Loaded, rows: R, answers: Answers
) -> tuple[Answers, Reply]:
    return answers, form.write(call, loaded, rows, answers)


def _as_they_are(answers: Answers) -> Answers:
    return answers
