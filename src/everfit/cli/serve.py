"""``everfit serve`` and ``everfit up``."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from everfit.automation import Loop, Project, timeline
from everfit.cli import show
from everfit.cli.project import FOLDER, opened
from everfit.deployment import serving_plan
from everfit.kernel import Worker, ledger_head
from everfit.serving import serve as serve_process
from everfit.steps import StepPool

HOST = click.option("--host", help="Address to listen on; loopback only.")
PORT = click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on.")
GRPC_PORT = click.option(
    "--grpc-port",
    type=click.IntRange(1, 65_535),
    help="Port on which to answer over gRPC as well; needs everfit[grpc].",
)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that answer predictions; one per core where it is not given.",
)


@click.command()
@FOLDER
@HOST
@PORT
@GRPC_PORT
@WORKERS
def serve(folder: Path, **asked: Any) -> None:
    """Answer predictions over HTTP for the project's model, and take labels."""
    _serve(opened(folder), **asked)


@click.command()
@FOLDER
@HOST
@PORT
@GRPC_PORT
@WORKERS
@click.option("--every", default=5.0, help="Seconds between two turns of the loop.")
@click.option("--serve/--no-serve", "serving", default=True, help="Also answer predictions.")
def up(folder: Path, every: float, serving: bool, **asked: Any) -> None:
    """Run the whole loop: serve, watch, move rollouts, retrain when a trigger asks for it.

    What happens is printed as it does. Several may run at once, each on a port of its own.
    """
    project = opened(folder)
    news = _News(project)
    stop = threading.Event()
    with StepPool(project.workspace) as pool:
        loop = Loop(project, pool)
        worker = Worker(project.workspace, loop.handlers, name="up")
        threads = [
            threading.Thread(target=worker.run_until, args=(stop,), name="worker"),
            threading.Thread(target=loop.run_until, args=(stop, every, news.tell), name="loop"),
        ]
        for thread in threads:
            thread.start()
        try:
            if serving:
                _serve(project, **asked)
            else:
                _wait_for_signal()
        finally:
            stop.set()
            for thread in threads:
                thread.join()


class _News:
    """Prints the turning points of a project as they come."""

    def __init__(self, project: Project) -> None:
        self.workspace = project.workspace
        with self.workspace.reading() as tx:
            self.seen, _ = ledger_head(tx.connection, tx.project)

    def tell(self) -> None:
        """Print what has happened since the last time."""
        with self.workspace.reading() as tx:
            events = tx.events(after=self.seen)
        for item in timeline(events):
            show.turn(item)
        self.seen = events[-1].number if events else self.seen


def _serve(
    project: Project,
    *,
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    workers: int | None,
) -> None:
    settings, model = project.workspace.settings, project.policy.model
    host, port = host or settings.host, settings.port if port is None else port

    def listening(at: int) -> None:
        show.console.print(
            f"{model}: POST http://{host}:{at}/predict/{model}; Ctrl-C ends it", soft_wrap=True
        )
        if grpc_port is not None:
            show.console.print(f"{model}: gRPC at {host}:{grpc_port}", soft_wrap=True)
        with project.workspace.reading() as tx:
            if serving_plan(tx, model) is None:
                show.console.print("no model yet: `everfit run` in this folder trains the first")

    serve_process(
        project.workspace,
        [model],
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        listening=listening,
    )


def _wait_for_signal() -> None:
    """Wait until this process is asked to end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    ended.wait()
