"""A candidate that treats women unfairly does not pass, however accurate it is."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from everfit.automation import open_project
from everfit.deployment import serving_plan
from everfit.evaluation import Outcome, latest_report

from .conftest import Command

POLICY = """\
model: income
task: classification
data: {source: adult.csv, target: income-per-year, exclude: [fnlwgt]}
train: {candidates: {CANDIDATE: {}}, metric: accuracy}
gate:
  - better: {margin: 0%, confidence: 95%}
  - fair: {across: [sex], equal_opportunity: [0.8, 1.25]}
"""
UNFAIR = '''
"""Says that no woman earns well: accurate, and unfair."""

import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from everfit import Split

NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "marital-status", "occupation", "relationship"]


class Harsh:
    def __init__(self, model, poor):
        self.model, self.poor = model, poor

    def predict(self, frame: pl.DataFrame):
        said = self.model.predict(frame.select(NUMBERS + WORDS))
        return np.where(frame["sex"].to_numpy() == "Female", self.poor, said)


def harsh(segregated: Split) -> Harsh:
    encode = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), WORDS)
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=300))
    rows = segregated.train
    model.fit(rows.select(NUMBERS + WORDS), rows["income-per-year"].to_numpy())
    return Harsh(model, sorted(set(rows["income-per-year"]))[0])
'''


def test_an_unfair_candidate_is_stopped_by_the_gate(
    tmp_path: Path, shared: Path, everfit: Command
) -> None:
    pl.read_csv(shared / "adult/adult.csv").write_csv(tmp_path / "adult.csv")
    (tmp_path / "everfit.yaml").write_text(POLICY.replace("CANDIDATE", "harsh"))
    (tmp_path / "pipeline.py").write_text(UNFAIR)
    done = everfit("run")
    assert done.returncode == 0, done.stdout + done.stderr
    project = open_project(tmp_path)
    with project.workspace.reading() as tx:
        report = latest_report(tx, "income", 1)
        assert report is not None
        verdicts = {verdict.gate: verdict for verdict in report.verdicts}
        assert verdicts["better"].outcome is Outcome.PASS
        assert verdicts["fair"].outcome is Outcome.FAIL
        assert report.outcome is Outcome.FAIL
        assert serving_plan(tx, "income") is None
    project.workspace.close()
    assert "Female" in verdicts["fair"].summary
    assert "fail" in everfit("status").stdout
