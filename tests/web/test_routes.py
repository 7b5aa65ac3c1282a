"""Routes: the most exact path answers, encoded segments stay segments."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.web import Found, Missing, Routes

ROUTES = Routes(
    {
        "/": {"GET": "home"},
        "/health": {"GET": "health"},
        "/runs/search": {"POST": "search runs"},
        "/runs/{run}": {"GET": "run", "DELETE": "delete run"},
        "/runs/{run}/tags/{key}": {"GET": "tag"},
        "/runs/latest/tags/{key}": {"GET": "latest tag"},
        "/runs/{run}/files/{path...}": {"GET": "file", "PUT": "write file"},
        "/runs/{run}/{rest...}": {"GET": "anything of a run"},
    }
)
# Whatever text a client may send; lone surrogates have no UTF-8.
segments = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def encoded(text: str) -> bytes:
    return quote(text, safe="").encode()


@pytest.mark.parametrize(
    ("method", "path", "handler", "names"),
    [
        ("GET", b"/", "home", {}),
        ("GET", b"/health", "health", {}),
        ("HEAD", b"/health", "health", {}),
        ("GET", b"//health/", "health", {}),
        ("GET", b"/%68ealth", "health", {}),
        ("POST", b"/runs/search", "search runs", {}),
        ("GET", b"/runs/search", "run", {"run": "search"}),
        ("GET", b"/runs/7", "run", {"run": "7"}),
        ("GET", b"/runs/a%20b", "run", {"run": "a b"}),
        ("GET", b"/runs/%2541", "run", {"run": "%41"}),
        ("GET", b"/runs/..", "run", {"run": ".."}),
        ("GET", b"/runs/7/tags/x", "tag", {"run": "7", "key": "x"}),
        ("GET", b"/runs/latest/tags/x", "latest tag", {"key": "x"}),
        ("GET", b"/runs/7/files/a/b.txt", "file", {"run": "7", "path": "a/b.txt"}),
        ("PUT", b"/runs/7/files/a%2Fb.txt", "write file", {"run": "7", "path": "a/b.txt"}),
        ("GET", b"/runs/7/files/a/../b", "file", {"run": "7", "path": "a/../b"}),
        ("GET", b"/runs/7/files//etc/x", "file", {"run": "7", "path": "/etc/x"}),
        ("GET", b"/runs/7/files/a/", "file", {"run": "7", "path": "a/"}),
        ("GET", b"/runs/7/files", "anything of a run", {"run": "7", "rest": "files"}),
        ("GET", b"/runs/7/tags/x%2Fy", "anything of a run", {"run": "7", "rest": "tags/x/y"}),
    ],
)
def test_a_path_finds_its_handler_and_names(
    method: str, path: bytes, handler: str, names: dict[str, str]
) -> None:
    found = ROUTES.find(method, path)
    assert isinstance(found, Found)
    assert (found.handler, found.names) == (handler, names)


@pytest.mark.parametrize(
    "path",
    [b"/none", b"/health/x", b"/runs", b"/runs//", b"/runs%2Fsearch", b"/runs/a%2Fb", b"/%FF"],
)
def test_a_path_that_no_template_fits_is_not_there(path: bytes) -> None:
    missing = ROUTES.find("GET", path)
    assert isinstance(missing, Missing)
    reply = missing.reply("Look elsewhere.")
    assert reply.status == 404
    error = json.loads(reply.body)["error"]
    assert (error["code"], error["hint"]) == ("not-found", "Look elsewhere.")
    assert path.decode() in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", b"/health", b"GET, HEAD"),
        ("OPTIONS", b"/runs/search", b"POST, GET, DELETE, HEAD"),
        ("PATCH", b"/runs/7/files/a", b"GET, PUT, HEAD"),
        ("get", b"/health", b"GET, HEAD"),
    ],
)
def test_another_method_is_told_which_ones_there_are(
    method: str, path: bytes, allowed: bytes
) -> None:
    missing = ROUTES.find(method, path)
    assert isinstance(missing, Missing)
    reply = missing.reply("Never shown.")
    assert (reply.status, dict(reply.headers)) == (405, {b"allow": allowed})
    assert json.loads(reply.body)["error"]["hint"] == f"Use {allowed.decode()}."


@given(name=segments.filter(lambda name: "/" not in name))
def test_any_name_arrives_as_it_was_meant(name: str) -> None:
    found = ROUTES.find("DELETE", b"/runs/" + encoded(name))
    assert isinstance(found, Found)
    assert found.names == {"run": name}


@given(run=segments.filter(lambda name: "/" not in name), path=segments)
def test_any_final_path_arrives_as_it_was_meant(run: str, path: str) -> None:
    found = ROUTES.find("PUT", b"/runs/" + encoded(run) + b"/files/" + encoded(path))
    assert isinstance(found, Found)
    assert found.names == {"run": run, "path": path}


@given(path=st.binary(max_size=60))
def test_any_bytes_are_answered(path: bytes) -> None:
    found = ROUTES.find("GET", b"/" + path)
    assert isinstance(found, Found) or found.reply("").status in (404, 405)


@pytest.mark.parametrize("path", ["/{path...}/end", "/{a}/{a}", "/{a}/{a...}"])
def test_a_template_that_says_nothing_clear_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="each name once"):
        Routes({path: {"GET": "handler"}})
