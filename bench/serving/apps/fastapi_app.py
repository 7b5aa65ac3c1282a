"""A model behind FastAPI, written by hand: ``python fastapi_app.py MODEL PORT``."""

import sys
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(sys.argv[1])
app = FastAPI()


class Question(BaseModel):
    rows: list[dict[str, Any]]


def predict(question: Question) -> dict[str, list[list[float]]]:
    return {"probabilities": model.predict_proba(pd.DataFrame(question.rows)).tolist()}


app.add_api_route("/predict", predict, methods=["POST"])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="warning")
