"""What messages and hints tell people to type exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import everfit
from everfit.cli import COMMANDS

PACKAGE = Path(everfit.__file__).parent


def named_commands() -> Iterator[tuple[str, str]]:
    """Each `everfit WORD` in backticks within a string, with the file that says it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for word in re.findall(r"`everfit ([a-z][\w-]*)", node.value):
                    yield str(path.relative_to(PACKAGE)), word


def test_every_command_that_a_message_names_exists() -> None:
    named = list(named_commands())
    assert len(named) > 20
    assert [(path, word) for path, word in named if word not in COMMANDS] == []
