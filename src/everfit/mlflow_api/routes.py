"""Every call of MLflow's that is answered: method, path, handler, and whether it writes.

``docs/mlflow.md`` is made of this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from everfit.mlflow_api import (
    artifacts,
    experiments,
    inputs,
    logged,
    models,
    old_traces,
    registered,
    runs,
    traces,
    versions,
)
from everfit.mlflow_api.dispatch import Endpoint, brief, read, write

# The release of MLflow whose calls these are.
PROTOCOL_VERSION = "3.17.2"
PREFIXES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
ROOTS = ("/api/2.0", "/ajax-api/2.0")
PREFIXES_3 = ("/api/3.0/mlflow", "/ajax-api/3.0/mlflow")
BOTH = (*PREFIXES, *PREFIXES_3)


@dataclass(frozen=True, slots=True)
class Route:
    """One call: its method, its path below the prefixes, and its endpoint."""

    method: str
    path: str
    endpoint: Endpoint
    prefixes: tuple[str, ...] = PREFIXES

    @property
    def paths(self) -> list[str]:
        """Return the whole paths at which the call is answered."""
        return [prefix + self.path for prefix in self.prefixes]


ROUTES: tuple[Route, ...] = (
    Route("POST", "/experiments/create", write(experiments.create)),
    Route("GET", "/experiments/get", read(experiments.get)),
    Route("GET", "/experiments/get-by-name", read(experiments.get_by_name)),
    Route("POST", "/experiments/search", read(experiments.search)),
    Route("GET", "/experiments/search", read(experiments.search)),
    Route("POST", "/experiments/update", write(experiments.update)),
    Route("POST", "/experiments/delete", write(experiments.delete)),
    Route("POST", "/experiments/restore", write(experiments.restore)),
    Route("POST", "/experiments/set-experiment-tag", write(experiments.set_tag)),
    Route("POST", "/experiments/delete-experiment-tag", write(experiments.delete_tag)),
    Route("POST", "/runs/create", write(runs.create)),
    Route("GET", "/runs/get", read(runs.get)),
    Route("POST", "/runs/search", read(runs.search)),
    Route("POST", "/runs/update", write(runs.update)),
    Route("POST", "/runs/delete", write(runs.delete)),
    Route("POST", "/runs/restore", write(runs.restore)),
    Route("POST", "/runs/log-metric", brief(logged.log_metric)),
    Route("POST", "/runs/log-parameter", brief(logged.log_param)),
    Route("POST", "/runs/log-batch", write(logged.log_batch)),
    Route("POST", "/runs/set-tag", brief(logged.set_tag)),
    Route("POST", "/runs/delete-tag", write(logged.delete_tag_of_run)),
    Route("GET", "/metrics/get-history", read(logged.get_history)),
    Route("GET", "/metrics/get-history-bulk", read(logged.get_bulk)),
    Route("GET", "/metrics/get-history-bulk-interval", read(logged.get_interval)),
    Route("POST", "/traces", write(traces.start), PREFIXES_3),
    Route("GET", "/traces/{trace_id}", read(traces.get), PREFIXES_3),
    Route("POST", "/traces/search", read(traces.search), PREFIXES_3),
    Route("POST", "/traces/batchGetInfos", read(traces.get_infos), PREFIXES_3),
    Route("PATCH", "/traces/{trace_id}/tags", write(traces.set_tag), BOTH),
    Route("DELETE", "/traces/{trace_id}/tags", write(traces.delete_tag), BOTH),
    Route("POST", "/traces/delete-traces", write(traces.delete), BOTH),
    Route("POST", "/traces/link-to-run", write(traces.link), BOTH),
    Route("POST", "/traces", write(old_traces.start)),
    Route("PATCH", "/traces/{trace_id}", write(old_traces.end)),
    Route("GET", "/traces/{trace_id}/info", read(old_traces.get)),
    Route("GET", "/traces", read(old_traces.search)),
    Route("GET", "/artifacts/list", read(artifacts.list_of_run)),
    Route("GET", "/mlflow-artifacts/artifacts", read(artifacts.list_tree), ROOTS),
    Route("DELETE", "/mlflow-artifacts/artifacts/{path...}", write(artifacts.delete_tree), ROOTS),
    Route("POST", "/runs/log-inputs", write(inputs.log)),
    Route("POST", "/runs/outputs", write(inputs.log_models)),
    Route("POST", "/runs/log-model", write(logged.log_model)),
    Route("POST", "/experiments/search-datasets", read(inputs.search)),
    Route("POST", "/logged-models", write(models.create)),
    Route("POST", "/logged-models/search", read(models.search)),
    Route("GET", "/logged-models/{model_id}", read(models.get)),
    Route("PATCH", "/logged-models/{model_id}", write(models.finalize)),
    Route("DELETE", "/logged-models/{model_id}", write(models.delete)),
    Route("POST", "/logged-models/{model_id}/params", write(models.log_params)),
    Route("PATCH", "/logged-models/{model_id}/tags", write(models.set_tags)),
    Route("DELETE", "/logged-models/{model_id}/tags/{tag_key}", write(models.delete_tag)),
    Route("GET", "/logged-models/{model_id}/artifacts/directories", read(models.list_files)),
    Route("POST", "/registered-models/create", write(registered.create)),
    Route("GET", "/registered-models/get", read(registered.get)),
    Route("GET", "/registered-models/search", read(registered.search)),
    Route("POST", "/registered-models/rename", write(registered.rename)),
    Route("PATCH", "/registered-models/update", write(registered.update)),
    Route("DELETE", "/registered-models/delete", write(registered.delete)),
    Route("POST", "/registered-models/set-tag", write(registered.set_tag)),
    Route("DELETE", "/registered-models/delete-tag", write(registered.delete_tag)),
    Route("POST", "/registered-models/alias", write(registered.point_alias)),
    Route("DELETE", "/registered-models/alias", write(registered.drop_alias)),
    Route("GET", "/registered-models/alias", read(registered.by_alias)),
    Route("GET", "/registered-models/get-latest-versions", read(registered.latest)),
    Route("POST", "/registered-models/get-latest-versions", read(registered.latest)),
    Route("POST", "/model-versions/create", write(versions.create)),
    Route("GET", "/model-versions/get", read(versions.get)),
    Route("GET", "/model-versions/search", read(versions.search)),
    Route("GET", "/model-versions/get-download-uri", read(versions.download_uri)),
    Route("PATCH", "/model-versions/update", write(versions.update)),
    Route("DELETE", "/model-versions/delete", write(versions.delete)),
    Route("POST", "/model-versions/transition-stage", write(versions.transition)),
    Route("POST", "/model-versions/set-tag", write(versions.set_tag)),
    Route("DELETE", "/model-versions/delete-tag", write(versions.delete_tag)),
)
