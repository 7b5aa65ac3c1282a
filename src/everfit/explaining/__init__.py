"""Reason codes: what each input contributed to one prediction, exactly where that is known."""

from everfit.explaining.explainer import Background, Explainer
from everfit.explaining.model import Contribution, Explanation, Method, Output
from everfit.explaining.service import Explainers, explain_row, plain
from everfit.explaining.words import because

__all__ = [
    "Background",
    "Contribution",
    "Explainer",
    "Explainers",
    "Explanation",
    "Method",
    "Output",
    "because",
    "explain_row",
    "plain",
]
