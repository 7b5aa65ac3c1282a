"""Loopback: only its addresses are listened on, only its names answered to."""

from __future__ import annotations

import socket

import pytest

from everfit.errors import Refused
from everfit.web import Scope, listen, refuse_foreign_host


def call(*hosts: str) -> Scope:
    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    return {"type": "http", "headers": [(b"accept", b"*/*"), *headers]}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LocalHost:1",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:8080",
    ],
)
def test_loopback_names_are_answered_to(host: str) -> None:
    refuse_foreign_host(call(host))
    with pytest.raises(Refused):
        refuse_foreign_host(call(host, "evil.example"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "localhost:8080:8080",
        "localhost:evil",
        "localhost ",
        "128.0.0.1",
        "0.0.0.0",  # noqa: S104 - nobody listens
        "10.0.0.1",
        "127.1",
        "[::]",
        "[::2]:80",
        "[127.0.0.1]",
        "[::1",
        "::1",
        "l\xf6calhost",
    ],
)
def test_any_other_name_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="does not answer to the name") as caught:
        refuse_foreign_host(call(host))
    assert "localhost" in caught.value.hint


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1.evil.example", "null", "", "http://", "file://"],
)
def test_a_page_of_another_origin_may_not_even_ask(origin: str) -> None:
    scope = call("127.0.0.1:5000")
    refuse_foreign_host({"headers": [*scope["headers"], (b"origin", b"http://localhost:8080")]})
    with pytest.raises(Refused, match="does not answer to pages"):
        refuse_foreign_host({"headers": [*scope["headers"], (b"origin", origin.encode())]})


def test_a_call_that_names_no_host_comes_from_no_browser() -> None:
    refuse_foreign_host(call())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_loopback_address_is_listened_on(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((host, port), timeout=5) as connection:
            assert connection.getpeername()[1] == port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.1.1", "example.org", ""])  # noqa: S104
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="other machines"):
        listen(host, 0)
