"""Runs every benchmark, or those named: ``python -m bench [startup] [steps] [replay]``."""

from __future__ import annotations

import subprocess
import sys

ALL = ("startup", "steps", "replay")


def main(names: list[str]) -> int:
    """Run each benchmark in a process of its own, so that none warms another."""
    chosen = names or list(ALL)
    return max(
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode
        for name in chosen
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
