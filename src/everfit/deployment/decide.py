"""Whether a release goes on, waits or is taken back. Pure: the same evidence, the same decision.

Every interval holds at all times at once (a confidence sequence), so a release may be judged at
every sweep without raising the rate of false rollbacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from everfit.deployment.model import (
    Action,
    Decision,
    Evidence,
    Later,
    Limit,
    Measure,
    Numbers,
    Release,
    RollbackRules,
    StepKind,
)
from everfit.evaluation import Outcome
from everfit.measures.sequences import mean_sequence, share_sequence

NOW_ALPHA = 0.05
SPLIT_ALPHA = 0.001
# How long a live version is guarded. A fault that comes with a version shows in its first weeks;
# one that begins later comes from the world around it, which the version before would meet too.
GUARDED = timedelta(days=30)
# The interval for the mean is asymptotic in the number of blocks. In simulation (normal, t3 and
# skewed losses, blocks of 20 rows, 300 looks) it rolls 1 to 2% of equal candidates back from here.
MIN_BLOCKS = 10
# The number of blocks at which it is narrowest; fixed beforehand, or it loses its coverage.
TARGET_BLOCKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule says: ``holds`` if the release must not go on while it says so."""

    outcome: Outcome
    holds: bool
    summary: str
    numbers: Numbers


def decide(release: Release, evidence: Evidence, rules: RollbackRules) -> Decision:
    """Return what the evidence says should become of ``release``.

    Any rule that fails rolls back. It advances when nothing holds it and its step has lasted
    long enough; a step that lasts longer than the rules' patience is rolled back for want of
    evidence, so that no release goes live unproven.
    """
    findings = list(_findings(release, evidence, rules))
    numbers = {name: value for finding in findings for name, value in finding.numbers.items()}
    lasted = evidence.now - release.step_since
    failed = [finding.summary for finding in findings if finding.outcome is Outcome.FAIL]
    held = [finding.summary for finding in findings if finding.holds]
    if failed:
        return _decision(Action.ROLL_BACK, failed, numbers)
    if held and lasted > rules.patience_for(release.at):
        after = f"not enough evidence after {lasted.days} days at {release.at}"
        return _decision(Action.ROLL_BACK, [after, *held], numbers)
    if held or lasted < release.at.duration:
        early = [] if held else [f"{release.at} has not lasted its time yet"]
        return _decision(Action.HOLD, held + early, numbers)
    passed = [finding.summary for finding in findings]
    return _decision(Action.ADVANCE, [*passed, f"next: {release.following}"], numbers)


def judge_live(release: Release, evidence: Evidence, rules: RollbackRules) -> Decision | None:
    """Return the decision to roll a live ``release`` back, or None where nothing asks for it.

    Only the limits that act at once count, and only while the release is guarded.
    """
    if release.live_at is None or evidence.now - release.step_since > GUARDED:
        return None
    alpha = NOW_ALPHA / max(len(rules.now), 1)
    findings = [_judge_limit(limit, evidence, alpha=alpha, prove=False) for limit in rules.now]
    failed = [finding.summary for finding in findings if finding.outcome is Outcome.FAIL]
    if not failed:
        return None
    numbers = {name: value for finding in findings for name, value in finding.numbers.items()}
    return _decision(Action.ROLL_BACK, failed, numbers)


OUTCOMES = {
    Action.ADVANCE: Outcome.PASS,
    Action.HOLD: Outcome.UNDECIDED,
    Action.ROLL_BACK: Outcome.FAIL,
}


def _decision(action: Action, reasons: Sequence[str], numbers: Numbers) -> Decision:
    return Decision(
        outcome=OUTCOMES[action], action=action, summary="; ".join(reasons), numbers=numbers
    )


def _findings(release: Release, evidence: Evidence, rules: RollbackRules) -> Iterator[Finding]:
    shadow = release.at.kind is StepKind.SHADOW
    # Without a rule on the truth, limits are all that can prove a release fit to go on. In shadow
    # they can only if there are requests: waiting for those would keep it from ever answering.
    prove = rules.later is None and (evidence.candidate_requests > 0 or not shadow)
    for limit in rules.now:
        if shadow and limit.measure is Measure.P95_MS:
            yield UNTIMED
        else:
            yield _judge_limit(limit, evidence, alpha=NOW_ALPHA / len(rules.now), prove=prove)
    if rules.later is not None:
        yield _judge_quality(rules.later, evidence, rules.tolerance)
    if release.at.kind is StepKind.CANARY:
        yield _judge_split(release.at.share, evidence)


# What a shadow computes delays nobody, and how long it takes is not logged.
UNTIMED = Finding(
    outcome=Outcome.PASS,
    holds=False,
    summary="p95_ms is not judged in shadow, which answers nobody",
    numbers={},
)


def _judge_limit(limit: Limit, evidence: Evidence, *, alpha: float, prove: bool) -> Finding:
    if limit.measure is Measure.ERRORS:
        bad, count, most = evidence.candidate_errors, evidence.candidate_requests, limit.limit
        words = f"{bad} errors in {count} requests"
    else:
        # The 95th percentile is above the limit exactly when more than 5% of answers are.
        slower = np.asarray(evidence.latency_ms, float) > limit.limit
        bad, count, most = int(slower.sum()), slower.size, 0.05
        words = f"{bad} of {count} answers took over {limit.limit:g} ms"
    share, low, high = _share(bad, count, alpha)
    outcome = Outcome.FAIL if low > most else Outcome.PASS if high <= most else Outcome.UNDECIDED
    name = limit.measure.value
    return Finding(
        outcome=outcome,
        holds=outcome is not Outcome.PASS and (prove or share > most),
        summary=f"{words} ({low:.2%} to {high:.2%}, limit {most:.3g})",
        numbers={
            f"{name}_bad": bad,
            f"{name}_count": count,
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_limit": limit.limit,
        },
    )


def _share(count: int, total: int, alpha: float) -> tuple[float, float, float]:
    """Return a share with its interval, which is everything while nothing was seen."""
    if not total:
        return 0.0, 0.0, 1.0
    found = share_sequence(count, total, 1 - alpha)
    return found.estimate, found.low, found.high


def _judge_quality(later: Later, evidence: Evidence, tolerance: float) -> Finding:
    differences = np.asarray(evidence.paired, float)
    blocks, loss = differences.size, evidence.champion_loss
    seen: Numbers = {"blocks": blocks, "rows": evidence.rows}
    if blocks < MIN_BLOCKS or loss is None or not np.isfinite(differences).all():
        return Finding(
            outcome=Outcome.UNDECIDED,
            holds=True,
            summary=f"{later.metric}: {blocks} of {MIN_BLOCKS} blocks of labelled rows needed",
            numbers=seen,
        )
    found = mean_sequence(differences, later.confidence, target=TARGET_BLOCKS)
    low, high, most = found.low, found.high, tolerance * loss
    outcome = Outcome.FAIL if low > 0 else Outcome.PASS if high <= most else Outcome.UNDECIDED
    verdict = {
        Outcome.FAIL: "worse than the champion",
        Outcome.PASS: "not worse than the champion",
        Outcome.UNDECIDED: "not yet told apart from the champion",
    }[outcome]
    return Finding(
        outcome=outcome,
        holds=outcome is not Outcome.PASS,
        summary=f"{later.metric} {verdict}: mean loss difference {found.estimate:+.4g} "
        f"({low:+.4g} to {high:+.4g}, at most {most:+.4g}) over {blocks} blocks",
        numbers={
            **seen,
            "difference": found.estimate,
            # JSON has no infinity: an interval that is still everything is not written down.
            "difference_low": low if math.isfinite(low) else None,
            "difference_high": high if math.isfinite(high) else None,
            "difference_limit": most,
            "champion_loss": loss,
        },
    )


def _judge_split(share: float, evidence: Evidence) -> Finding:
    """Return whether the canary got its share: a broken split makes every comparison void."""
    given, units = evidence.canary_units, evidence.split_units
    _, low, high = _share(given, units, SPLIT_ALPHA)
    fits = low <= share <= high
    return Finding(
        outcome=Outcome.PASS if fits else Outcome.UNDECIDED,
        holds=not fits,
        summary=f"the canary got {given} of {units} keys"
        + ("" if fits else f", which {share:.3g} of all does not explain: the split is broken"),
        numbers={"split_units": units, "canary_units": given, "share": share},
    )
