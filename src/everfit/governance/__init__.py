"""Approvals, the audit of the ledger, and the answer to "why?"."""

from everfit.governance.model import Approval, Question
from everfit.governance.service import approvals, approve, verify_ledger
from everfit.governance.why import prediction_reasons, why

__all__ = [
    "Approval",
    "Question",
    "approvals",
    "approve",
    "prediction_reasons",
    "verify_ledger",
    "why",
]
