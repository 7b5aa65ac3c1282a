"""The model server: predictions over HTTP or in process, with canary, shadow and a durable log."""

from everfit.serving.core import ModelServer
from everfit.serving.model import Answers, Bounds
from everfit.serving.predictors import HttpPredictor, LocalPredictor
from everfit.serving.process import BackgroundServer, serve

__all__ = [
    "Answers",
    "BackgroundServer",
    "Bounds",
    "HttpPredictor",
    "LocalPredictor",
    "ModelServer",
    "serve",
]
