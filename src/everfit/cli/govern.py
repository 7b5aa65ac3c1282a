"""``everfit approve``, ``trust``, ``release``, ``rollback``, ``cancel`` and ``audit``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from everfit.automation import judge_again, queue_judgement
from everfit.cli import show
from everfit.cli.project import opened
from everfit.cli.watch import IN
from everfit.deployment import live_release
from everfit.deployment import rollback as roll_back
from everfit.errors import Invalid, LedgerBroken
from everfit.governance import approve as give_approval
from everfit.governance import verify_ledger
from everfit.kernel import cancel as cancel_job
from everfit.measures.figures import counted
from everfit.registry import get_version
from everfit.registry import trust as trust_digest

# So many hexadecimal digits cannot be met by chance or by trying.
SHOWN = 32
BY = click.option("--as", "by", required=True, help="Your name; kept in the ledger.")


class _Version(click.ParamType):  # type: ignore[type-arg]
    """A version as it is written everywhere, ``v3``, or by its number."""

    name = "version"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        number = str(value).removeprefix("v")
        if not re.fullmatch(r"[0-9]{1,9}", number):
            self.fail(f"{value!r} is no version; write v3 or 3", param, ctx)
        return int(number)


VERSION = click.argument("version", type=_Version())


@click.command()
@VERSION
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
@VERSION
@BY
@click.option("--reason", required=True, help="Why this file is safe; kept in the ledger.")
@IN
def trust(version: int, by: str, reason: str, folder: Path) -> None:
    """Vouch for the model file of a version that was not made here."""
    project = opened(folder)
    with project.workspace.transaction() as tx:
        digest = get_version(tx, project.policy.model, version).require_package()
        trust_digest(tx, digest, by=by, reason=reason)
    show.console.print(f"v{version} ({digest[:12]}) is trusted")


@click.command()
@VERSION
@IN
def release(version: int, folder: Path) -> None:
    """Put a registered version through the gates; `everfit up` or `run` rolls it out."""
    job = judge_again(opened(folder), version)
    show.console.print(f"{job.id} will judge v{version}")


@click.command()
@click.option("--reason", default="asked for by a person", help="Why; kept in the ledger.")
@click.option("--version", type=_Version(), help="Take this one back; default: the newest release.")
@IN
def rollback(reason: str, version: int | None, folder: Path) -> None:
    """Drop the release that rolls out, or go back to the version before the live one.

    Repeating it changes nothing: to go back further, name the version that is live.
    """
    project = opened(folder)
    actor = project.workspace.settings.actor
    with project.workspace.transaction() as tx:
        release = roll_back(
            tx, endpoint=project.policy.model, reason=reason, actor=actor, version=version
        )
        live, now = live_release(tx, project.policy.model), tx.now
    if release.ended_at == now:
        show.console.print(f"v{release.version} is {release.state}: {release.reason}")
    else:
        show.console.print(f"nothing changed: v{release.version} was {release.state} before")
    if live is not None and live.version != release.version:
        show.console.print(
            f"v{live.version} is live; `everfit rollback --version {live.version}` takes it back"
        )


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
@click.option("--noted", help="A head printed before and kept elsewhere, as NUMBER:DIGEST.")
@IN
def verify(noted: str | None, folder: Path) -> None:
    """Recompute the hash chain and name any row edited, removed or reordered.

    Who may write to the whole database can write another chain. Keep the printed head elsewhere,
    and ask with --noted whether it still stands.
    """
    project = opened(folder)
    with project.workspace.reading() as tx:
        (rows, digest), breaks = verify_ledger(tx, noted=_head(noted))
    if breaks:
        lines = "".join(f"\n  row {found.number}: {found.reason}" for found in breaks)
        raise LedgerBroken(
            f"the ledger of {project.workspace.project} is broken in "
            f"{counted(len(breaks), 'place')}:{lines}",
            hint="Compare with a backup; what is written from now on is chained to what is there.",
        )
    show.console.print(f"{rows:,} rows, chain unbroken", style="green")
    show.console.print(f"head {rows}:{digest[:SHOWN]}")


def _head(noted: str | None) -> tuple[int, str] | None:
    if noted is None:
        return None
    found = re.fullmatch(rf"([0-9]{{1,18}}):([0-9a-f]{{{SHOWN},64}})", noted.strip().lower())
    if found is None:
        raise Invalid(
            f"{noted!r} is no head of a ledger",
            hint="Give it as `everfit audit verify` printed it: a number, a colon, a digest.",
        )
    return int(found[1]), found[2]
