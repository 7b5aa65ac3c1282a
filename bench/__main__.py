"""Runs every benchmark, or those named: ``python -m bench [startup] [steps] [blobs] [replay] …``.

Options go to all that are named: ``python -m bench tracking --quick``.
"""

from __future__ import annotations

import subprocess
import sys

ALL = ("startup", "steps", "blobs", "replay", "tracking", "logging", "serving", "explaining")


def main(arguments: list[str]) -> int:
    """Run each benchmark in a process of its own, so that none warms another."""
    first = next((at for at, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    chosen, options = arguments[:first] or list(ALL), arguments[first:]
    return max(_finished([sys.executable, "-m", f"bench.{name}", *options]) for name in chosen)


def _finished(command: list[str]) -> int:
    """Return how a benchmark ended; an interrupted one is given the time to stop its servers."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            sys.exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
