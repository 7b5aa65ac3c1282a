"""Loopback: servers that ask nobody who they are listen there, and answer to its names only."""

from __future__ import annotations

import errno
import functools
import ipaddress
import re
import socket

from everfit.errors import Conflict, EverfitError, Invalid, Refused, Unavailable
from everfit.web.asgi import Scope, fields

MAX_PORT = 65_535
HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:]+))(?::[0-9]+)?")


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Return a socket that listens on a loopback address; port 0 stands for any that is free.

    ``option`` is what hints call the option by which a person chose the port.

    Raises
    ------
    Refused
        If ``host`` is no loopback address, or this user may not listen on the port.
    Conflict
        If the port is in use.
    Invalid
        If there is no such port.
    """
    if not _is_loopback(host):
        raise Refused(
            f"{host} can be reached from other machines, and this server asks nobody who they are",
            hint="Use 127.0.0.1, and put a proxy with access control in front of it.",
            host=host,
        )
    if not 0 <= port <= MAX_PORT:
        raise Invalid(
            f"{port} is no port",
            hint=f"Choose one from 1 to {MAX_PORT} with {option}; those below 1024 need rights.",
            port=port,
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise _why_not(error, host, port, option) from error
    return listening


def refuse_foreign_host(scope: Scope) -> None:
    """Return if the call names this machine by a loopback name, and no foreign page makes it.

    A page on the web can have its own name resolve to 127.0.0.1, and its script then reads and
    writes here as if it were ours (DNS rebinding); but it cannot change the name that the browser
    sends. A call without a Host header comes from no browser.

    Nor is it let past if a page of another origin makes it: without reading any answer its script
    could still write.

    Raises
    ------
    Refused
        If its Host header is another name, or its Origin header another origin.
    """
    found = fields(scope)
    host, origin = found.get(b"host"), found.get(b"origin")
    if host is not None and not _names_loopback(host):
        raise Refused(
            f"this server does not answer to the name {host.decode('latin-1')!r}",
            hint="Use http://127.0.0.1 or http://localhost; a proxy in front of this server "
            "must send one of them as Host.",
        )
    if origin is not None and not _names_loopback(origin.partition(b"://")[2]):
        raise Refused(
            f"this server does not answer to pages of {origin.decode('latin-1')!r}",
            hint="Open the page from this machine, or call from a program.",
        )


@functools.lru_cache(maxsize=256)
def _names_loopback(host: bytes) -> bool:
    found = HOST.fullmatch(host.decode("latin-1"))
    if found is None:
        return False
    six, name = found["six"], found["name"]
    return _is_loopback(name) if six is None else ":" in six and _is_loopback(six)


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why_not(error: OSError, host: str, port: int, option: str) -> EverfitError:
    if error.errno == errno.EADDRINUSE:
        hint = f"Stop the process that listens on {port}, or choose another one with {option}."
        return Conflict(f"port {port} on {host} is in use", hint=hint, port=port)
    if error.errno == errno.EACCES:
        hint = f"Choose a port above 1023 with {option}."
        return Refused(f"this user may not listen on port {port}", hint=hint, port=port)
    return Unavailable(f"cannot listen on {host}:{port}: {error}", hint="Check the address.")
