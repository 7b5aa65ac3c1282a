"""The process of one worker: what it is told to do, and its life from the first word to the last.

It is started by `everfit.serving.supervise` with two sockets: one on which requests come in, which
it shares with the other workers, and its line to the supervisor. There it reads its task, and
says in one line that it is ready or why it cannot be. When the line ends the supervisor wants it to
end, or is gone itself: either way the worker finishes what it is answering and ends.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path

import msgspec

from everfit.errors import EverfitError
from everfit.kernel import open_workspace
from everfit.serving.process import Endpoints
from everfit.serving.tasks import Report, Task
from everfit.serving.undisturbed import settle
from everfit.web import Server, stopping_on_signals

FAILED = 1


def main(line: int, listening: int) -> None:
    """Run the worker whose line and listening socket have these numbers, until it is to end."""
    with _taken(line) as channel, _taken(listening) as taken:
        task = msgspec.json.decode(_first_line(channel), type=Task)
        try:
            _run(task, channel, taken)
        except EverfitError as error:
            kind = type(error).__name__
            _report(channel, Report(error=kind, message=error.message, hint=error.hint))
            sys.exit(FAILED)


def _run(task: Task, channel: socket.socket, listening: socket.socket) -> None:
    workspace = open_workspace(task.as_settings())
    with ExitStack() as stack:
        stack.callback(workspace.close)
        folder = Path(task.folder)
        served = Endpoints(workspace, task.endpoints, writer=task.writer, folder=folder)
        stack.callback(served.close)
        if task.grpc_port is not None:
            rpc = import_module("everfit.serving.rpc").RpcServer(
                workspace,
                served.servers,
                served.app.bounds,
                host=task.host,
                port=task.grpc_port,
                shared=True,
            )
            stack.enter_context(rpc)
        server = Server(served.app, door=served.app.door, patience=served.patience)
        stop = threading.Event()
        poller = threading.Thread(target=served.poll, args=(stop, task.poll_seconds), name="poll")
        watcher = threading.Thread(target=_watch, args=(channel, server), name="line")
        settle()
        with stopping_on_signals(server):
            poller.start()
            watcher.start()
            _report(channel, Report())
            try:
                server.run(listening)
            finally:
                stop.set()
                poller.join()
                with suppress(OSError):  # The other end may be gone.
                    channel.shutdown(socket.SHUT_RD)
                watcher.join()


def _watch(channel: socket.socket, server: Server) -> None:
    """End ``server`` when the line to the supervisor ends."""
    try:
        while channel.recv(1):
            pass
    except ConnectionError:
        pass
    server.stop()


def _taken(number: int) -> socket.socket:
    """Return an inherited socket, which goes no further: not to what a model may start."""
    taken = socket.socket(fileno=number)
    taken.set_inheritable(False)
    return taken


def _first_line(channel: socket.socket) -> bytes:
    said = bytearray()
    while not said.endswith(b"\n"):
        more = channel.recv(65_536)
        if not more:
            sys.exit(FAILED)  # The supervisor has ended before it said anything.
        said += more
    return bytes(said)


def _report(channel: socket.socket, report: Report) -> None:
    try:
        channel.sendall(msgspec.json.encode(report) + b"\n")
    except ConnectionError:
        return  # The supervisor has ended: the watcher finds out, and this worker ends too.
