"""The README is run as it is written: every block, in its order, against the real command.

How the blocks of the page are read:

- ``sh`` is run by bash; ``everfit serve`` or ``everfit up`` alone is the second terminal. It is
  ended with Ctrl-C, as the text says, before the next one and before the policy changes.
- ``text`` and ``json`` are what the block before them must have printed. Numbers, times and the
  spaces of a table may differ, words may not; ``…`` stands for what the page leaves out.
- ``python`` and ``yaml`` that begin with the name of a file are written to it, ``yaml`` by
  replacing the keys it names; other ``python`` is run, other ``yaml`` is the whole policy so far.
- ``csv`` is how the reader's table begins.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import polars as pl
import pytest

ID = re.compile(r"\b(?:p|run|rel|job|report|alert)_[0-9A-Z]{10,}(?:_[0-9a-f]{8})?")
NUMBER = re.compile(r"(?<![A-Za-z_\d])\d[\d,.:e+-]*")
PATIENCE_SECONDS = 20
SECOND_TERMINAL = ("everfit serve\n", "everfit up\n")
# What the page says about the checkout is asked of it without installing or running it again.
ELSEWHERE = {
    "make demo": "make --directory {root} --dry-run demo",
    "make test": "make --directory {root} --dry-run test",
    "pip install .": "python -c 'import importlib.metadata as m; m.version(\"everfit\")'",
}


def houses(*, rows: int = 1_500, seed: int = 7) -> pl.DataFrame:
    """Return houses sold in a year in which prices rise by a tenth."""
    rng = np.random.default_rng(seed)
    sold = pl.datetime_range(
        datetime(2025, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "5h48m", eager=True
    ).head(rows)
    area = rng.normal(95, 30, rows).clip(28, 260).round().astype(int)
    built = rng.integers(1900, 2024, rows)
    km = rng.gamma(2, 4, rows).round(1)
    kinds = {"as new": 1.15, "good": 1.0, "to renovate": 0.8}
    condition = rng.choice(list(kinds), rows, p=[0.25, 0.55, 0.2])
    value = 3_200 * area * np.array([kinds[c] for c in condition]) * np.exp(-km / 12)
    value *= (1 + 0.0012 * (built - 1960)) * (1 + 0.1 * np.arange(rows) / rows)
    value *= np.exp(rng.normal(0, 0.03, rows))
    columns = {"area_m2": area, "built": built, "km_to_centre": km, "condition": condition}
    return pl.DataFrame(
        {
            "sold": sold.dt.strftime("%Y-%m-%d %H:%M"),
            **columns,
            "price": value.round(-2).astype(int),
        }
    )


def plain(text: str) -> str:
    """Return a text without what differs from run to run: ids, numbers, spaces."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", ID.sub("ID", text))).strip()


def missing(expected: str, printed: str) -> str | None:
    """Return the first line of ``expected`` that was not printed after the ones before it."""
    lines = iter(plain(line) for line in printed.splitlines())
    for wanted in expected.splitlines():
        pattern = ".*".join(map(re.escape, plain(wanted).split("…")))
        if not any(re.fullmatch(pattern, line) for line in lines):
            return wanted
    return None


def compact(text: str) -> str:
    """Return one JSON value on one line."""
    return json.dumps(json.loads(text))


class Reader:
    """Does what the page says, in a folder of their own that holds their table."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.stopped: list[int] = []  # how servers ended
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("EVERFIT_")}
        self.environment |= {"PATH": path, "COLUMNS": "240", "EVERFIT_PORT": str(self.port)}
        self.ids: dict[str, str] = {}  # an id on the page -> the one that this run gave
        self.server: subprocess.Popen[bytes] | None = None
        self.last = ("", "")  # what was run last, and what it printed

    def own(self, text: str) -> str:
        """Return the text of the page with this run's port and ids."""
        for theirs, ours in self.ids.items():
            text = text.replace(theirs, ours)
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")

    def run(self, *command: str) -> str:
        """Return what a command printed; it must succeed without a warning."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def sh(self, text: str) -> None:
        """Run a block of commands, or start the second terminal."""
        if text in SECOND_TERMINAL:
            self.start(*text.split())
            return
        for line, instead in ELSEWHERE.items():
            text = re.sub(rf"^{re.escape(line)}(?=\s|$).*$", instead, text, flags=re.MULTILINE)
        script = self.own(text).replace("{root}", str(self.root))
        self.last = (script, self.run("bash", "-e", "-c", script))

    def start(self, *command: str) -> None:
        """Start a server in the second terminal and wait until it answers."""
        self.stop()
        self.server = subprocess.Popen(command, cwd=self.folder, env=self.environment)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=5):
                    return
            except (URLError, ConnectionError):
                assert self.server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        """Press Ctrl-C in the second terminal."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            self.stopped.append(self.server.wait(timeout=PATIENCE_SECONDS))
            self.server = None

    def text(self, expected: str) -> None:
        """Compare with what was printed; look again while the loop is still at it."""
        script, printed = self.last
        deadline = time.monotonic() + PATIENCE_SECONDS
        looks = re.fullmatch(r"everfit (why|status|metrics)\b.*\n", script)
        while (line := missing(expected, printed)) is not None:
            assert looks, f"not printed by {script}: {line!r}\n{printed}"
            assert time.monotonic() < deadline, f"not printed by {script}: {line!r}\n{printed}"
            printed = self.run("bash", "-e", "-c", script)
        self.learn(expected, printed)

    def json(self, expected: str) -> None:
        """Compare with the answer that was printed."""
        assert plain(compact(self.last[1])) == plain(compact(expected)), self.last[1]
        self.learn(expected, self.last[1])

    def learn(self, expected: str, printed: str) -> None:
        """Remember which id of this run stands for which one on the page."""
        self.ids |= dict(zip(ID.findall(expected), ID.findall(printed), strict=False))

    def yaml(self, text: str) -> None:
        """Change the named keys of the policy, or compare all of it."""
        file = self.folder / "everfit.yaml"
        before = file.read_text(encoding="utf-8")
        if not text.startswith("# everfit.yaml"):
            assert before == text
            return
        self.stop()
        parts = dict(sections(before)) | dict(sections(text.partition("\n")[2]))
        file.write_text("".join(parts.values()), encoding="utf-8")

    def python(self, text: str) -> None:
        """Write a file that is named in the first line, or run the lines."""
        name = re.match(r"# (\w+\.py)\n", text)
        if name:
            (self.folder / name[1]).write_text(text, encoding="utf-8")
        else:
            self.last = (text, self.run(sys.executable, "-W", "error", "-c", self.own(text)))

    def csv(self, text: str) -> None:
        """Compare with the beginning of the table."""
        assert (self.folder / "houses.csv").read_text(encoding="utf-8").startswith(text)

    def mermaid(self, text: str) -> None:
        """Look at the picture: it has both ends of the loop."""
        assert "flowchart" in text
        assert "train" in text


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield every top-level key of a policy with its lines."""
    for part in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        if part.strip():
            yield part.partition(":")[0], part


@pytest.fixture
def reader(root: Path, tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "houses"
    folder.mkdir()
    houses().write_csv(folder / "houses.csv")
    found = Reader(root, folder)
    yield found
    if found.server is not None and found.server.poll() is None:
        found.server.kill()
        found.server.wait()


def test_the_readme_does_what_it_says(
    reader: Reader, blocks: Callable[[str], list[tuple[str, str]]]
) -> None:
    found = blocks("README.md")
    assert len(found) > 20
    for language, text in found:
        getattr(reader, language)(text)
    reader.stop()
    assert reader.stopped == [0, 0, 0]


def test_every_page_that_the_readme_names_is_there(root: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", (root / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (root / link).exists()] == []


def test_the_glossary_gives_each_word_one_meaning_in_the_order_of_the_alphabet(root: Path) -> None:
    text = (root / "docs/glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([a-z ]+) \| [^|]+ \|$", text, re.MULTILINE)[1:]
    assert len(words) > 40
    assert words == sorted(set(words))


def test_a_line_that_was_not_printed_is_noticed() -> None:
    printed = "what     state\nchampion v1  since 09:14\n"
    assert missing("champion  v1 since 10:00", printed) is None
    assert missing("champion  v2 since 10:00", printed) == "champion  v2 since 10:00"
    assert missing("champion …\nwhat state", printed) == "what state"
    assert missing("champion v1 …", printed) is None
