"""Time to import and to answer `everfit --help`, beside an empty Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import everfit": [sys.executable, "-c", "import everfit"],
    "everfit --help": [str(Path(sys.executable).parent / "everfit"), "--help"],
    "everfit check --help": [str(Path(sys.executable).parent / "everfit"), "check", "--help"],
}


def seconds(command: list[str]) -> float:
    """Return the median wall time of a command."""
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    floor = seconds(COMMANDS["python -c pass"])
    print(f"start-up, median of {RUNS}")
    print(f"{'command':<24}{'seconds':>9}{'ratio':>8}")
    for name, command in COMMANDS.items():
        taken = seconds(command)
        print(f"{name:<24}{taken:>9.3f}{taken / floor:>8.1f}")


if __name__ == "__main__":
    main()
