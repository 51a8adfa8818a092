"""Every decision about a session, as storyboards without a service."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions import LocalWorkspace, ManualClock, PoolClosed, SessionHandle, SessionPool
from cirq_azure_sessions.model import Session, SessionStatus
from cirq_azure_sessions.sessions.table import Generation, SessionTable, State, Step

TARGET = "local.simulator"


class _Clock(ManualClock):
    """Calls `interrupt` whenever its time is read."""

    def interrupt(self) -> None:
        pass

    def monotonic(self) -> float:
        now = super().monotonic()
        self.interrupt()
        return now


class Desk:
    """A table, its clock, and what a lifecycle does to it."""

    def __init__(self) -> None:
        self.clock = _Clock()
        self.table = SessionTable(max_idle=540.0, clock=self.clock)
        self.workspace = LocalWorkspace(clock=self.clock)
        self._pool = SessionPool(self.workspace, clock=self.clock)

    def session(self, session_id: str = "s") -> SessionHandle:
        session = Session(session_id, TARGET, "mine", SessionStatus.WAITING)
        return SessionHandle(session, self.workspace, self._pool)

    def decide(
        self, *, trusted: Generation | None = None, for_job: bool = False
    ) -> tuple[Step, Generation]:
        return self.table.decide(TARGET, self.workspace, trusted=trusted, for_job=for_job)

    def open(self) -> Generation:
        _, generation = self.decide()
        generation.session = self.session()
        self.table.settle(generation, is_open=True)
        return generation

    def attach(self, session_id: str) -> Generation:
        self.table.attach(self.session(session_id), self.workspace, adopted=True)
        return next(each for each in self.table.generations() if each.session_id == session_id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# Finding a session


def test_the_first_caller_opens_and_the_others_wait(desk: Desk) -> None:
    step, generation = desk.decide()
    assert step is Step.OPEN
    assert desk.decide() == (Step.WAIT, generation)
    assert repr(desk.table) == "local.simulator OPENING"


def test_an_open_session_is_reused_within_max_idle_of_its_last_use(desk: Desk) -> None:
    generation = desk.open()
    for _ in range(3):
        desk.clock.advance(539)
        assert desk.decide(for_job=True) == (Step.TAKE, generation)
    assert repr(desk.table) == "local.simulator OPEN 3 jobs"


def test_past_max_idle_one_caller_checks_and_the_others_wait(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    assert desk.table.take_fresh(TARGET) is None
    assert desk.decide() == (Step.CHECK, generation)
    assert desk.decide() == (Step.WAIT, generation)
    desk.table.settle(generation, is_open=True)
    assert desk.decide() == (Step.TAKE, generation)


def test_session_just_confirmed_is_used_even_after_a_slow_check(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    assert desk.decide(trusted=generation) == (Step.TAKE, generation)


def test_a_session_that_has_ended_is_replaced(desk: Desk) -> None:
    first = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.table.settle(first, is_open=False)
    assert repr(desk.table) == "no session"
    step, second = desk.decide()
    assert step is Step.OPEN
    assert second is not first


def test_a_first_use_is_no_reuse(desk: Desk) -> None:
    desk.open()
    reused = []
    for use in (lambda: desk.table.take_fresh(TARGET), lambda: desk.decide(for_job=True)):
        use()
        reused.append(desk.table.stats()["sessions_reused"])
    assert reused == [0, 1]


# On other threads than the one that changes the table


def test_threads_that_use_an_open_session_do_not_wait_for_each_other(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.interrupt = threading.Barrier(32, timeout=HANG_TIMEOUT).wait
    users = [in_background(desk.table.take_fresh, TARGET) for _ in range(32)]
    assert [user.result(HANG_TIMEOUT) for user in users] == [generation] * 32


def test_every_use_is_counted_on_any_number_of_threads(desk: Desk) -> None:
    desk.open()

    def use() -> None:
        for _ in range(100):
            desk.table.take_fresh(TARGET)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for user in [in_background(use) for _ in range(8)]:
            user.result(HANG_TIMEOUT)
    finally:
        sys.setswitchinterval(interval)
    # Reading the count does not change it.
    assert [desk.table.stats()["sessions_reused"] for _ in range(2)] == [799, 799]


@pytest.mark.parametrize(
    "end",
    [
        lambda desk, generation: desk.table.retire(generation),
        lambda desk, generation: desk.table.drain(generation),
        lambda desk, generation: setattr(desk.table, "is_closed", True),
    ],
    ids=["retire", "drain", "close"],
)
def test_a_session_that_ends_during_a_use_is_not_used_again(
    desk: Desk, end: Callable[[Desk, Generation], object]
) -> None:
    generation = desk.open()
    desk.clock.interrupt = lambda: end(desk, generation)
    assert desk.table.take_fresh(TARGET) is generation
    with suppress(PoolClosed):
        assert desk.table.take_fresh(TARGET) is None
        assert desk.decide()[0] is Step.OPEN


# Ending


def test_many_refusals_retire_a_session_once_and_leave_its_successor_alone(desk: Desk) -> None:
    first = desk.open()
    desk.decide(for_job=True)
    assert desk.table.retire(first)
    second = desk.open()
    assert not desk.table.retire(first)
    assert repr(desk.table) == "local.simulator LOST 1 job, local.simulator OPEN"
    desk.table.release(first)
    assert repr(desk.table) == "local.simulator OPEN"
    assert desk.decide() == (Step.TAKE, second)


def test_a_generation_is_idle_while_it_has_no_jobs(desk: Desk) -> None:
    generation = desk.open()
    idle = [generation.idle.is_set()]
    desk.decide(for_job=True)
    desk.decide(for_job=True)
    for _ in range(2):
        idle.append(generation.idle.is_set())
        desk.table.release(generation)
    assert [*idle, generation.idle.is_set()] == [True, False, False, True]


def test_a_session_that_could_not_be_checked_is_checked_again(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.table.settle(generation, is_open=None)
    assert desk.decide() == (Step.CHECK, generation)


def test_session_that_could_not_be_opened_is_dropped(desk: Desk) -> None:
    _, generation = desk.decide()
    desk.table.settle(generation, is_open=None)
    assert repr(desk.table) == "no session"
    assert desk.decide()[0] is Step.OPEN


def test_a_session_closed_by_hand_takes_no_more_jobs(desk: Desk) -> None:
    generation = desk.open()
    desk.decide(for_job=True)
    desk.table.drain(generation)
    assert repr(desk.table) == "local.simulator DRAINING 1 job"
    desk.table.retire(generation, State.CLOSED)
    assert repr(desk.table) == "local.simulator CLOSED 1 job"
    assert desk.decide()[0] is Step.OPEN
    assert desk.table.find("s") is None


def test_a_session_that_opens_while_the_pool_closes_is_closed_without_a_job(desk: Desk) -> None:
    _, generation = desk.decide()
    desk.table.is_closed = True
    generation.session = desk.session()
    desk.table.settle(generation, is_open=True)
    assert repr(desk.table) == "local.simulator DRAINING"
    assert generation.is_ours_to_close
    desk.table.retire(generation, State.CLOSED)
    assert repr(desk.table) == "no session"


@pytest.mark.parametrize(
    "use",
    [
        lambda desk: desk.decide(),
        lambda desk: desk.table.take_fresh(TARGET),
        lambda desk: desk.attach("other"),
        lambda desk: desk.table.check_open(),
    ],
    ids=["decide", "take_fresh", "attach", "check_open"],
)
def test_a_closed_table_hands_out_no_session(desk: Desk, use) -> None:
    desk.open()
    desk.table.is_closed = True
    with pytest.raises(PoolClosed, match="open a new SessionPool"):
        use(desk)


# Sessions from elsewhere


def test_an_adopted_session_is_left_to_its_opener(desk: Desk) -> None:
    _, generation = desk.decide()
    generation.session, generation.adopted = desk.session(), True
    desk.table.settle(generation, is_open=True)
    assert repr(desk.table) == "local.simulator OPEN adopted"
    assert not generation.is_ours_to_close


def test_an_attached_session_takes_the_jobs_and_the_former_one_drains(desk: Desk) -> None:
    former = desk.open()
    attached = desk.attach("other")
    assert desk.decide() == (Step.TAKE, attached)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"
    assert former.is_ours_to_close
    assert not attached.is_ours_to_close


def test_attaching_the_current_session_changes_nothing(desk: Desk) -> None:
    generation = desk.open()
    assert desk.attach("s") is generation
    assert repr(desk.table) == "local.simulator OPEN"


def test_a_former_session_may_be_attached_again(desk: Desk) -> None:
    former = desk.open()
    desk.attach("other")
    desk.attach("s")
    assert desk.decide() == (Step.TAKE, former)
    assert repr(desk.table) == "local.simulator OPEN, local.simulator DRAINING adopted"


def test_a_session_that_opens_while_another_is_attached_drains(desk: Desk) -> None:
    _, opening = desk.decide()
    attached = desk.attach("other")
    opening.session = desk.session()
    desk.table.settle(opening, is_open=True)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"
    assert desk.decide(trusted=opening) == (Step.TAKE, attached)


@pytest.mark.parametrize("answer", ["open", "none"])
def test_a_session_that_is_checked_while_another_is_attached_drains(
    desk: Desk, answer: str
) -> None:
    resting = desk.open()
    desk.clock.advance(541)
    desk.decide()
    attached = desk.attach("other")
    if answer == "open":
        desk.table.settle(resting, is_open=True)
    else:
        desk.table.settle(resting, is_open=None)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"
    assert desk.decide() == (Step.TAKE, attached)


def test_a_session_that_is_attached_while_it_is_checked_waits_for_the_answer(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.attach("s")
    assert desk.decide() == (Step.WAIT, generation)
    desk.table.settle(generation, is_open=True)
    assert desk.decide() == (Step.TAKE, generation)
