"""Counts as values: merged in any order, carried over, and read by Prometheus' own parser."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import ENDPOINT

from everfit.kernel import Workspace
from everfit.serving.admission import Admission
from everfit.serving.counts import EDGES, SERVER, Counts, Process, merged, merged_endpoints
from everfit.serving.exposition import exposition
from everfit.serving.families import FAMILIES
from everfit.serving.model import Answers, Bounds
from everfit.serving.traffic import Tally, Traffic

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAMPION = Answers(ids=["p"], predictions=[1.0], scores=None, versions=[1], arms=["champion"])
MIXED = Answers(
    ids=["a", "b", "c"],
    predictions=[1.0, 2.0, 3.0],
    scores=None,
    versions=[1, 2, 1],
    arms=["champion", "canary", "canary"],
    candidate=2,
    failed="boom",
)
events = st.lists(
    st.tuples(
        st.sampled_from(["POST /predict/{name}", "rpc ModelInfer", "local"]),
        st.sampled_from([200, 422, 503]),
        st.floats(0, 100),
        st.sampled_from([None, "overloaded", "invalid"]),
    ),
    max_size=20,
)


def admission(bound: int = 2) -> Admission:
    return Admission(ENDPOINT, Bounds(in_flight=bound, crowd=bound))


def traffic(workspace: Workspace, writer: str = "w", **options: Any) -> Traffic:
    options = {"admission": admission(), **options}
    return Traffic(workspace, ENDPOINT, writer=writer, durable=False, **options)


def samples(text: str) -> dict[str, Any]:
    """Return every sample by name and labels, as Prometheus' own parser reads them."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_edges_are_fine_enough_for_a_percentile_at_a_millisecond() -> None:
    assert list(EDGES) == sorted(set(EDGES))
    assert all(high / low < 1.3 for low, high in pairwise(EDGES))
    assert {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0} <= set(EDGES)


@given(st.lists(events, max_size=4))
def test_merged_counts_are_those_of_one_that_saw_everything(parts: list[Any]) -> None:
    everything, each = Tally(), []
    for part in parts:
        tally = Tally()
        for event in part:
            tally.count(*event)
            everything.count(*event)
        each.append(tally.counts())
    together, whole = merged(each), everything.counts()
    assert together.requests.keys() == whole.requests.keys()
    for route, statuses in whole.requests.items():
        for status, latencies in statuses.items():
            found = together.requests[route][status]
            assert found.buckets == latencies.buckets
            assert found.seconds == pytest.approx(latencies.seconds)
    assert together.refusals == whole.refusals
    assert merged([together, Counts()]).requests == together.requests
    again = msgspec.json.decode(msgspec.json.encode(together), type=Counts)
    assert again == together


def test_what_is_true_of_several_processes_is_not_what_is_added_up() -> None:
    first, second = Counts(), Counts()
    first.present.revision, second.present.revision = 7, 6
    first.process, second.process = Process(started=20.0, threads=2), Process(started=10.0)
    both = merged_endpoints([{"bike": first}, {"bike": second}, {"churn": first}])
    assert both["bike"].present.revision == 6
    assert both["bike"].process == Process(processes=2, started=10.0, threads=2)
    assert both["churn"] == first
    second.present.revision = None
    assert merged([first, second]).present.revision is None


def test_requests_are_counted_by_version_and_arm(workspace: Workspace) -> None:
    with traffic(workspace) as counted:
        counted.note(NOW, 200, 1.2, CHAMPION, route="POST /predict/{name}")
        counted.note(NOW, 200, 30.0, MIXED, route="POST /predict/{name}")
        counted.note(NOW, 429, 0.1, rows=4, route="rpc ModelInfer", refused="overloaded")
        counts = counted.counts()
    served = {(v, arm): s for v, arms in counts.served.items() for arm, s in arms.items()}
    assert {pair: one.predictions for pair, one in served.items()} == {
        (1, "champion"): 2,
        (2, "canary"): 1,
        (1, "canary"): 1,
    }
    assert served[1, "champion"].latencies.seconds == pytest.approx(0.0312)
    assert counts.failures == {2: 3}
    assert counts.refusals == {"overloaded": 1}


def test_a_successor_goes_on_from_what_was_counted(workspace: Workspace) -> None:
    before_it = admission()
    with traffic(workspace, "first", admission=before_it) as first, before_it.enter():
        first.note(NOW, 200, 1.0, CHAMPION)
        before = first.counts()
    with traffic(workspace, "second", admission=admission(9)) as second:
        second.begin_from(before)
        second.note(NOW, 200, 1.0, CHAMPION)
        counts = second.counts()
    assert counts.served[1]["champion"].predictions == 2
    assert counts.requests["local"][200].count == 2
    assert (counts.present.in_flight, counts.present.bound) == (0, 9)
    assert before.requests["local"][200].count == 1


def test_time_at_the_bound_is_counted_while_it_lasts_too(workspace: Workspace) -> None:
    door = admission()
    with traffic(workspace, admission=door) as counted:
        with door.enter():
            assert counted.counts().full_seconds == 0
            with door.enter():
                time.sleep(0.02)
                assert counted.counts().full_seconds >= 0.02
                assert counted.counts().present.in_flight == 2
        full = counted.counts().full_seconds
        assert full >= 0.02
        time.sleep(0.01)
        assert counted.counts().full_seconds == full


def test_every_family_is_read_by_prometheus_parser(workspace: Workspace) -> None:
    with traffic(workspace) as counted:
        counted.note(NOW, 200, 1.0, MIXED, route="POST /predict/{name}")
        counted.note(NOW, 422, 1.1, route="rpc inference/ModelInfer", refused="invalid")
        with counted.loading(3, {1, 2}), counted.asking(5), counted.logging():
            pass
        counts = counted.counts()
    server = Counts(process=Process(cpu_seconds=1.5))
    text = exposition({SERVER: server, 'a "b"\\\nc': counts})
    found = list(text_string_to_metric_families(text))
    # The parser leaves the end of a counter's name off.
    assert [family.name for family in found] == [f.name.removesuffix("_total") for f in FAMILIES]
    assert [family.type for family in found] == [family.kind for family in FAMILIES]
    assert all(family.documentation for family in found)
    names = {sample.labels.get("endpoint") for family in found for sample in family.samples}
    assert names == {None, 'a "b"\\\nc'}
    for family in found:
        if family.type == "histogram":
            assert_histogram(family.samples)


def assert_histogram(found: list[Any]) -> None:
    """Assert that buckets only grow and that the last one is the count."""
    below = 0.0
    for sample in found:
        if sample.name.endswith("_bucket"):
            assert sample.value >= below
            below = sample.value
        elif sample.name.endswith("_count"):
            assert sample.value == below
            below = 0.0


def test_two_scrapes_of_merged_servers_never_go_back() -> None:
    tally = Tally()
    tally.count("GET /metrics", 200, 0.001)
    first = samples(exposition({SERVER: merged([tally.counts(), tally.counts()])}))
    tally.count("GET /metrics", 200, 0.5)
    second = samples(exposition({SERVER: merged([tally.counts(), tally.counts()])}))
    assert first.keys() == second.keys()
    assert all(second[key] >= value for key, value in first.items())


def test_to_note_a_request_takes_a_few_microseconds(workspace: Workspace) -> None:
    with traffic(workspace) as counted:
        note = partial(counted.note, NOW, 200, 1.0, CHAMPION, route="POST /predict/{name}")
        note()
        best = min(_timed(note) for _ in range(5))
    # Ten times what it takes: the machine may be busy.
    assert best < 20e-6


def _timed(note: Any) -> float:
    began = time.perf_counter()
    for _ in range(1_000):
        note()
    return (time.perf_counter() - began) / 1_000
