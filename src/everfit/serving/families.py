"""The metrics: each with its name, kind, help, and the samples that it has of an endpoint. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from everfit.serving.counts import EDGES, SIZES, Counts, Latencies, Process
from everfit.serving.refusals import RPC_CODES

Labels = Mapping[str, object]
Samples = Iterator[tuple[str, Labels, float]]
RPC, LOCAL = "rpc", "local"
OTHERS = {RPC, LOCAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: ``samples`` are, for one endpoint, the ends of their names, labels and values."""

    name: str
    kind: str
    help: str
    samples: Callable[[Counts], Samples]


def _histogram(
    labels: Labels, edges: Sequence[float], buckets: Iterable[int], total: float
) -> Samples:
    below = 0
    for edge, count in zip((*edges, "+Inf"), buckets, strict=True):
        below += count
        yield "_bucket", {**labels, "le": edge}, below
    yield "_sum", labels, total
    yield "_count", labels, below


def _durations(labels: Labels, latencies: Latencies) -> Samples:
    return _histogram(labels, EDGES, latencies.buckets, latencies.seconds)


def _http(counts: Counts) -> Samples:
    for route, statuses in sorted(counts.requests.items()):
        method, _, path = route.partition(" ")
        if method in OTHERS:
            continue
        for status, latencies in sorted(statuses.items()):
            labels = {
                "http_request_method": method,
                "http_route": path,
                "http_response_status_code": status,
            }
            yield from _durations(labels, latencies)


def _rpc(counts: Counts) -> Samples:
    for route, statuses in sorted(counts.requests.items()):
        protocol, _, method = route.partition(" ")
        if protocol != RPC:
            continue
        for status, latencies in sorted(statuses.items()):
            code = RPC_CODES.get(status, RPC_CODES[500])
            labels = {
                "rpc_system_name": "grpc",
                "rpc_method": method,
                "rpc_response_status_code": code,
                "status": status,
            }
            yield from _durations(labels, latencies)


def _requests(counts: Counts) -> Samples:
    totals: dict[int, int] = {}
    for statuses in counts.requests.values():
        for status, latencies in statuses.items():
            totals[status] = totals.get(status, 0) + latencies.count
    for status, total in sorted(totals.items()):
        yield "", {"status": status}, total


def _predictions(counts: Counts) -> Samples:
    for version, arms in sorted(counts.served.items()):
        for arm, served in sorted(arms.items()):
            yield "", {"version": version, "arm": arm}, served.predictions


def _arms(counts: Counts) -> Samples:
    for version, arms in sorted(counts.served.items()):
        for arm, served in sorted(arms.items()):
            yield from _durations({"version": version, "arm": arm}, served.latencies)


def _failures(counts: Counts) -> Samples:
    for version, rows in sorted(counts.failures.items()):
        yield "", {"version": version}, rows


def _refusals(counts: Counts) -> Samples:
    for reason, total in sorted(counts.refusals.items()):
        yield "", {"reason": reason}, total


def _batches(counts: Counts) -> Samples:
    if counts.process is None:
        yield from _histogram({}, SIZES, counts.batches.buckets, counts.batches.rows)


def _asks(counts: Counts) -> Samples:
    if counts.process is None:
        yield from _durations({}, counts.asks)


def _cpu(counts: Counts) -> Samples:
    for part, seconds in sorted(counts.cpu_seconds.items()):
        yield "", {"part": part}, seconds


def _appends(counts: Counts) -> Samples:
    if counts.process is None:
        yield from _durations({}, counts.appends)


def _loads(counts: Counts) -> Samples:
    if counts.process is None:
        yield "_sum", {}, counts.loads.seconds
        yield "_count", {}, counts.loads.count


def _value(read: Callable[[Counts], float | None], **labels: object) -> Callable[[Counts], Samples]:
    """Return the one sample of an endpoint that ``read`` gives; none where it gives None."""

    def samples(counts: Counts) -> Samples:
        value = read(counts) if counts.process is None else None
        if value is not None:
            yield "", labels, value

    return samples


def _of_process(read: Callable[[Process], float]) -> Callable[[Counts], Samples]:
    def samples(counts: Counts) -> Samples:
        if counts.process is not None:
            yield "", {}, read(counts.process)

    return samples


FAMILIES = (
    Family(
        name="http_server_request_duration_seconds",
        kind="histogram",
        help="Duration of HTTP server requests, from when their first byte was read.",
        samples=_http,
    ),
    Family(
        name="http_server_active_requests",
        kind="gauge",
        help="Number of active HTTP server requests that ask for predictions or bring labels.",
        samples=_value(lambda counts: counts.present.in_flight, http_request_method="POST"),
    ),
    Family(
        name="rpc_server_call_duration_seconds",
        kind="histogram",
        help="Duration of incoming gRPC calls; status is that of the same answer over HTTP.",
        samples=_rpc,
    ),
    Family(
        name="everfit_requests_total",
        kind="counter",
        help="Requests over HTTP, gRPC and within the process, by HTTP status.",
        samples=_requests,
    ),
    Family(
        name="everfit_predictions_total",
        kind="counter",
        help="Rows answered, by the version that answered and the arm they were assigned to.",
        samples=_predictions,
    ),
    Family(
        name="everfit_prediction_duration_seconds",
        kind="histogram",
        help="Duration of answered requests, by every version and arm that had a part in them.",
        samples=_arms,
    ),
    Family(
        name="everfit_candidate_errors_total",
        kind="counter",
        help="Rows for which the candidate failed; the champion answered.",
        samples=_failures,
    ),
    Family(
        name="everfit_refusals_total",
        kind="counter",
        help="Requests that were refused or failed, by the code of the error.",
        samples=_refusals,
    ),
    Family(
        name="everfit_batch_rows",
        kind="histogram",
        help="Rows that the model was asked for together.",
        samples=_batches,
    ),
    Family(
        name="everfit_model_duration_seconds",
        kind="histogram",
        help="Time to ask the model once, for the rows of one or more requests.",
        samples=_asks,
    ),
    Family(
        name="everfit_in_flight",
        kind="gauge",
        help="Requests being answered.",
        samples=_value(lambda counts: counts.present.in_flight),
    ),
    Family(
        name="everfit_in_flight_limit",
        kind="gauge",
        help="Requests that may be answered at once; what comes beyond is refused.",
        samples=_value(lambda counts: counts.present.bound),
    ),
    Family(
        name="everfit_saturated_seconds_total",
        kind="counter",
        help="Time during which as many requests were inside as may be; its rate is a share.",
        samples=_value(lambda counts: counts.full_seconds),
    ),
    Family(
        name="everfit_log_append_seconds",
        kind="histogram",
        help="Time to bring answers into the prediction log, and to disk where it is durable.",
        samples=_appends,
    ),
    Family(
        name="everfit_model_load_seconds",
        kind="summary",
        help="Time to load and warm the models of a plan, when it comes or is asked again.",
        samples=_loads,
    ),
    Family(
        name="everfit_model_loaded",
        kind="gauge",
        help="Processes that hold the models in memory; elsewhere the next request loads them.",
        samples=_value(lambda counts: counts.present.loaded),
    ),
    Family(
        name="everfit_model_memory_bytes",
        kind="gauge",
        help="Resident memory that loading the models in memory added.",
        samples=_value(lambda counts: counts.present.model_bytes),
    ),
    Family(
        name="everfit_plan_revision",
        kind="gauge",
        help="Revision of the serving plan in use.",
        samples=_value(lambda counts: counts.present.revision),
    ),
    Family(
        name="everfit_ready",
        kind="gauge",
        help="1 if there is a model to answer with, in memory or on demand, else 0.",
        samples=_value(lambda counts: int(counts.present.revision is not None)),
    ),
    Family(
        name="everfit_cpu_seconds_total",
        kind="counter",
        help="CPU time, by part: asking the model, logging, loading, and its share of all else.",
        samples=_cpu,
    ),
    Family(
        name="everfit_memory_gib_seconds_total",
        kind="counter",
        help="Memory held over time, of the models and an equal part of the process's, in GiB-s.",
        samples=_value(lambda counts: counts.gib_seconds),
    ),
    Family(
        name="process_cpu_seconds_total",
        kind="counter",
        help="Total user and system CPU time spent in seconds, of all worker processes.",
        samples=_of_process(lambda process: process.cpu_seconds),
    ),
    Family(
        name="process_resident_memory_bytes",
        kind="gauge",
        help="Resident memory size in bytes, of all worker processes.",
        samples=_of_process(lambda process: process.resident_bytes),
    ),
    Family(
        name="process_virtual_memory_bytes",
        kind="gauge",
        help="Virtual memory size in bytes, of all worker processes.",
        samples=_of_process(lambda process: process.virtual_bytes),
    ),
    Family(
        name="process_start_time_seconds",
        kind="gauge",
        help="Start time of the process since unix epoch in seconds; of several, the earliest.",
        samples=_of_process(lambda process: process.started),
    ),
    Family(
        name="process_open_fds",
        kind="gauge",
        help="Number of open file descriptors, of all worker processes.",
        samples=_of_process(lambda process: process.open_files),
    ),
    Family(
        name="process_max_fds",
        kind="gauge",
        help="Maximum number of open file descriptors, of all worker processes.",
        samples=_of_process(lambda process: process.most_files),
    ),
    Family(
        name="process_threads",
        kind="gauge",
        help="Number of threads, of all worker processes.",
        samples=_of_process(lambda process: process.threads),
    ),
    Family(
        name="everfit_processes",
        kind="gauge",
        help="Number of processes that this page adds up.",
        samples=_of_process(lambda process: process.processes),
    ),
)
