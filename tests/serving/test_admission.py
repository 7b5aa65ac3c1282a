"""Who is let in: bounds in number and in time, shares of clients, and when to come again."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import EndpointFull, EverfitError, Overloaded
from everfit.serving.admission import MOST_CLIENTS, SHARE_SECONDS, Admission, Why
from everfit.serving.model import Bounds


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admission(clock: Clock | None = None, **bounds: float) -> Admission:
    wanted = Bounds(**{"in_flight": 64, "crowd": 64, **bounds})  # type: ignore[arg-type]
    return Admission("bike", wanted, clock=clock or Clock())


def entered(at: Admission, client: str, tries: int, stack: ExitStack) -> list[EverfitError]:
    """Let a client try so often; keep its places on ``stack`` and return its refusals."""
    refused = []
    for _ in range(tries):
        try:
            stack.enter_context(at.enter(client))
        except EverfitError as error:
            refused.append(error)
    return refused


def test_a_client_alone_has_every_place_but_those_for_newcomers() -> None:
    at = admission()
    with ExitStack() as stack:
        refused = entered(at, "hog", 80, stack)
        assert (at.inside, len(refused)) == (56, 24)
        assert {type(error) for error in refused} == {EndpointFull}
        assert "56 requests are being answered already" in str(refused[0])
        assert entered(at, "new", 1, stack) == []
    assert at.inside == 0
    assert at.is_roomy is False  # two clients were here a moment ago
    assert entered(at, "hog", 1, ExitStack()) == []


def test_nothing_is_learned_from_who_waited_for_something_else() -> None:
    clock = Clock()
    at = admission(clock)
    for seconds, waited in ((0.01, False), (30.0, True), (0.01, False)):
        with at.enter():
            clock.now += seconds
            if waited:
                at.learn_from_now()
    with at.enter(), at.enter(left=0.02):
        assert at.inside == 2


def test_who_asks_always_leaves_others_their_share() -> None:
    at = admission()
    with ExitStack() as others, ExitStack() as hogs:
        entered(at, "hog", 56, hogs)
        assert entered(at, "other", 1, others) == []
        hogs.close()
        # Half of it is kept for the other one, whatever the hog asks for.
        refused = entered(at, "hog", 100, hogs)
        assert {type(error) for error in refused} == {Overloaded}
        assert len(refused) == 100 - 32
        assert at.why_not("hog") is Why.SHARE
        assert "has its share of the 64 requests that endpoint 'bike'" in str(refused[0])
        assert entered(at, "other", 20, others) == []


def test_the_share_of_a_client_that_asks_no_more_is_given_to_others() -> None:
    clock = Clock()
    at = admission(clock)
    with at.enter("gone"):
        pass
    clock.now += SHARE_SECONDS + 0.1
    with ExitStack() as stack:
        assert len(entered(at, "hog", 56, stack)) == 0


def test_a_few_places_are_all_for_anybody() -> None:
    at = admission(in_flight=2, crowd=2)
    with at.enter(), at.enter():
        with pytest.raises(EndpointFull):
            at.enter()
        assert not at.is_roomy
    assert at.is_roomy


def answered(at: Admission, clock: Clock, together: int, seconds: float, times: int = 40) -> None:
    for _ in range(times):
        with ExitStack() as stack:
            for _ in range(together):
                stack.enter_context(at.enter())
            clock.now += seconds


def test_as_many_more_are_let_in_as_are_answered_soon() -> None:
    clock = Clock()
    at = admission(clock, crowd=500, queue_seconds=0.1)
    answered(at, clock, 40, 0.5)
    assert at.places == 64  # about forty a second: no more than it has anyway
    answered(at, clock, 40, 0.01)
    assert 150 < at.places < 500
    answered(at, clock, 40, 0.0001)
    assert at.places == 500
    # One bad moment is not what it can do; a slow model is.
    answered(at, clock, 40, 2.0, times=1)
    assert at.places > 400
    answered(at, clock, 40, 2.0, times=400)
    assert at.places == 64


def test_a_refusal_says_how_long_those_inside_take() -> None:
    clock = Clock()
    at = admission(clock, in_flight=4)
    answered(at, clock, 4, 2.5)
    with ExitStack() as stack:
        (refused,) = entered(at, "", 5, stack)
        assert refused.context["retry_after_seconds"] == 3
    fresh = admission()
    assert fresh.refusal(Why.FULL).context["retry_after_seconds"] == 1


def test_who_wants_its_answer_sooner_than_the_queue_is_through_is_refused_at_once() -> None:
    clock = Clock()
    at = admission(clock)
    answered(at, clock, 20, 1.0)
    with ExitStack() as stack:
        entered(at, "", 20, stack)
        with pytest.raises(
            EndpointFull, match=r"takes about 1 s, and the answer is wanted in 0\.5"
        ):
            at.enter(left=0.5)
        with at.enter(left=1.5):
            pass
    # Where nobody waits nothing is guessed: what took long may be quick now.
    with at.enter(left=0.001):
        pass


def test_made_up_clients_cost_no_memory() -> None:
    at = admission()
    for number in range(2 * MOST_CLIENTS):
        with at.enter(f"client {number}"):
            pass
    assert at.clients <= MOST_CLIENTS + 1


def test_a_failed_request_gives_its_place_back_and_teaches_nothing() -> None:
    clock = Clock()
    at = admission(clock)

    def fail() -> None:
        with at.enter():
            clock.now += 100
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert at.inside == 0
    assert at.refusal(Why.FULL).context["retry_after_seconds"] == 1


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_places_are_never_more_than_the_bound_and_none_is_lost(
    steps: list[tuple[str, bool]],
) -> None:
    at = admission(in_flight=16, crowd=16)
    held: dict[str, list[ExitStack]] = {name: [] for name in "abcd"}
    for client, comes in steps:
        if comes:
            stack = ExitStack()
            if not entered(at, client, 1, stack):
                held[client].append(stack)
        elif held[client]:
            held[client].pop().close()
        assert at.inside == sum(map(len, held.values())) <= 16
        # Who holds less than an equal share is refused only where everything is taken.
        mine = len(held[client])
        if mine < 16 // 4 and at.inside < 14:
            assert at.why_not(client) is None


def test_many_threads_may_ask() -> None:
    at = admission()
    most = []

    def ask(client: str) -> None:
        for _ in range(2_000):
            with ExitStack() as stack:
                entered(at, client, 1, stack)
                most.append(at.inside)

    threads = [threading.Thread(target=ask, args=(f"c{n % 3}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at.inside == 0
    assert max(most) <= 64
