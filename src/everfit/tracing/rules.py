"""What the ids and texts of traces may be. The limits are those of the field's clients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from everfit.errors import Invalid, Problem
from everfit.tracing.model import Trace
from everfit.tracking.rules import KEY_LENGTH, shown, wrong_text

TRACE_TEXT_LENGTH = 8_000
TRACE_PREVIEW_LENGTH = 10_000
MOST_TRACE_TEXTS = 1_000
# The longest duration that the field's clients can write, 315,576,000,000 seconds, is shorter.
MOST_TRACE_MS = 10**15
_TRACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,49}")


def cut_trace(trace: Trace) -> Trace:
    """Return ``trace`` with texts that are too long cut: previews, and values of its keys."""
    request, response = trace.request_preview, trace.response_preview
    return replace(
        trace,
        request_preview=request and request[:TRACE_PREVIEW_LENGTH],
        response_preview=response and response[:TRACE_PREVIEW_LENGTH],
        metadata={key: text[:TRACE_TEXT_LENGTH] for key, text in trace.metadata.items()},
        tags={key: text[:TRACE_TEXT_LENGTH] for key, text in trace.tags.items()},
    )


def check_trace(trace: Trace) -> None:
    """Raise one Invalid that names everything in a trace that cannot be kept."""
    problems = list(_trace_problems(trace))
    for kind, texts in (("metadata", trace.metadata), ("tag", trace.tags)):
        problems += _trace_text_problems(kind, texts)
    if problems:
        raise Invalid.of(f"trace {shown(trace.id)}", problems, hint="Nothing was logged.")


def check_trace_ids(ids: Iterable[str]) -> None:
    """Raise one Invalid that names every text that cannot be the id of a trace."""
    problems = list(_id_problems(ids))
    if problems:
        raise Invalid.of("the traces named", problems, hint="Nothing was done.")


def wrong_trace_id(id: str) -> str | None:
    """Return what is wrong with the id of a trace, which is part of the path of its files."""
    if _TRACE_ID.fullmatch(id):
        return None
    return "use 1 to 50 letters, digits, '_', '-' and '.', a letter or digit first"


def _id_problems(ids: Iterable[str]) -> Iterable[Problem]:
    for id in ids:
        if remedy := wrong_trace_id(id):
            yield Problem(path="id", found=shown(id), remedy=remedy)


def _trace_problems(trace: Trace) -> Iterable[Problem]:
    yield from _id_problems([trace.id])
    if trace.duration_ms is not None and abs(trace.duration_ms) > MOST_TRACE_MS:
        remedy = f"use at most {MOST_TRACE_MS:,} milliseconds"
        yield Problem(path="duration", found=f"{trace.duration_ms:,}", remedy=remedy)
    single = {
        "client_request_id": trace.client_request_id,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
    }
    for path, text in single.items():
        most = KEY_LENGTH if path == "client_request_id" else TRACE_PREVIEW_LENGTH
        if wrong := wrong_text(text or "", most):
            yield Problem(path=path, found=shown(text or ""), remedy=wrong)


def _trace_text_problems(kind: str, texts: Mapping[str, str]) -> Iterable[Problem]:
    """Return what is wrong with keys and values; keys may be any text, as clients send them."""
    if len(texts) > MOST_TRACE_TEXTS:
        remedy = f"send at most {MOST_TRACE_TEXTS:,}"
        yield Problem(path=kind, found=f"{len(texts):,} keys", remedy=remedy)
    for key, text in texts.items():
        if wrong := wrong_text(key, KEY_LENGTH):
            yield Problem(path=kind, found=shown(key), remedy=wrong)
        if wrong := wrong_text(text, TRACE_TEXT_LENGTH):
            yield Problem(path=f"{kind} {shown(key)}", found=shown(text), remedy=wrong)
