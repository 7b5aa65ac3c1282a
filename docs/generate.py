"""Writes the generated pages of the docs; ``--check PAGE`` says whether one has drifted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from everfit import errors
from everfit.cli import COMMANDS, everfit
from everfit.mlflow_api import PROTOCOL_VERSION, ROUTES
from everfit.server.files import FILES
from everfit.server.health import HEALTH

DOCS = Path(__file__).parent
CALLS = "## What is there\n"
# What MLflow's server has and this one has not: everything below these paths.
NOT_THERE = {
    "Assessments, issues and labels of traces": [
        "/api/3.0/mlflow/traces/{trace_id}/assessments",
        "/api/3.0/mlflow/issues",
        "/api/3.0/mlflow/label-schemas",
        "/api/3.0/mlflow/review-queues",
    ],
    "Spans in the database, and what is computed of them": [
        "/api/3.0/mlflow/traces/get",
        "/api/3.0/mlflow/traces/batchGet",
        "/api/3.0/mlflow/traces/calculate-filter-correlation",
        "/api/3.0/mlflow/traces/metrics",
        "/api/2.0/mlflow/unified-traces",
        "/api/2.0/mlflow/get-online-trace-details",
    ],
    "Scorers and evaluation datasets": [
        "/api/3.0/mlflow/scorers",
        "/api/3.0/mlflow/datasets",
    ],
    "Links from traces to prompts, and the optimisation of prompts": [
        "/api/2.0/mlflow/traces/link-prompts",
        "/api/3.0/mlflow/prompt-optimization",
    ],
    "The gateway to language models": ["/api/3.0/mlflow/gateway"],
    "Webhooks": ["/api/2.0/mlflow/webhooks"],
    "Workspaces": ["/api/3.0/mlflow/workspaces"],
    "Presigned URLs: artifacts go through the server": [
        "/api/2.0/mlflow/artifacts/presigned-upload-url",
        "/api/2.0/mlflow/artifacts/presigned-download-url",
        "/api/2.0/mlflow-artifacts/presigned",
    ],
    "The pages of MLflow's own browser interface": ["/graphql"],
}


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


def mlflow_page() -> str:
    """Return the page about MLflow: what is written by hand, then the calls that are there."""
    written = (DOCS / "mlflow.md").read_text(encoding="utf-8").partition(CALLS)[0]
    calls = [
        (route.method, path, _first(route.endpoint.handler), route.endpoint.writes)
        for route in ROUTES
        for path in route.paths
    ]
    calls += [
        (method, path, _first(answer), method != "GET" and path in FILES)
        for path, answers in (*FILES.items(), *HEALTH.items())
        for method, answer in answers.items()
    ]
    rows = [
        f"| {method} | `{path}` | {does} | {'writes' if writes else 'reads'} |"
        for method, path, does, writes in calls
        if not path.startswith("/ajax-api") or "upload-artifact" in path
    ]
    lines = [
        CALLS,
        f"Generated from the table of calls by `make docs`; as of MLflow {PROTOCOL_VERSION}.",
        "Paths that begin with `/api` are answered below `/ajax-api` too.",
        "",
        "| method | path | does | |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "## What is not there",
        "",
        "These answer with status 404 and an error as MLflow writes it.",
        "",
        "| what | paths, and all below them |",
        "| --- | --- |",
        *(
            f"| {what} | {'<br>'.join(f'`{path}`' for path in paths)} |"
            for what, paths in NOT_THERE.items()
        ),
    ]
    return written + "\n".join(lines) + "\n"


def _first(handler: Callable[..., object]) -> str:
    """Return the first sentence of a handler's docstring, without the call that it names."""
    sentence = (handler.__doc__ or "").strip().splitlines()[0]
    does = sentence.rpartition("``: ")[2]
    return (does[0].upper() + does[1:]).replace("``", "`")


PAGES = {"errors.md": errors_page, "cli.md": cli_page, "mlflow.md": mlflow_page}


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
