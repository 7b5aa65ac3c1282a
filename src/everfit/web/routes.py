"""Routes: which handler answers a method and a path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from everfit.errors import NotFound
from everfit.web.asgi import Reply, plain_error

H = TypeVar("H")
REST = "...}"
REMEMBERED, REMEMBERED_BYTES = 1_024, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[H]):
    """The handler of a call, its template, and what stands in the path for each name of that."""

    handler: H
    path: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """No handler: the path is not there, or has other methods (``allowed``)."""

    method: str
    path: str
    allowed: tuple[str, ...] = ()

    def reply(self, hint: str) -> Reply:
        """Return 405 with the methods that are allowed, or 404 with ``hint``."""
        if not self.allowed:
            return plain_error(404, NotFound.code, f"no path {self.path!r}", hint)
        allowed = ", ".join(self.allowed)
        message = f"{self.method} is not for this path"
        reply = plain_error(405, "method-not-allowed", message, f"Use {allowed}.")
        return Reply(status=405, body=reply.body, headers=((b"allow", allowed.encode()),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template(Generic[H]):
    """A path with names: ``parts`` has None where one stands, a final ``{name...}`` left out."""

    path: str
    parts: tuple[str | None, ...]
    names: tuple[str, ...]
    handlers: Mapping[str, H]

    def match(self, parts: tuple[str, ...]) -> list[str] | None:
        """Return what stands for the names, or None if the path is another one."""
        values = []
        for wanted, found in zip(self.parts, parts, strict=True):
            if wanted is None and found and "/" not in found:
                values.append(found)
            elif wanted != found:
                return None
        return values

    def named(self, values: Iterable[str]) -> dict[str, str]:
        """Return the values by name."""
        return dict(zip(self.names, values, strict=True))


class Routes(Generic[H]):
    """Handlers by path and method: ``{"/runs/{run}/files/{path...}": {"GET": handler}}``.

    ``{name}`` stands for one segment of the path, a final ``{name...}`` for all that are left;
    neither for nothing. Segments are told apart as they were sent and percent-decoded once
    afterwards: only a final name can hold a ``/`` that was sent as ``%2F``. Nothing is
    normalised: ``..`` is the handler's to refuse. Where several templates fit, what is spelled out
    goes before a name, and a longer one before ``{name...}``.
    """

    def __init__(self, table: Mapping[str, Mapping[str, H]]) -> None:
        self.paths = tuple(table)
        self._remembered = lru_cache(REMEMBERED)(self._found)
        self._plain: dict[tuple[str, ...], tuple[str, Mapping[str, H]]] = {}
        self._named: dict[int, list[_Template[H]]] = defaultdict(list)
        self._open: list[_Template[H]] = []
        for path, handlers in table.items():
            self._add(path, handlers)
        for templates in (*self._named.values(), self._open):
            templates.sort(key=lambda one: (-len(one.parts), [part is None for part in one.parts]))

    def find(self, method: str, raw_path: bytes) -> Found[H] | Missing:
        """Return the handler for the path as it was sent; HEAD finds that of GET."""
        # Callers ask for the same few paths again and again.
        find = self._remembered if len(raw_path) <= REMEMBERED_BYTES else self._found
        return find(method, raw_path)

    def _found(self, method: str, raw_path: bytes) -> Found[H] | Missing:
        wanted = "GET" if method == "HEAD" else method
        allowed: dict[str, None] = {}
        for path, handlers, names in self._fitting(raw_path):
            handler = handlers.get(wanted)
            if handler is not None:
                return Found(handler=handler, path=path, names=names)
            allowed |= dict.fromkeys(handlers)
        if "GET" in allowed:
            allowed["HEAD"] = None
        asked = raw_path.decode(errors="backslashreplace")
        return Missing(method=method, path=asked, allowed=tuple(allowed))

    def _add(self, path: str, handlers: Mapping[str, H]) -> None:
        segments = _segments(path.encode())
        names = tuple(part[1:-1].removesuffix("...") for part in segments if part.startswith("{"))
        if not names:
            self._plain[segments] = path, handlers
            return
        has_rest = segments[-1].endswith(REST)
        segments = segments[:-1] if has_rest else segments
        if len(set(names)) < len(names) or any(part.endswith(REST) for part in segments):
            raise ValueError(f"{path}: each name once, and {{name...}} at the end only")
        parts = tuple(None if part.startswith("{") else part for part in segments)
        template = _Template(path=path, parts=parts, names=names, handlers=handlers)
        (self._open if has_rest else self._named[len(parts)]).append(template)

    def _fitting(self, raw_path: bytes) -> Iterator[tuple[str, Mapping[str, H], dict[str, str]]]:
        """Yield the templates that fit with their handlers, the most exact ones first."""
        try:
            parts = _segments(raw_path)
        except UnicodeDecodeError:
            return
        if parts in self._plain:
            yield *self._plain[parts], {}
        for template in self._named.get(len(parts), ()):
            if (values := template.match(parts)) is not None:
                yield template.path, template.handlers, template.named(values)
        for template in self._open:
            size = len(template.parts)
            if len(parts) > size and (values := template.match(parts[:size])) is not None:
                # What the caller's path ends in is the handler's to judge as well.
                tail = "/" * (len(raw_path) - len(raw_path.rstrip(b"/")))
                values.append("/".join(parts[size:]) + tail)
                yield template.path, template.handlers, template.named(values)


def _segments(raw_path: bytes) -> tuple[str, ...]:
    """Return the segments of a path, decoded; slashes at both ends count for nothing."""
    inner = raw_path.strip(b"/")
    if not inner:
        return ()
    if b"%" not in inner:
        return tuple(inner.decode().split("/"))
    return tuple(unquote_to_bytes(segment).decode() for segment in inner.split(b"/"))
