"""``everfit server``."""

from __future__ import annotations

from pathlib import Path

import click

from everfit.cli import show
from everfit.kernel import load_settings, open_workspace
from everfit.server import serve_control_plane


@click.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", help="Address to listen on; loopback only.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on.")
def server(folder: Path, host: str | None, port: int | None) -> None:
    """Answer MLflow clients: tracking, model registry and artifacts of the project in FOLDER.

    FOLDER needs no policy: what clients log is kept below its `.everfit`.
    """
    workspace = open_workspace(load_settings(folder))
    click.get_current_context().call_on_close(workspace.close)
    settings = workspace.settings

    def listening(at: int) -> None:
        show.console.print(
            f"MLFLOW_TRACKING_URI=http://{host or settings.host}:{at}; Ctrl-C ends it",
            soft_wrap=True,
        )

    port = settings.server_port if port is None else port
    serve_control_plane(workspace, host=host or settings.host, port=port, listening=listening)
