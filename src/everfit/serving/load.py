"""What a model server holds in memory for one serving plan, loaded and warmed. Never changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from everfit import compiling
from everfit.data import TableStream
from everfit.deployment import ServingPlan
from everfit.errors import EverfitError, Unavailable
from everfit.kernel import Workspace
from everfit.packages import Field, Kind, Signature
from everfit.registry import Compiled, get_compiled, get_version, load_package
from everfit.serving.columns import DTYPES
from everfit.serving.combine import log_schema
from everfit.serving.model import Rows
from everfit.serving.plain import Plain
from everfit.serving.rows import RowsDecoder
from everfit.serving.score import Model, Version, score

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The version that is rolling out; ``unusable`` says why it cannot even be asked."""

    version: int
    loaded: Version | None
    unusable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A plan with its models. A request uses one of these from beginning to end.

    One that is not awake has let go of its models.
    """

    plan: ServingPlan
    champion: Version
    candidate: Candidate | None
    decoder: RowsDecoder
    stream: TableStream
    is_awake: bool = True

    @property
    def signature(self) -> Signature:
        """Return the signature that requests must fit: the champion's."""
        return self.champion.model.signature

    @property
    def needs_no_frame(self) -> bool:
        """Return whether every version that is asked takes the values of requests as they are."""
        other = self.candidate.loaded if self.candidate else None
        return all(one is None or one.by_arrays is not None for one in (self.champion, other))

    @property
    def problem(self) -> str | None:
        """Return why the candidate cannot be asked, or None."""
        return self.candidate.unusable if self.candidate else None


def load(
    workspace: Workspace, plan: ServingPlan, known: Mapping[int, Model], *, max_rows: int
) -> Loaded:
    """Load and warm the models of ``plan``; those in ``known``, by version, are taken from there.

    Raises
    ------
    EverfitError
        If the champion cannot be loaded. A candidate that cannot be is reported in the result,
        and by the prediction log on every row, so that the rollout sees it and takes it back.
    """
    model = _model(workspace, plan.endpoint, plan.champion, known)
    return Loaded(
        plan=plan,
        champion=Version.of(plan.champion, model, model.signature),
        candidate=_candidate(workspace, plan, model.signature, known),
        decoder=RowsDecoder(model.signature, max_rows=max_rows),
        stream=TableStream(log_schema(model.signature)),
    )


def _candidate(
    workspace: Workspace,
    plan: ServingPlan,
    requests: Signature,
    known: Mapping[int, Model],
) -> Candidate | None:
    number = plan.candidate
    if number is None:
        return None
    try:
        model = _model(workspace, plan.endpoint, number, known)
    except EverfitError as error:
        return Candidate(version=number, loaded=None, unusable=f"version {number}: {error.message}")
    unknown = sorted(set(model.signature.names) - set(requests.names))
    if unknown:
        why = f"version {number} needs inputs that requests do not have: {', '.join(unknown)}"
        return Candidate(version=number, loaded=None, unusable=why)
    return Candidate(version=number, loaded=Version.of(number, model, requests))


def _model(workspace: Workspace, name: str, number: int, known: Mapping[int, Model]) -> Model:
    if number in known:
        return known[number]
    with workspace.reading() as tx:
        version = get_version(tx, name, number)
        compiled = get_compiled(tx, version)
    try:
        model: Model = _compiled(workspace, compiled) or load_package(workspace, version)
    except EverfitError:
        raise
    except Exception as error:
        raise Unavailable(
            f"loading {version.subject} raised {type(error).__name__}: {error}",
            hint="Roll back with `everfit rollback`, then train the model again.",
        ) from error
    _warm(Version.of(number, model, model.signature), workspace.clock.now())
    return model


def _compiled(workspace: Workspace, found: Compiled | None) -> Model | None:
    """Return the compiled model, or None where there is none that can be opened."""
    if found is None or found.content is None:
        return None
    try:
        # Loaded on first use: whoever compiles nothing need not have it.
        return compiling.CompiledModel(workspace.blobs.get(found.content), found.signature)
    except EverfitError as error:
        log.warning("package %s is asked natively: %s", found.package, error)
        return None


def _warm(version: Version, now: datetime) -> None:
    """Predict one made-up row, so that the first real one need not wait for lazy imports."""
    row = made_up_row(version.model.signature, now)
    plain = Plain(version.model.signature.inputs, row.rows())
    for rows in (Rows(frame=row), plain) if version.by_arrays else (Rows(frame=row),):
        # A made-up row proves nothing about a model: only rows that somebody sends do.
        with suppress(EverfitError):
            score(version, rows)


def made_up_row(signature: Signature, now: datetime) -> pl.DataFrame:
    """Return one row that fits ``signature``: known values where training saw any."""
    return pl.DataFrame(
        [
            pl.Series(field.name, [_made_up(field, now)], dtype=DTYPES[field.kind])
            for field in signature.inputs
        ]
    )


def _made_up(field: Field, now: datetime) -> Any:
    number = 0.0 if field.minimum is None else field.minimum
    made: dict[Kind, Any] = {
        Kind.NUMBER: number,
        Kind.INTEGER: int(number),
        Kind.TEXT: field.categories[0] if field.categories else "",
        Kind.BOOLEAN: False,
        Kind.TIME: now,
    }
    return made[field.kind]
