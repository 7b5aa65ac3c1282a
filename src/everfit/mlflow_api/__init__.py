"""MLflow's REST interface, translated into the services of tracking and registry."""

from everfit.mlflow_api.dispatch import Api, Call, Endpoint, Request
from everfit.mlflow_api.refusals import no_endpoint, refusal
from everfit.mlflow_api.routes import PROTOCOL_VERSION, ROUTES, Route

__all__ = [
    "PROTOCOL_VERSION",
    "ROUTES",
    "Api",
    "Call",
    "Endpoint",
    "Request",
    "Route",
    "no_endpoint",
    "refusal",
]
