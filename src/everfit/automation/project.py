"""A project on disk: its folder, its policy, and the opened workspace it runs in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from everfit.automation.decode import FILE, decode, param_names
from everfit.automation.model import Policy
from everfit.data import Source
from everfit.errors import PolicyInvalid, SourceMissing
from everfit.kernel import Clock, Settings, Workspace, load_settings, open_workspace
from everfit.monitoring import MonitorConfig
from everfit.steps import Pipeline
from everfit.training import TrainingRequest, load_pipeline

PIPELINE = "pipeline.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a loop works on.

    ``digest`` tells whether the policy or the pipeline has changed since it was read;
    ``history_ends`` hides later source rows and is set by a replay.
    """

    folder: Path
    policy: Policy
    workspace: Workspace
    digest: str
    pipeline: Path | None = None
    history_ends: datetime | None = None

    def source(self) -> Source:
        """Return where training rows are collected from."""
        return Source(location=self.policy.data.source, query=self.policy.data.query)

    def training_request(self, *, as_of: datetime, feedback: str | None) -> TrainingRequest:
        """Return the training that the policy declares, with what was known at ``as_of``."""
        data, train = self.policy.data, self.policy.train
        known = as_of - self.policy.truth.arrives
        if self.history_ends is not None:
            known = min(known, self.history_ends)
        return TrainingRequest(
            model=self.policy.model,
            task=self.policy.task,
            source=self.source(),
            base=self.folder,
            target=data.target,
            time=data.time,
            group=data.group,
            exclude=data.exclude,
            roles=data.roles,
            as_of=known if data.time else None,
            extra=feedback,
            key=self.policy.truth.key,
            candidates=train.candidates,
            metric=train.metric,
            trials=train.trials,
            segregation=train.split,
            expectations=data.expect,
            drop_missing_target=data.drop_missing_target,
            params=train.params,
            seed=train.seed,
            pipeline=self.pipeline,
            window_seconds=self.policy.monitor.window.total_seconds() if data.time else None,
        )

    def monitor_config(self) -> MonitorConfig:
        """Return how production is watched."""
        return MonitorConfig(
            window=self.policy.monitor.window,
            truth_delay=self.policy.truth.arrives,
            task=self.policy.task,
            metric=self.policy.train.metric,
            q=self.policy.monitor.false_alarms,
            tolerance=self.policy.monitor.tolerance,
        )


def read_policy(folder: Path, *, currency: str | None = None) -> tuple[Policy, Pipeline | None]:
    """Return the policy of the project in ``folder`` and its own steps, if it has any.

    ``currency`` is that of the price table.

    Raises
    ------
    SourceMissing
        If there is no policy file.
    PolicyInvalid, PipelineInvalid
        Listing every problem.
    """
    content = policy_text(folder)
    path = folder / PIPELINE
    pipeline = load_pipeline(path, param_names(content)) if path.exists() else None
    functions = set(pipeline.steps) if pipeline else ()
    return decode(content, functions=functions, currency=currency), pipeline


def project_digest(folder: Path) -> str:
    """Return the SHA-256 of the policy and the pipeline in ``folder`` as they are now."""
    digest = hashlib.sha256(policy_text(folder).encode())
    path = folder / PIPELINE
    digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def policy_text(folder: Path) -> str:
    """Return what ``everfit.yaml`` in ``folder`` says; raises as ``read_policy`` does."""
    file = folder / FILE
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SourceMissing(
            f"no {FILE} in {folder.resolve()}",
            hint="Run `everfit init --data FILE --target COLUMN` here, or go to the project.",
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyInvalid(
            f"{file} is not UTF-8: byte {error.start} cannot be read", hint="Save it as UTF-8."
        ) from error


def open_project(
    folder: Path, *, clock: Clock | None = None, settings: Settings | None = None
) -> Project:
    """Open the project in ``folder`` for work."""
    settings = settings or load_settings(folder)
    policy, pipeline = read_policy(folder, currency=settings.currency)
    return Project(
        folder=folder,
        policy=policy,
        workspace=open_workspace(settings, clock=clock),
        digest=project_digest(folder),
        pipeline=pipeline.path if pipeline else None,
    )
