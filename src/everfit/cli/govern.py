"""``everfit approve``, ``trust``, ``release``, ``rollback``, ``cancel`` and ``audit``."""

from __future__ import annotations

from pathlib import Path

import click

from everfit.automation import queue_judgement
from everfit.cli import show
from everfit.cli.project import opened
from everfit.cli.watch import IN
from everfit.deployment import rollback as roll_back
from everfit.errors import LedgerBroken
from everfit.governance import approve as give_approval
from everfit.governance import verify_ledger
from everfit.kernel import cancel as cancel_job
from everfit.registry import get_version
from everfit.registry import trust as trust_digest

BY = click.option("--as", "by", required=True, help="Your name; kept in the ledger.")


@click.command()
@click.argument("version", type=int)
@BY
@click.option("--comment", default="", help="Kept with the approval.")
@IN
def approve(version: int, by: str, comment: str, folder: Path) -> None:
    """Approve a version; its gates are judged again."""
    project = opened(folder)
    with project.workspace.transaction() as tx:
        give_approval(tx, project.policy.model, version, by=by, comment=comment)
        queue_judgement(tx, project.policy.model, version)
    show.console.print(f"v{version} approved by {by}; its gates will be judged again")


@click.command()
@click.argument("version", type=int)
@BY
@click.option("--reason", required=True, help="Why this file is safe; kept in the ledger.")
@IN
def trust(version: int, by: str, reason: str, folder: Path) -> None:
    """Vouch for the model file of a version that was not made here."""
    project = opened(folder)
    with project.workspace.transaction() as tx:
        digest = get_version(tx, project.policy.model, version).package
        trust_digest(tx, digest, by=by, reason=reason)
    show.console.print(f"v{version} ({digest[:12]}) is trusted")


@click.command()
@click.argument("version", type=int)
@IN
def release(version: int, folder: Path) -> None:
    """Put a registered version through the gates; `everfit up` or `run` rolls it out."""
    project = opened(folder)
    with project.workspace.transaction() as tx:
        job = queue_judgement(tx, project.policy.model, version)
    show.console.print(f"{job.id} will judge v{version}")


@click.command()
@click.option("--reason", default="asked for by a person", help="Why; kept in the ledger.")
@IN
def rollback(reason: str, folder: Path) -> None:
    """Drop the release that rolls out, or go back to the version before the live one."""
    project = opened(folder)
    actor = project.workspace.settings.actor
    with project.workspace.transaction() as tx:
        release = roll_back(tx, endpoint=project.policy.model, reason=reason, actor=actor)
    show.console.print(f"v{release.version} is {release.state}: {release.reason}")


@click.command()
@click.argument("job")
@IN
def cancel(job: str, folder: Path) -> None:
    """Cancel queued or running work by its id."""
    project = opened(folder)
    with project.workspace.transaction() as tx:
        found = cancel_job(tx, job)
    show.console.print(f"{found.kind} {found.id} is {found.state}")


@click.group()
def audit() -> None:
    """Verify that nobody touched the ledger."""


@audit.command()
@IN
def verify(folder: Path) -> None:
    """Recompute the hash chain and name any row edited, removed or reordered."""
    project = opened(folder)
    with project.workspace.reading() as tx:
        rows, breaks = verify_ledger(tx)
    if breaks:
        lines = "".join(f"\n  row {found.number}: {found.reason}" for found in breaks)
        raise LedgerBroken(
            f"the ledger of {project.workspace.project} is broken in {len(breaks)} places:{lines}",
            hint="Compare with a backup; what is written from now on is chained to what is there.",
        )
    show.console.print(f"{rows:,} rows, chain unbroken", style="green")
