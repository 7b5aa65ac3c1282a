"""Training: steps, pipelines, candidates, search, and the trained version with its evidence."""

from everfit.training.candidates import ALGORITHMS, Algorithm, Parameter, check_candidates
from everfit.training.engine import execute, load_value, store_value
from everfit.training.model import (
    EXTRA_TIME,
    CandidateScore,
    CandidateSpec,
    Encoding,
    TrainingRequest,
    TrainingResult,
)
from everfit.training.pipeline import Function, Pipeline
from everfit.training.plan import METRICS, load_pipeline
from everfit.training.pool import StepPool
from everfit.training.service import run_step, run_steps
from everfit.training.steps import (
    Call,
    Heartbeat,
    Progress,
    RunStep,
    StepResult,
    quiet,
    step,
)
from everfit.training.train import result_of, train

__all__ = [
    "ALGORITHMS",
    "EXTRA_TIME",
    "METRICS",
    "Algorithm",
    "Call",
    "CandidateScore",
    "CandidateSpec",
    "Encoding",
    "Function",
    "Heartbeat",
    "Parameter",
    "Pipeline",
    "Progress",
    "RunStep",
    "StepPool",
    "StepResult",
    "TrainingRequest",
    "TrainingResult",
    "check_candidates",
    "execute",
    "load_pipeline",
    "load_value",
    "quiet",
    "result_of",
    "run_step",
    "run_steps",
    "step",
    "store_value",
    "train",
]
