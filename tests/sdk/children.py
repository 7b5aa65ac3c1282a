"""What tests of logging run in processes of their own: ``python children.py NAME ARGUMENTS``."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from everfit.kernel import load_settings, open_workspace
from everfit.sdk.current import start_run  # loaded before anything is forked
from everfit.server import serve_control_plane


def serve(folder: str, port: str) -> None:
    """Serve the project in ``folder`` until the end."""
    workspace = open_workspace(load_settings(Path(folder)), durable=False)
    serve_control_plane(workspace, host="127.0.0.1", port=int(port))


def log_many(folder: str, to: str, number: str) -> None:
    """Log 0, 1, 2, … to one run for ever; ``acknowledged`` says what had returned."""
    acknowledged = os.open(
        Path(folder) / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    run = start_run(to=to, run_id="run_killed")
    for count in range(1_000_000):
        run.log({f"m{number}": float(count)}, step=count)
        os.write(acknowledged, f"m{number} {count}\n".encode())
        if count % 200 == 0:
            file = Path(folder) / f"file-{number}"
            file.write_text(f"{number} {count}")
            run.log_file(file, f"f{number}-{count}")
            os.write(acknowledged, f"f{number}-{count} file\n".encode())
            time.sleep(0.005)


def kill(folder: str, port: str, seed: str, kills: str) -> None:
    """Log from two processes at a time to a server; kill one of the three, ``kills`` times."""
    chance = random.Random(int(seed))
    to = f"http://127.0.0.1:{port}"

    def start(which: int, number: int) -> int:
        if which == 0:
            return forked(partial(serve, folder, port))
        return forked(partial(log_many, folder, to, str(number)))

    alive = [start(which, which) for which in range(3)]
    for number in range(int(kills)):
        time.sleep(chance.uniform(0.1, 0.6))
        which = chance.randrange(3)
        end(alive[which])
        alive[which] = start(which, 10 + number)
    time.sleep(0.3)
    for pid in alive:
        end(pid)


def forked(child: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        child()
        os._exit(1)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"child {pid} ended by itself")


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"serve": serve, "log": log_many, "kill": kill}
    programs[sys.argv[1]](*sys.argv[2:])
