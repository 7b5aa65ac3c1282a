"""Endpoints, releases, and the decisions that move or take back a rollout."""

from everfit.deployment.decide import decide
from everfit.deployment.model import (
    Action,
    Decision,
    Evidence,
    Later,
    Limit,
    Measure,
    Release,
    ReleaseState,
    RollbackRules,
    RolloutStep,
    ServingPlan,
    StepKind,
    describe_rollout,
    parse_rollout,
)
from everfit.deployment.rules import parse_rollback
from everfit.deployment.service import (
    advance,
    current_release,
    endpoints,
    get_release,
    guard,
    releases,
    rollback,
    serving_plan,
    start_release,
)

__all__ = [
    "Action",
    "Decision",
    "Evidence",
    "Later",
    "Limit",
    "Measure",
    "Release",
    "ReleaseState",
    "RollbackRules",
    "RolloutStep",
    "ServingPlan",
    "StepKind",
    "advance",
    "current_release",
    "decide",
    "describe_rollout",
    "endpoints",
    "get_release",
    "guard",
    "parse_rollback",
    "parse_rollout",
    "releases",
    "rollback",
    "serving_plan",
    "start_release",
]
