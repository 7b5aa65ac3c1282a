"""What of a trace that was logged elsewhere can be kept here, and what cannot. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from everfit.errors import Problem
from everfit.tracing.model import Trace
from everfit.tracing.rules import MOST_TRACE_MS, TRACE_PREVIEW_LENGTH, TRACE_TEXT_LENGTH
from everfit.tracking.rules import KEY_LENGTH, shown, wrong_text


def sift_trace(trace: Trace) -> tuple[Trace, list[Problem]]:
    """Return the trace with what can be kept of it, and a problem for everything that cannot.

    A text that is too long is cut, and NUL is left out of it; a key that cannot be is left out.
    """
    path = f"trace {trace.id}"
    metadata, problems = _sifted(f"{path} metadata", trace.metadata)
    tags, more = _sifted(f"{path} tag", trace.tags)
    problems += more
    single = {"client_request_id": KEY_LENGTH} | dict.fromkeys(
        ("request_preview", "response_preview"), TRACE_PREVIEW_LENGTH
    )
    kept: dict[str, str | None] = {}
    for name, most in single.items():
        text: str | None = getattr(trace, name)
        kept[name], more = (None, []) if text is None else _text(f"{path} {name}", text, most)
        problems += more
    duration = trace.duration_ms
    if duration is not None and abs(duration) > MOST_TRACE_MS:
        remedy = f"use at most {MOST_TRACE_MS:,} milliseconds"
        problems.append(Problem(path=f"{path} duration", found=f"{duration:,}", remedy=remedy))
        duration = None
    sifted = replace(
        trace,
        duration_ms=duration,
        client_request_id=kept["client_request_id"],
        request_preview=kept["request_preview"],
        response_preview=kept["response_preview"],
        metadata=metadata,
        tags=tags,
    )
    return sifted, problems


def _sifted(path: str, texts: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    kept, problems = {}, []
    for key, text in texts.items():
        if wrong := wrong_text(key, KEY_LENGTH):
            problems.append(Problem(path=path, found=shown(key), remedy=wrong))
            continue
        kept[key], more = _text(f"{path} {shown(key)}", text, TRACE_TEXT_LENGTH)
        problems += more
    return kept, problems


def _text(path: str, text: str, most: int) -> tuple[str, list[Problem]]:
    wrong = wrong_text(text, most)
    if wrong is None:
        return text, []
    found = f"{len(text):,} characters, of which not all can be kept: {shown(text)}"
    return text.replace("\0", "")[:most], [Problem(path=path, found=found, remedy=wrong)]
