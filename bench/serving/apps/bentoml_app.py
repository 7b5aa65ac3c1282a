"""A model behind BentoML: ``BENCH_MODEL=MODEL bentoml serve bentoml_app:Scorer``."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


class Scoring:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]  # it is installed with the peer alone
    def predict(self, rows: list[dict[str, Any]]) -> list[list[float]]:
        answer: list[list[float]] = self.model.predict_proba(pd.DataFrame(rows)).tolist()
        return answer


QUIET = {"access": {"enabled": False}}
Scorer = bentoml.service(Scoring, workers=1, logging=QUIET)
