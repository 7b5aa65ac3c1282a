"""Everfit's projects, made as its user would make them: a policy, a pipeline, `everfit run`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.serving import rows
from bench.tracking.servers import ROOT

TRAINED_ON = 6_000
NAME = "scoring"
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
POLICY = """\
model: {name}
task: classification
data: {{source: rows.parquet, target: {target}}}
train: {{candidates: {{mine: {{}}}}, metric: accuracy, seed: {seed}}}
gate: [{{better: {{margin: 0%, confidence: 95%}}}}]
rollout: 100%
"""
PIPELINE = """\
from everfit import Split
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = {numbers}
TEXTS = {texts}


def mine(segregated: Split, seed: int = 0) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)])
    known = segregated.train.select(NUMBERS + TEXTS)
    label = segregated.train["{target}"].to_numpy()
    return make_pipeline(columns, {estimator}).fit(known, label)
"""
ESTIMATORS = {
    "logistic": "LogisticRegression(max_iter=1000)",
    "forest": "RandomForestClassifier(100, random_state=0)",
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model in every form: Everfit's project, and the fitted estimator in a file."""

    name: str
    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / self.name

    @property
    def estimator(self) -> Path:
        return self.folder / f"{self.name}.joblib"

    def logged(self) -> int:
        """Return the bytes of the prediction log."""
        folder = self.project / ".everfit" / "log" / NAME / "predictions"
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def make(self, *, rival: bool) -> None:
        """Train and release the model; a ``rival`` is a second version, for swapping."""
        self.project.mkdir(parents=True)
        rows.write(self.project / "rows.parquet", TRAINED_ON)
        pipeline = PIPELINE.format(
            numbers=rows.NUMBERS,
            texts=rows.TEXTS,
            target=rows.TARGET,
            estimator=ESTIMATORS[self.name],
        )
        (self.project / "pipeline.py").write_text(pipeline)
        self._run(seed=0)
        if rival:
            self._run(seed=1)  # no better, so its gates keep it from going live
        _ran("-m", "bench.serving.fitted", str(self.project), str(self.estimator))

    def _run(self, seed: int) -> None:
        policy = POLICY.format(name=NAME, target=rows.TARGET, seed=seed)
        (self.project / "everfit.yaml").write_text(policy)
        _ran("-m", "everfit.cli", "run", str(self.project), good=(0, 1))


def _ran(*arguments: str, good: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in good:
        raise ChildProcessError(f"{' '.join(arguments)} ended with {done.stdout}{done.stderr}")
