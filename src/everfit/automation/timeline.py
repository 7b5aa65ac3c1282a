"""The timeline: the ledger's turning points, one plain sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from everfit.kernel import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turning point: when, of what sort (``train``, ``gate``, ``release``…), and what."""

    at: datetime
    sort: str
    sentence: str
    event: int


def timeline(events: Sequence[Event]) -> list[Turn]:
    """Return the turning points among ``events``, in order; bookkeeping is left out."""
    turns = []
    for event in events:
        known = _SENTENCES.get(event.kind)
        if known is not None:
            sort, sentence = known
            turns.append(Turn(at=event.at, sort=sort, sentence=sentence(event), event=event.number))
    return turns


def _get(event: Event, key: str, default: object = "?") -> Any:
    return event.data.get(key, default)


def _gates(event: Event) -> str:
    verdicts: Sequence[Mapping[str, Any]] = _get(event, "verdicts", [])
    telling = [v for v in verdicts if v["outcome"] == _get(event, "outcome")] or verdicts
    reason = telling[0]["summary"] if telling else "no gate"
    return f"v{_get(event, 'candidate')} {_get(event, 'outcome')}: {reason}"


def _compiled(event: Event) -> str:
    how = "is compiled" if _get(event, "content", None) else "answers natively"
    return f"v{_get(event, 'version')} {how}: {_get(event, 'reason')}"


_SENTENCES: Mapping[str, tuple[str, Callable[[Event], str]]] = {
    "policy-changed": ("policy", lambda e: f"what {e.subject} is kept by was changed"),
    "trigger-fired": ("trigger", lambda e: f"retraining starts: {_get(e, 'reason')}"),
    "version-registered": (
        "train",
        lambda e: f"v{_get(e, 'number')} trained ({_get(e, 'algorithm')})",
    ),
    "gates-decided": ("gate", _gates),
    "model-compiled": ("release", _compiled),
    "release-started": (
        "release",
        lambda e: f"v{_get(e, 'version')} rolls out: {_get(e, 'steps')}",
    ),
    "rollout-advanced": (
        "release",
        lambda e: f"v{_get(e, 'version')} advances to {_get(e, 'step')}: {_get(e, 'reason')}",
    ),
    "release-completed": ("release", lambda e: f"v{_get(e, 'version')} is live"),
    "rolled-back": (
        "rollback",
        lambda e: f"v{_get(e, 'version')} rolled back: {_get(e, 'reason')}",
    ),
    "alert-opened": ("alert", lambda e: str(_get(e, "summary"))),
    "alert-closed": ("alert", lambda e: f"over: {_get(e, 'summary')}"),
    "approval-given": (
        "approval",
        lambda e: f"v{_get(e, 'version')} approved by {e.actor}",
    ),
    "job-failed": ("trouble", lambda e: f"{_get(e, 'kind')} failed: {_get(e, 'error')}"),
}
