"""The client against a real server, and against none."""

from __future__ import annotations

import pytest

from everfit import Client
from everfit.errors import Unavailable


def test_no_server_says_what_to_do() -> None:
    with Client("http://127.0.0.1:9", model="bike") as client, pytest.raises(Unavailable) as caught:
        client.predict([{"x": 1.0}])
    assert "everfit up" in caught.value.hint
