"""Starting: seconds until a server is ready, and what it costs while nobody asks for anything."""

from __future__ import annotations

import statistics
import time

from bench.tracking.servers import Server
from bench.tracking.sizes import Sizes
from bench.tracking.table import Line

IDLE_SECONDS = 5
LINES = {
    "first": Line(what="ready, on an empty folder", unit="s", at_most=2),
    "again": Line(what="ready, on a folder it knows", unit="s", at_most=2),
    "cpu": Line(what="CPU until it is idle", unit="s"),
    "resident": Line(what="resident memory, idle for 5 s", unit="MB", at_most=150),
    "proportional": Line(what="  shared pages counted once", unit="MB"),
    "idle": Line(what="CPU while idle", unit="ms/s"),
}


def started(server: Server, sizes: Sizes) -> dict[str, float]:
    """Leave the server running and return what its starts took."""
    figures = {"first": server.start()}
    again: list[float] = []
    while len(again) < sizes.repetitions and figures["first"] + sum(again) < sizes.budget_seconds:
        server.stop()
        again.append(server.start())
    if again:
        figures["again"] = statistics.median(again)
    server.settle()
    figures["cpu"] = server.cpu()
    figures["idle"] = server.idle_share * 1e3
    time.sleep(IDLE_SECONDS)
    figures["resident"] = server.resident()
    figures["proportional"] = server.proportional()
    return figures
