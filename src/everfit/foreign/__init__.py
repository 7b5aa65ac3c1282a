"""Stores of other programs: read, brought over, and compared with what came of them."""

from everfit.foreign.model import Count, Kind, Report
from everfit.foreign.service import import_mlflow

__all__ = ["Count", "Kind", "Report", "import_mlflow"]
