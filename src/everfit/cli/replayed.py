"""Wires a replay: a workspace of its own, a model server, the loop, and what is shown."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from everfit.automation import (
    Loop,
    Predictor,
    Project,
    Replay,
    Replayed,
    project_digest,
    read_history,
    read_policy,
    timeline,
)
from everfit.cli import show
from everfit.data import Task
from everfit.errors import Conflict
from everfit.evaluation import Approve
from everfit.kernel import ManualClock, load_settings, open_workspace
from everfit.monitoring import ten_metrics
from everfit.serving import BackgroundServer, HttpPredictor, LocalPredictor, ModelServer
from everfit.steps import StepPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How a replay is run and shown."""

    http: bool = False
    before_window: Callable[[Loop], None] = lambda _loop: None


def replay_project(
    folder: Path,
    *,
    since: datetime,
    until: datetime,
    home: Path | None,
    telling: Telling | None = None,
) -> Replayed:
    """Replay the project's rows from ``since`` to ``until`` and show what happened."""
    telling = telling or Telling()
    with _home(home) as state:
        project = replayed_project(folder, state, since)
        try:
            return _run(project, since, until, telling)
        finally:
            project.workspace.close()


def replayed_project(folder: Path, home: Path, since: datetime) -> Project:
    """Return the project in ``folder`` with a state of its own below ``home``.

    Raises
    ------
    Conflict
        If ``home`` holds the state of an earlier replay: the two would be mixed.
    """
    if (home / "everfit.db").exists():
        raise Conflict(
            f"{home} holds the state of an earlier replay",
            hint="Name another folder, or remove this one.",
        )
    settings = load_settings(folder)
    policy, pipeline = read_policy(folder, currency=settings.currency)
    settings = replace(settings, home=home, database_url=f"sqlite:///{home / 'everfit.db'}")
    # A replay can be run again: its state need not survive power loss.
    workspace = open_workspace(settings, clock=ManualClock(since), durable=False)
    if any(isinstance(gate, Approve) for gate in policy.gates):
        show.console.print("nobody can approve the past: gates that ask for people are left out")
        gates = tuple(gate for gate in policy.gates if not isinstance(gate, Approve))
        policy = replace(policy, gates=gates)
    return Project(
        folder=folder,
        policy=policy,
        digest=project_digest(folder),
        workspace=workspace,
        pipeline=pipeline.path if pipeline else None,
        history_ends=since,
    )


@contextmanager
def _home(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="everfit-replay-") as folder:
        yield Path(folder)


@contextmanager
def predictor(project: Project, *, http: bool) -> Iterator[Predictor]:
    """Yield the project's model server: behind real HTTP, or in this process."""
    workspace, endpoint = project.workspace, project.policy.model
    if not http:
        server = ModelServer(workspace, endpoint, writer="replay", durable=False)
        try:
            yield LocalPredictor(server)
        finally:
            server.close()
        return
    with BackgroundServer(workspace, [endpoint]) as server_thread:
        yield HttpPredictor(server_thread, endpoint)


def _run(project: Project, since: datetime, until: datetime, telling: Telling) -> Replayed:
    clock = project.workspace.clock
    assert isinstance(clock, ManualClock)  # noqa: S101 - replayed_project opened it so
    with (
        StepPool(project.workspace) as pool,
        predictor(project, http=telling.http) as served,
        _Screen(project, since, until) as screen,
    ):
        replay = Replay(
            # Asked through frames, a compiled model saves a replay less than compiling costs it.
            loop=Loop(project, pool, compiles=False),
            clock=clock,
            history=read_history(project, pool),
            predictor=served,
            before_window=telling.before_window,
            on_window=screen.window,
        )
        replayed = replay.run(since=since, until=until)
    worth(project, replayed)
    with project.workspace.reading() as tx:
        found = ten_metrics(
            project.workspace, tx, project.policy.model, since=since, until=clock.now()
        )
    show.metrics(found)
    return replayed


class _Screen:
    """Prints the turning points as they happen, under a bar that shows how far the replay is."""

    def __init__(self, project: Project, since: datetime, until: datetime) -> None:
        self.project = project
        self.since = since
        self.shown = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[moment]}"),
            TimeElapsedColumn(),
            console=show.console,
            transient=True,
        )
        total = (until - since).total_seconds()
        self.task = self.bar.add_task("replaying", total=total, moment="first training")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def window(self, end: datetime, _rows: int) -> None:
        """Show what happened up to ``end``."""
        with self.project.workspace.reading() as tx:
            events = tx.events(after=self.shown)
        self.shown = events[-1].number if events else self.shown
        for item in timeline(events):
            show.turn(item)
        done = (end - self.since).total_seconds()
        self.bar.update(self.task, completed=done, moment=f"{end:%Y-%m-%d}")


def worth(project: Project, replayed: Replayed) -> None:
    """Show what the loop was worth: the loss with it and without it."""
    classifying = project.policy.task is Task.CLASSIFICATION
    loss = "error rate" if classifying else "mean absolute error"
    top = max(max(s.loss, s.loss_without) for s in replayed.spans)
    show.console.print()
    show.console.print(f"{loss} per window", style="bold")
    for name, values, mean in (
        ("first model alone", [s.loss_without for s in replayed.spans], replayed.loss_without),
        ("with the loop", [s.loss for s in replayed.spans], replayed.loss),
    ):
        show.console.print(f"{name:<18}{show.sparkline(values, top=top)}  {mean:.4g}")
    gain = 1 - replayed.loss / replayed.loss_without if replayed.loss_without else 0.0
    show.console.print(
        f"the loop removed {gain:.1%} of the {loss} over {replayed.rows:,} rows "
        f"({replayed.seconds:.1f} s, of which training and gates {replayed.training_seconds:.1f} s)"
    )
