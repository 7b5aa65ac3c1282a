"""From a request in MLflow's words to the answer: decode, call the handler, encode.

Handlers are plain functions of a ``Call`` and a request, and know neither HTTP nor threads: the
server runs them in its group commit, the plug-in of MLflow's own client in the client's process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from everfit.errors import Invalid
from everfit.kernel import Blobs, Transaction

# An escaped backslash before it makes it six characters of a text.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# Python writes NaN and infinities as words that are no JSON; texts are passed over whole.
_TEXT_OR_WORD = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?Infinity|NaN', re.DOTALL)
STORED_ROOT = "mlflow-artifacts:/"
Handler = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """How artifacts are addressed by those who ask: over HTTP, or in this process."""

    blobs: Blobs
    artifact_root: str = STORED_ROOT

    def artifact_uri(self, path: str) -> str:
        """Return the URI of a path in the tree of artifacts."""
        return f"{self.artifact_root}{path}"

    def tree_path(self, uri: str) -> str | None:
        """Return the path in the tree that a URI of any of its forms means, or None."""
        for root in (self.artifact_root, STORED_ROOT):
            if uri.startswith(root):
                return uri.removeprefix(root).strip("/")
        return None

    def stored(self, path: str) -> str:
        """Return the URI of a path as it is kept: the same for whoever asks for it later."""
        return f"{STORED_ROOT}{path}"

    def rendered(self, uri: str) -> str:
        """Return a URI that was kept as those who ask now can use it."""
        path = self.tree_path(uri)
        return uri if path is None else self.artifact_uri(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as its handler sees it: the transaction it happens in, and where blobs lie."""

    tx: Transaction
    api: Api

    @property
    def blobs(self) -> Blobs:
        """Return the blobs of this installation."""
        return self.api.blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came: what stands in its path, its query and its body."""

    path_values: Mapping[str, str]
    query: str = ""
    body: bytes = b""


class Endpoint:
    """A handler with the type of its request, whether it writes, and if so only briefly."""

    __slots__ = ("_decoder", "_fields", "brief", "handler", "request", "writes")

    def __init__(
        self, handler: Handler, request: type[Any], *, writes: bool, brief: bool = False
    ) -> None:
        self.handler = handler
        self.request = request
        self.writes = writes
        self.brief = brief
        self._decoder = msgspec.json.Decoder(request, strict=False)
        self._fields: dict[str, bool] | None = None

    def decode(self, request: Request) -> Any:
        """Return the request's message.

        Raises
        ------
        Invalid
            If it is no JSON, lacks something, or holds something of another kind.
        """
        self._refuse_nul(request)
        try:
            return self._decoded(request)
        except msgspec.ValidationError as error:
            raise self._unreadable(error) from error
        except msgspec.DecodeError as error:
            quoted = _quoted(request.body)
            if quoted == request.body:
                raise self._unreadable(error) from error
            return self.decode(replace(request, body=quoted))
        except (UnicodeDecodeError, RecursionError) as error:
            raise Invalid(
                f"the request of {self.handler.__name__} is no JSON: {error}",
                hint="Send JSON in UTF-8, not nested a thousand levels deep.",
            ) from error

    def _decoded(self, request: Request) -> Any:
        if request.body and not (request.path_values or request.query):
            return self._decoder.decode(request.body)
        if self._fields is None:
            self._fields = _fields(self.request)
        values = _values(self._fields, request)
        return msgspec.convert(values, self.request, strict=False)

    def _unreadable(self, error: msgspec.MsgspecError) -> Invalid:
        return Invalid(
            f"the request of {self.handler.__name__} cannot be read: {error}",
            hint="Send what MLflow's client sends: see the REST reference of MLflow.",
        )

    def _refuse_nul(self, request: Request) -> None:
        """Refuse a text with the character NUL: not every database can keep it."""
        in_path = "%00" in request.query or any("\0" in v for v in request.path_values.values())
        # Few bodies have a backslash, and one byte is found ten times as fast as six.
        in_body = b"\\" in request.body and b"\\u0000" in request.body
        if in_path or (in_body and _NUL.search(request.body)):
            raise Invalid(
                f"the request of {self.handler.__name__} has the character NUL in a text",
                hint="Leave it out, or log the text as an artifact.",
            )


def read(handler: Handler) -> Endpoint:
    """Return the endpoint of a handler that only reads."""
    return Endpoint(handler, _request_type(handler), writes=False)


def write(handler: Handler) -> Endpoint:
    """Return the endpoint of a handler that writes."""
    return Endpoint(handler, _request_type(handler), writes=True)


def brief(handler: Handler) -> Endpoint:
    """Return the endpoint of a handler that writes a few rows: a matter of a moment."""
    return Endpoint(handler, _request_type(handler), writes=True, brief=True)


def _quoted(body: bytes) -> bytes:
    """Return a body whose bare NaN and infinities are texts, as the protocol writes them."""
    return _TEXT_OR_WORD.sub(
        lambda found: found[0] if found[0].startswith(b'"') else b'"%b"' % found[0], body
    )


def query_values(query: str) -> list[tuple[str, str]]:
    """Return the names and values of a query; raises Invalid for what is no UTF-8."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid(f"the query is no text: {error}", hint="Send UTF-8, quoted.") from error


def _request_type(handler: Handler) -> type[Any]:
    hints = get_type_hints(handler)
    kind: type[Any] = hints[handler.__code__.co_varnames[1]]
    return kind


def _fields(kind: type[Any]) -> dict[str, bool]:
    """Return the names of the fields, and whether each is a list."""
    return {
        field.encode_name: get_origin(field.type) is list for field in msgspec.structs.fields(kind)
    }


def _values(fields: Mapping[str, bool], request: Request) -> dict[str, Any]:
    """Return the values of body, query and path together; a path cannot be contradicted."""
    values: dict[str, Any] = {}
    if request.body:
        content = msgspec.json.decode(request.body)
        if not isinstance(content, dict):
            raise msgspec.ValidationError(f"expected an object, got {type(content).__name__}")
        values |= content
    for name, value in query_values(request.query):
        if fields.get(name):
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return values | dict(request.path_values)
