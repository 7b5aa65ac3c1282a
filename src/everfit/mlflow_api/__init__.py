"""MLflow's REST interface, translated into the services of tracking and registry."""

from everfit.mlflow_api.dispatch import Api, Call, Endpoint, Request
from everfit.mlflow_api.refusals import no_endpoint, refusal
from everfit.mlflow_api.routes import ROUTES, Route

__all__ = [
    "ROUTES",
    "Api",
    "Call",
    "Endpoint",
    "Request",
    "Route",
    "no_endpoint",
    "refusal",
]
