"""Writes the generated pages of the docs; ``--check PAGE`` says whether one has drifted."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from everfit import errors
from everfit.cli import COMMANDS, everfit

DOCS = Path(__file__).parent


def errors_page() -> str:
    """Return the error tree as a table."""
    lines = [
        "# Errors",
        "",
        "Generated from `everfit.errors` by `make docs`. Every error has a stable code, a message,",
        "a hint that says what to do, and the list of all problems of the input it refused.",
        "",
        "| code | HTTP | error | meaning |",
        "| --- | --- | --- | --- |",
    ]

    def add(error: type[errors.EverfitError], depth: int) -> None:
        first = (error.__doc__ or "").strip().splitlines()[0]
        name = "&nbsp;&nbsp;" * depth + f"`{error.__name__}`"
        lines.append(f"| `{error.code}` | {error.status} | {name} | {first} |")
        for sub in error.__subclasses__():
            add(sub, depth + 1)

    add(errors.EverfitError, 0)
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return the help of every command."""
    parts = ["# Commands\n\nGenerated from the commands by `make docs`.\n"]
    root = click.Context(everfit, info_name="everfit")
    for name in COMMANDS:
        command = everfit.get_command(root, name)
        assert command is not None  # noqa: S101 - COMMANDS is what get_command reads
        context = click.Context(command, info_name=name, parent=root, max_content_width=96)
        parts.append(f"## everfit {name}\n\n```\n{command.get_help(context)}\n```\n")
        for sub_name, sub in getattr(command, "commands", {}).items():
            below = click.Context(sub, info_name=sub_name, parent=context, max_content_width=96)
            parts.append(f"### everfit {name} {sub_name}\n\n```\n{sub.get_help(below)}\n```\n")
    return "\n".join(parts)


PAGES = {"errors.md": errors_page, "cli.md": cli_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or check those named after ``--check``."""
    checking = arguments[:1] == ["--check"]
    drifted = []
    for name in arguments[1:] if checking else PAGES:
        page = PAGES[name]()
        file = DOCS / name
        if not checking:
            file.write_text(page, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != page:
            drifted.append(name)
    if drifted:
        print(f"out of date: {', '.join(drifted)}; run `make docs`")  # noqa: T201
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
