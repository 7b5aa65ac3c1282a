"""The model server of one endpoint: scores rows, splits traffic, logs, and changes models live."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Self, TypedDict

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.deployment import ServingPlan, serving_plan
from everfit.errors import EverfitError, NoRelease, NotFound, Unavailable
from everfit.explaining import Explainers
from everfit.kernel import Workspace
from everfit.monitoring import LabelLog, prediction_log
from everfit.packages import Signature
from everfit.serving.admission import Admission
from everfit.serving.combine import Scoring, answers, log_message
from everfit.serving.idle import Waking, asleep, give_memory_back
from everfit.serving.labels import ServedLabels
from everfit.serving.load import Candidate, Loaded, load
from everfit.serving.model import Answers, Bounds, Rows
from everfit.serving.numbering import PredictionIds
from everfit.serving.score import Model, Question, Scored, score
from everfit.serving.split import canary_keys
from everfit.serving.traffic import Traffic

log = logging.getLogger(__name__)


class _Kept(TypedDict):
    """How the logs of one server are kept."""

    writer: str
    durable: bool


class ModelServer:
    """Answers predictions of one endpoint; any number of threads may ask at once.

    ``refresh`` takes up a new plan: models are loaded and warmed beside the present ones, then
    one reference is swapped, so no request waits and each is answered by one plan. A prediction
    is in the log, on disk unless ``durable`` is off, before ``predict`` returns it.

    Where nobody asked for the ``idle_seconds`` of the settings, ``refresh`` lets go of the models,
    and ``awake`` loads them again. The plan stays in use meanwhile, and can be described.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoint: str,
        *,
        writer: str,
        durable: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        self.workspace = workspace
        self.endpoint = endpoint
        self.bounds = bounds or Bounds()
        self.admission = Admission(endpoint, self.bounds)
        self.problem: str | None = None
        with ExitStack() as opened:
            # If a later log cannot be opened, the earlier ones are let go of.
            kept: _Kept = {"writer": writer, "durable": durable}
            traffic = Traffic(workspace, endpoint, **kept, admission=self.admission)
            self.traffic = opened.enter_context(traffic)
            labels = opened.enter_context(LabelLog(workspace, endpoint, **kept))
            self.labels = ServedLabels(labels, lambda: self.signature)
            self._log = opened.enter_context(prediction_log(workspace, endpoint, **kept))
            self._opened = opened.pop_all()
        self._ids = PredictionIds()
        self.explainers = Explainers(workspace)
        self.load_seconds: float | None = None
        self._loaded: Loaded | None = None
        self._refreshing = threading.Lock()
        self._asked = time.monotonic()
        self.waking = Waking(self._wake, endpoint)
        self.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the logs."""
        self.waking.close()
        self._opened.close()

    @property
    def loaded(self) -> Loaded:
        """Return the plan in use; raises NoRelease while there is none."""
        if self._loaded is None:
            because = f": {self.problem}" if self.problem else ""
            raise NoRelease(
                f"endpoint {self.endpoint!r} has no model to answer with{because}",
                hint="Train and release a first one with `everfit run`; it is taken up by itself.",
                endpoint=self.endpoint,
            )
        return self._loaded

    @property
    def signature(self) -> Signature | None:
        """Return the signature that rows and labels must fit, or None before the first release."""
        return None if self._loaded is None else self._loaded.signature

    def refresh(self) -> None:
        """Take up the endpoint's present plan, if it has changed.

        What cannot be loaded changes nothing for those who ask: the models in use stay, and
        ``problem`` says what is wrong. What was noted of requests is logged on the way.
        """
        with self._refreshing:
            try:
                self._refresh()
            except EverfitError as error:
                self.problem = str(error)
                log.warning("endpoint %s keeps its models: %s", self.endpoint, error)
            if self._is_idle():
                self._let_go()
            self._forget_explainers()
            self.traffic.flush()

    def _refresh(self) -> None:
        with self.workspace.reading() as tx:
            plan = serving_plan(tx, self.endpoint)
        if plan is None:
            return
        if self._loaded and self._loaded.plan.revision == plan.revision:
            self.problem = self._loaded.problem
            return
        self._load(plan)

    def _load(self, plan: ServingPlan) -> None:
        began = time.perf_counter()
        with self.traffic.loading(plan.revision, _versions(plan)):
            loaded = load(self.workspace, plan, self._known(), max_rows=self.bounds.rows)
            # What loading needed for itself: as much again as a large forest, half of it.
            give_memory_back()
        self.load_seconds = time.perf_counter() - began
        self.problem = loaded.problem
        self._asked = time.monotonic()
        self._loaded = loaded

    def _known(self) -> dict[int, Model]:
        """Return the models in memory by version: those that stay are not loaded again."""
        if self._loaded is None or not self._loaded.is_awake:
            return {}
        known = {self._loaded.plan.champion: self._loaded.champion.model}
        candidate = self._loaded.candidate
        if candidate is not None and candidate.loaded is not None:
            known[candidate.version] = candidate.loaded.model
        return known

    def awake(self, seconds: float | None = None) -> Loaded:
        """Return the plan in use with its models, loaded if they are not in memory.

        Raises
        ------
        NoRelease
            If there is no plan yet.
        Unavailable
            If they cannot be loaded; the next call tries it again.
        TimeoutError
            If that takes longer than so many seconds. It goes on for those who ask later.
        """
        while not (loaded := self.loaded).is_awake:
            self.waking.begin().result(seconds)
        return loaded

    def let_go(self) -> None:
        """Let go of the models; answers under way keep theirs to the end."""
        with self._refreshing:
            self._let_go()

    def _let_go(self) -> None:
        if self._loaded is None or not self._loaded.is_awake:
            return
        held = self.traffic.model_bytes
        self._loaded = asleep(self._loaded)
        self._forget_explainers()
        give_memory_back()
        self.traffic.let_go()
        quiet = time.monotonic() - self._asked
        said = "endpoint %s lets go of its models, %d bytes: nobody asked for %.3g s"
        log.info(said, self.endpoint, held, quiet)

    def _is_idle(self) -> bool:
        most = self.workspace.settings.idle_seconds
        quiet = time.monotonic() - self._asked
        return 0 < most <= quiet and not self.admission.inside

    def _forget_explainers(self) -> None:
        """Let go of the explainers, and with them the models, of versions that do not answer."""
        loaded = self._loaded
        kept = _versions(loaded.plan) if loaded and loaded.is_awake else set()
        self.explainers.keep(self.endpoint, kept)

    def _wake(self) -> None:
        with self._refreshing:
            loaded = self.loaded
            if loaded.is_awake:
                return
            try:
                self._load(loaded.plan)
            except Exception as error:
                log.warning("endpoint %s cannot load its models again: %s", self.endpoint, error)
                raise Unavailable(
                    f"the models of endpoint {self.endpoint!r} cannot be loaded: {error}",
                    hint="Send it again: each request tries it anew. If it stays so, roll back "
                    "with `everfit rollback`.",
                ) from error
            self.admission.learn_from_now()
        said = "endpoint %s loaded its models in %.3g s, as it was asked again"
        log.info(said, self.endpoint, self.load_seconds)

    def predict(
        self,
        frame: pl.DataFrame,
        keys: Sequence[str | None] | None = None,
        times: pl.Series | None = None,
        now: datetime | None = None,
        *,
        loaded: Loaded | None = None,
    ) -> Answers:
        """Answer every row of ``frame``, which has the signature's columns and types.

        ``loaded`` are the models whose signature the rows were decoded by: another plan may have
        been taken up since.

        The canary answers the rows whose key (the prediction id, where a row has no key) falls
        into its share. While a release rolls out both versions score every row; where the
        candidate fails the champion answers, and the log holds the error.

        Raises
        ------
        NoRelease
            If the endpoint has no model yet.
        Unavailable
            If its models are not in memory and cannot be loaded.
        PredictionFailed
            If the champion cannot score the rows.
        """
        return self.answer(Rows(frame=frame, keys=keys, times=times), loaded or self.awake(), now)

    def answer(self, rows: Question, loaded: Loaded, now: datetime | None = None) -> Answers:
        """Answer every row, as ``predict`` does, by a plan whose models are in memory."""
        scoring = self.ask(rows, loaded, now)
        said = answers(scoring)
        self.keep([(scoring, said)])
        return said

    def ask(self, rows: Question, loaded: Loaded, now: datetime | None = None) -> Scoring:
        """Return what the models of a plan say to every row: no answer yet, it is in no log.

        Raises PredictionFailed if the champion cannot score the rows.
        """
        now = now or self.workspace.clock.now()
        self._asked = time.monotonic()
        candidate, other, failed = loaded.candidate, None, None
        with self.traffic.asking(rows.height):
            champion = score(loaded.champion, rows)
            if candidate is not None:
                other, failed = _second_opinion(candidate, rows)
        ids = self._ids.take(rows.height, now)
        return Scoring(
            ids=ids,
            rows=rows,
            stream=loaded.stream,
            at=now,
            champion=champion,
            canary=_canary(loaded, rows.keys, ids),
            candidate=candidate.version if candidate else None,
            other=other,
            failed=failed,
        )

    def keep(self, answered: Sequence[tuple[Scoring, Answers]]) -> None:
        """Bring answers into the log: all of them, or none of any. They are of one plan."""
        with self.traffic.logging():
            logged = [log_message(scoring, said) for scoring, said in answered if said.ids]
            if logged:
                self._log.append_messages(answered[0][0].stream, logged)


def server_of(servers: Mapping[str, ModelServer], name: str) -> ModelServer:
    """Return the server of an endpoint, or raise NotFound."""
    try:
        return servers[name]
    except KeyError:
        raise NotFound(
            f"no endpoint {name!r}",
            hint=f"This server has: {', '.join(servers)}.",
            endpoint=name,
        ) from None


def _versions(plan: ServingPlan) -> set[int]:
    return {plan.champion, plan.candidate or plan.champion}


def _canary(
    loaded: Loaded, keys: Sequence[str | None] | None, ids: list[str]
) -> npt.NDArray[np.bool_]:
    plan = loaded.plan
    if plan.candidate is None or plan.shadow:
        return np.zeros(len(ids), dtype=np.bool_)
    sticky = ids if keys is None else [key or own for key, own in zip(keys, ids, strict=True)]
    return canary_keys(sticky, plan.share, f"{plan.endpoint}/{plan.candidate}")


def _second_opinion(candidate: Candidate, rows: Question) -> tuple[Scored | None, str | None]:
    """Return what the candidate says, or the error for which it says nothing."""
    if candidate.loaded is None:
        return None, candidate.unusable
    try:
        return score(candidate.loaded, rows), None
    except EverfitError as error:
        return None, error.message
