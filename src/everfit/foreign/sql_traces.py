"""Traces in MLflow's database.

A newer version keeps some texts of a trace in columns of their own, and spans in a table where an
older one kept a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from everfit.foreign import entities
from everfit.foreign.entities import Row
from everfit.foreign.model import ForeignTrace
from everfit.foreign.sql_rows import SqlRows
from everfit.mlflow_api.traces import ARCHIVED, IN_DATABASE, LOCATION_TAG, SPANS_TAG

OF_TRACES = ("trace_info", "trace_tags", "trace_request_metadata", "spans", "entity_associations")
NAME_TAG, SESSION = "mlflow.traceName", "mlflow.trace.session"
# Metadata that is an object of JSON, with the columns that now hold its values under their keys.
IN_COLUMNS = {
    "mlflow.trace.tokenUsage": (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_tokens_above_1hr",
    ),
    "mlflow.trace.cost": ("input_cost", "output_cost", "total_cost"),
}


class SqlTraces:
    """The traces of MLflow's database behind the port ``ForeignTraces``."""

    def __init__(self, rows: SqlRows) -> None:
        self._there = rows

    def ids(self) -> list[str]:
        """Return the ids of all traces, by experiment and time."""
        if "trace_info" not in self._there.tables:
            return []
        info = self._there.tables["trace_info"].c
        query = sa.select(info.request_id).where(self._there.in_our_experiments(info.experiment_id))
        query = query.order_by(info.experiment_id, info.timestamp_ms, info.request_id)
        return list(self._there.connection.execute(query).scalars())

    def some(self, ids: Sequence[str]) -> list[ForeignTrace]:
        """Return these traces without their spans."""
        tags = self._there.texts("trace_tags", "request_id", ids)
        metadata = self._there.texts("trace_request_metadata", "request_id", ids)
        runs: dict[str, list[str]] = {}
        for row in self._there.rows("entity_associations", "source_id", ids):
            if (row["source_type"], row["destination_type"]) == ("trace", "run"):
                runs.setdefault(row["source_id"], []).append(row["destination_id"])

        def build(row: Row) -> ForeignTrace:
            id = row["request_id"]
            known = tags.get(id, {}) | _name_in_column(row)
            noted = metadata.get(id, {}) | _metadata_in_columns(row)
            return ForeignTrace(
                trace=entities.trace(row, noted, known),
                artifact_uri=known.get(LOCATION_TAG, ""),
                runs=tuple(sorted(runs.get(id, ()))),
                in_database=known.get(SPANS_TAG) == IN_DATABASE,
                archived=known.get(SPANS_TAG) == ARCHIVED,
            )

        rows = self._there.rows("trace_info", "request_id", ids)
        return self._there.read(rows, lambda row: f"trace {row['request_id']}", build)

    def spans(self, trace_id: str) -> bytes | None:
        """Return spans that lie in the database as clients write them to a file, or None."""
        if "spans" not in self._there.tables:
            return None
        spans = self._there.tables["spans"].c
        query = sa.select(spans.content).where(spans.trace_id == trace_id, spans.content != "")
        query = query.order_by(
            spans.parent_span_id.is_not(None), spans.start_time_unix_nano, spans.span_id
        )
        contents = [text.encode() for text in self._there.connection.execute(query).scalars()]
        return b'{"spans": [' + b", ".join(contents) + b"]}" if contents else None

    def left_out(self) -> dict[str, int]:
        """Return how many there are of what belongs to traces and does not come over."""
        return {
            "archived spans of traces": self._count("trace_tags", key=SPANS_TAG, value=ARCHIVED),
            "links of traces to prompts": self._count(
                "entity_associations", source_type="trace", destination_type="prompt_version"
            ),
        }

    def _count(self, name: str, **wanted: str) -> int:
        table = self._there.tables.get(name)
        if table is None:
            return 0
        where = [table.c[column] == value for column, value in wanted.items()]
        query = sa.select(sa.func.count()).select_from(table).where(*where)
        return int(self._there.connection.execute(query).scalar_one())


def _name_in_column(row: Row) -> dict[str, str]:
    return {NAME_TAG: row["trace_name"]} if row.get("trace_name") is not None else {}


def _metadata_in_columns(row: Row) -> dict[str, str]:
    """Return the metadata that lie in columns, written as MLflow writes them for its clients."""
    found = {SESSION: row["session_id"]} if row.get("session_id") is not None else {}
    for key, columns in IN_COLUMNS.items():
        values = {name: row[name] for name in columns if row.get(name) is not None}
        if values:
            found[key] = json.dumps(values)
    return found
