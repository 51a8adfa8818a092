"""Every decision about a session, as storyboards without a service."""

from __future__ import annotations

import pytest

from cirq_azure_sessions import LocalWorkspace, ManualClock, PoolClosed, SessionPool
from cirq_azure_sessions.generation import Generation
from cirq_azure_sessions.model import Session, SessionStatus
from cirq_azure_sessions.pooled.session import PooledSession
from cirq_azure_sessions.session_table import SessionTable, Step

TARGET = "local.simulator"


class Desk:
    """A table, its time, and what a keeper would do to it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.table = SessionTable(max_idle=540.0, clock=self.clock)
        self.workspace = LocalWorkspace(clock=self.clock)
        self._pool = SessionPool(self.workspace, clock=self.clock)

    def session(self, session_id: str = "s") -> PooledSession:
        told = Session(session_id, TARGET, "mine", SessionStatus.WAITING)
        return PooledSession(told, self.workspace, self._pool)

    def decide(
        self, *, trusted: Generation | None = None, for_job: bool = False
    ) -> tuple[Step, Generation]:
        return self.table.decide(TARGET, self.workspace, trusted=trusted, for_job=for_job)

    def open(self) -> Generation:
        _, generation = self.decide()
        self.table.note_session(generation, self.session())
        self.table.settle(generation, is_open=True)
        return generation


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_opens_and_the_others_wait_for_it(desk: Desk) -> None:
    step, generation = desk.decide()
    assert step is Step.OPEN
    assert desk.decide() == (Step.WAIT, generation)
    assert repr(desk.table) == "local.simulator OPENING"


def test_an_open_session_is_taken_as_long_as_it_is_used(desk: Desk) -> None:
    generation = desk.open()
    for _ in range(3):
        desk.clock.advance(539)
        assert desk.decide(for_job=True) == (Step.TAKE, generation)
    assert repr(desk.table) == "local.simulator OPEN 3 jobs"


def test_after_a_long_rest_one_asks_and_the_others_wait(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    assert desk.table.take_fresh(TARGET) is None
    assert desk.decide() == (Step.CHECK, generation)
    assert desk.decide() == (Step.WAIT, generation)
    desk.table.settle(generation, is_open=True)
    assert desk.decide() == (Step.TAKE, generation)


def test_what_was_just_confirmed_is_taken_however_long_the_answer_took(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    assert desk.decide(trusted=generation) == (Step.TAKE, generation)


def test_a_session_that_is_over_makes_room_for_another(desk: Desk) -> None:
    first = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.table.settle(first, is_open=False)
    step, second = desk.decide()
    assert step is Step.OPEN
    assert second is not first


def test_one_of_many_refusals_finds_out_and_the_next_session_is_not_condemned(desk: Desk) -> None:
    first = desk.open()
    desk.decide(for_job=True)
    verdict, is_first = desk.table.condemn(first)
    second = desk.open()
    assert is_first
    assert desk.table.condemn(first) == (verdict, False)
    assert repr(desk.table) == "local.simulator LOST 1 job, local.simulator OPEN"
    assert desk.table.remove_job(first) == []
    assert repr(desk.table) == "local.simulator OPEN"
    assert desk.decide() == (Step.TAKE, second)


def test_what_cannot_be_asked_about_is_asked_about_again(desk: Desk) -> None:
    generation = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.table.give_up(generation)
    assert desk.decide() == (Step.CHECK, generation)


def test_what_cannot_be_opened_is_forgotten(desk: Desk) -> None:
    _, generation = desk.decide()
    desk.table.give_up(generation)
    assert repr(desk.table) == "no session"
    assert desk.decide()[0] is Step.OPEN


def test_a_session_that_opens_while_the_pool_closes_takes_no_job_and_is_closed(desk: Desk) -> None:
    _, generation = desk.decide()
    desk.table.close()
    desk.table.note_session(generation, desk.session())
    desk.table.settle(generation, is_open=True)
    assert repr(desk.table) == "local.simulator DRAINING"
    with pytest.raises(PoolClosed):
        desk.decide()
    assert desk.table.is_ours_to_close(generation)
    desk.table.note_end(generation)
    assert repr(desk.table) == "no session"


def test_an_adopted_session_is_left_to_its_opener(desk: Desk) -> None:
    _, generation = desk.decide()
    desk.table.note_session(generation, desk.session(), adopted=True)
    desk.table.settle(generation, is_open=True)
    assert repr(desk.table) == "local.simulator OPEN adopted"
    assert not desk.table.is_ours_to_close(generation)


# Sessions from elsewhere


def test_an_attached_session_takes_the_jobs_and_the_former_one_drains(desk: Desk) -> None:
    former = desk.open()
    attached = desk.table.attach(desk.session("other"), desk.workspace, adopted=True)
    assert desk.decide() == (Step.TAKE, attached)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"
    assert desk.table.is_ours_to_close(former)
    assert not desk.table.is_ours_to_close(attached)


def test_attaching_a_session_that_the_pool_has_changes_nothing(desk: Desk) -> None:
    generation = desk.open()
    assert desk.table.attach(desk.session(), desk.workspace, adopted=True) is generation
    assert repr(desk.table) == "local.simulator OPEN"


def test_a_former_session_may_come_back(desk: Desk) -> None:
    former = desk.open()
    desk.table.attach(desk.session("other"), desk.workspace, adopted=True)
    desk.table.attach(desk.session(), desk.workspace, adopted=True)
    assert desk.decide() == (Step.TAKE, former)
    assert repr(desk.table) == "local.simulator OPEN, local.simulator DRAINING adopted"


def test_a_session_that_is_opened_while_another_is_attached_drains(desk: Desk) -> None:
    _, opening = desk.decide()
    attached = desk.table.attach(desk.session("other"), desk.workspace, adopted=True)
    desk.table.note_session(opening, desk.session())
    desk.table.settle(opening, is_open=True)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"
    assert desk.decide(trusted=opening) == (Step.TAKE, attached)


def test_a_session_that_is_asked_about_while_another_is_attached_drains(desk: Desk) -> None:
    resting = desk.open()
    desk.clock.advance(541)
    desk.decide()
    desk.table.attach(desk.session("other"), desk.workspace, adopted=True)
    desk.table.give_up(resting)
    assert repr(desk.table) == "local.simulator DRAINING, local.simulator OPEN adopted"


def test_a_session_that_is_closed_by_hand_takes_no_more_jobs(desk: Desk) -> None:
    generation = desk.open()
    desk.decide(for_job=True)
    assert desk.table.drain("s") is generation
    assert desk.table.drain("unknown") is None
    desk.table.note_end(generation)
    assert repr(desk.table) == "local.simulator CLOSED 1 job"
    assert desk.decide()[0] is Step.OPEN
    assert desk.table.find("s") is None


def test_nothing_is_attached_to_a_closed_pool(desk: Desk) -> None:
    desk.table.close()
    with pytest.raises(PoolClosed):
        desk.table.attach(desk.session(), desk.workspace, adopted=True)
