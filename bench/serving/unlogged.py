"""A model server of one process with a prediction log that forgets: what keeping it costs."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, Self

from bench.serving.project import NAME
from bench.tracking.wire import HOST
from everfit.kernel import load_settings, open_workspace
from everfit.serving import core
from everfit.serving.process import Endpoints
from everfit.serving.undisturbed import settle
from everfit.web import Server, listen, stopping_on_signals

POLL_SECONDS = 0.5


class Forgetful:
    """Takes what a prediction log takes and keeps nothing."""

    def append(self, *_: Any, **__: Any) -> None:
        return

    def append_messages(self, *_: Any, **__: Any) -> None:
        return

    def close(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def main(project: Path, port: int) -> None:
    """Serve until SIGTERM, as a worker does."""
    workspace = open_workspace(load_settings(project))
    with listen(HOST, port) as listening:
        served = Endpoints(workspace, [NAME], writer="unlogged")
        server = Server(served.app, door=served.app.door, patience=served.patience)
        stop = threading.Event()
        poller = threading.Thread(target=served.poll, args=(stop, POLL_SECONDS))
        with stopping_on_signals(server):
            settle()
            poller.start()
            server.run(listening)
        stop.set()
        poller.join()
        served.close()


if __name__ == "__main__":
    if not hasattr(core, "prediction_log"):
        sys.exit("the model server opens its prediction log elsewhere by now")
    setattr(core, "prediction_log", lambda *_, **__: Forgetful())  # noqa: B010
    main(Path(sys.argv[1]), int(sys.argv[2]))
