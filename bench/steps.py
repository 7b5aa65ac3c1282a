"""The step engine's overhead: 100 trivial steps in a chain and side by side, and run again.

Everything is recorded and durable: SQLite with synchronous=FULL, blobs synced. CPU-seconds are of
this process and its children together.

    python bench/steps.py [workspace folder]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEPS = 100

PIPELINE = (
    "def first() -> int:\n    return 1\n\n\n"
    "def next_of(before: int) -> int:\n    return before + 1\n\n\n"
    "def alone(index: int) -> int:\n    return index\n"
)

# Run in a fresh interpreter, so that "with start" is all of it.
CHILD = """
import resource, sys, time
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
from pathlib import Path
from everfit.kernel import load_settings, open_workspace
from everfit.steps.engine import execute
from everfit.steps.model import Call
from everfit.steps.pool import StepPool
folder, shape = Path(sys.argv[1]), sys.argv[2]
file = folder / "pipeline.py"
if shape == "chain":
    calls = [Call(name="s0", function=f"{file}:first")]
    calls += [Call(name=f"s{i}", function=f"{file}:next_of", inputs={"before": f"s{i-1}"})
              for i in range(1, %(steps)d)]
else:
    calls = [Call(name=f"s{i}", function=f"{file}:alone", params={"index": i})
             for i in range(%(steps)d)]
workspace = open_workspace(load_settings(folder, environment={}))
started, wall = cpu(), time.perf_counter()
with StepPool(workspace) as pool:
    results = execute(workspace, sys.argv[3], calls, pool=pool)
ended = time.perf_counter() - wall
print(cpu(), cpu() - started, ended, sum(r.cached for r in results.values()))
""" % {"steps": STEPS}  # noqa: UP031 - the code has braces of its own

PLAIN = f"""
import resource
def next_of(before): return before + 1
value = 1
for _ in range({STEPS}): value = next_of(value)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


def _child(code: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-c", code, *arguments]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(number) for number in done.stdout.split()]


def _measure(folder: Path, shape: str) -> None:
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(PIPELINE)
    for kind in ("first", "unchanged"):
        started = time.perf_counter()
        whole, after_start, wall, cached = _child(CHILD, str(folder), shape, f"run-{kind}")
        wall_whole = time.perf_counter() - started
        assert cached == (0 if kind == "first" else STEPS)
        row = (f"{shape}, {kind}", whole, after_start, wall_whole, wall)
        print("{:<20}{:>14.3f}{:>14.3f}{:>14.3f}{:>14.3f}".format(*row))


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    print(f"{STEPS} steps".ljust(20) + f"{'CPU-s':>14}{'CPU-s':>14}{'wall s':>14}{'wall s':>14}")
    print(" " * 20 + f"{'with start':>14}{'after start':>14}" * 2)
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as folder:
        for shape in ("chain", "fan-out"):
            _measure(Path(folder) / shape, shape)
    print(f"{'plain calls':<20}{_child(PLAIN)[0]:>14.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
