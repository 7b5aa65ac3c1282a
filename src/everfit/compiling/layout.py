"""What a compiled model says of itself: which inputs go where, and what comes out."""

from __future__ import annotations

from typing import Any

import msgspec

NUMBERS, TEXTS = "numbers", "texts"
MISSING = "\ue000missing"
"""What stands for a missing text; it begins with a character that no alphabet uses."""
KEY = "everfit"
"""Under this name the layout is in the metadata of the ONNX file, as JSON."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where the columns of the signature go, and the names of the answers.

    ``numbers`` and ``texts`` are the columns of the two matrices that the graph takes, in order.
    ``words`` are the columns whose texts are counted first: column, input, and how. ``scores``
    and ``values`` name outputs; ``at_once`` is the most rows of one run.
    """

    numbers: list[str]
    texts: list[str]
    words: list[tuple[str, str, dict[str, Any]]]
    at_once: int
    scores: str | None = None
    values: str | None = None
