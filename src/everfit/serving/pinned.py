"""One version of an endpoint, asked by its number. Pure."""

from __future__ import annotations

from dataclasses import replace

from everfit.errors import Conflict, NotFound
from everfit.packages import Signature
from everfit.serving.load import Loaded


def described(loaded: Loaded, version: str | None) -> tuple[list[int], Signature]:
    """Return the versions in service, or the one asked for, and what they take and give.

    Raises
    ------
    NotFound
        If that version is not in service.
    """
    plan, candidate = loaded.plan, loaded.candidate
    there = {plan.champion: loaded.signature}
    if candidate is not None and candidate.loaded is not None:
        there[candidate.version] = candidate.loaded.model.signature
    if version is None:
        return list(there), loaded.signature
    for number, signature in there.items():
        if version == str(number):
            return [number], signature
    raise NotFound(
        f"version {version[:40]!r} of {plan.endpoint!r} is not in service",
        hint=f"In service: {', '.join(map(str, there))}.",
        endpoint=plan.endpoint,
    )


def pinned(loaded: Loaded, version: str | None) -> Loaded:
    """Return what answers when ``version`` is asked for: the champion alone.

    Rows that ask for it take no part in a rollout. The candidate is asked by the rollout only:
    whoever chose it for their rows would choose the evidence for it.

    Raises
    ------
    NotFound
        If that version is not in service.
    Conflict
        If it is the one that is rolling out.
    """
    if version is None:
        return loaded
    [number], _ = described(loaded, version)
    plan = loaded.plan
    if number != plan.champion:
        raise Conflict(
            f"version {number} of {plan.endpoint!r} is rolling out and answers its share only",
            hint="Leave the version out, or wait until the release is complete.",
            endpoint=plan.endpoint,
        )
    if loaded.candidate is None:
        return loaded
    return replace(loaded, candidate=None, plan=replace(plan, candidate=None))
