"""The policy, its triggers and budgets, the loop that follows it, and its replay on history."""

from everfit.automation.decode import decode
from everfit.automation.explain import explain
from everfit.automation.facts import facts
from everfit.automation.init import Asked, Started, start_project
from everfit.automation.inspect import check_project
from everfit.automation.judge import judge_again, queue_gate, queue_judgement
from everfit.automation.loop import Loop, Tick, start_retraining
from everfit.automation.model import Policy
from everfit.automation.project import Project, open_project, project_digest, read_policy
from everfit.automation.replay import (
    History,
    Predictor,
    Replay,
    Replayed,
    Span,
    read_history,
)
from everfit.automation.status import standing
from everfit.automation.timeline import Turn, timeline

__all__ = [
    "Asked",
    "History",
    "Loop",
    "Policy",
    "Predictor",
    "Project",
    "Replay",
    "Replayed",
    "Span",
    "Started",
    "Tick",
    "Turn",
    "check_project",
    "decode",
    "explain",
    "facts",
    "judge_again",
    "open_project",
    "project_digest",
    "queue_gate",
    "queue_judgement",
    "read_history",
    "read_policy",
    "standing",
    "start_project",
    "start_retraining",
    "timeline",
]
