"""The command line: every command is loaded when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from keyword import iskeyword

import click

from everfit import __version__
from everfit.errors import EverfitError

# name -> (module that holds the command of that name, its one line of help)
COMMANDS = {
    "init": ("project", "Write a working project from a table."),
    "check": ("project", "Report every problem of the policy, then explain it."),
    "run": ("run", "Train, gate and release now, with live progress."),
    "serve": ("serve", "Answer predictions over HTTP."),
    "server": ("server", "Answer MLflow clients: tracking, registry and artifacts."),
    "up": ("serve", "Serve, watch, retrain: run the whole loop."),
    "label": ("watch", "Hand in labels that have arrived, from a table."),
    "status": ("watch", "Show what runs, what waits for whom, what is next."),
    "runs": ("runs", "List runs, filtered and sorted, with the columns asked for."),
    "diff": ("runs", "Show where runs differ: parameters, metrics, code, data, environment."),
    "import": ("importing", "Bring over what another tool has tracked and registered."),
    "sync": ("sync", "Deliver what was logged while the server was away."),
    "reproduce": ("runs", "Train again as recorded, and prove that the same comes out."),
    "why": ("watch", "Explain a prediction, alert, verdict, release or run."),
    "metrics": ("watch", "Print the ten metrics, computed from recorded events."),
    "approve": ("govern", "Approve a version that waits for people."),
    "trust": ("govern", "Vouch for a model file that came from elsewhere."),
    "release": ("govern", "Put a registered version through the gates and roll it out."),
    "rollback": ("govern", "Go back to the version before, keeping every request answered."),
    "cancel": ("govern", "Cancel queued or running work."),
    "audit": ("govern", "Verify that nobody touched the ledger."),
    "replay": ("replay", "Run the loop over historical rows at full speed."),
    "demo": ("replay", "Replay a year of bike rentals and show what the loop is worth."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"everfit.cli.{COMMANDS[cmd_name][0]}")
        # `import` is a word of Python's own.
        command = getattr(module, f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - a slip in the table above
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="everfit %(version)s")
def everfit() -> None:
    """Everfit keeps models fit: from a table and a policy to a model that stays good."""


def main() -> None:
    """Run the command line; an error of ours is two lines on stderr and exit status 1."""
    # One prediction is too small a piece of work to be split: on a busy machine the threads of
    # OpenMP wait for each other a hundred times longer than they compute. Read when it is loaded.
    os.putenv("OMP_NUM_THREADS", "1")
    try:
        sys.exit(everfit.main(prog_name="everfit", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EverfitError as error:
        click.secho(f"error: {error.message}", fg="red", err=True)
        click.echo(f"  -> {error.hint}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; run the same command again to go on where it was", err=True)
        sys.exit(130)
