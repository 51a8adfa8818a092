"""The rules of sessions and jobs in time, told without threads, locks or clocks."""

from __future__ import annotations

import gc
import itertools
import math
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.model import (
    Job,
    JobFailurePolicy,
    JobRequest,
    JobStatus,
    SessionRequest,
    SessionStatus,
)
from cirq_azure_sessions.workspaces.local.schedule import Schedule
from cirq_azure_sessions.workspaces.local.state import JobPace, JobRecord, Outcome, SessionRecord

GOOD = Outcome(JobStatus.SUCCEEDED, "output")
BAD = Outcome(JobStatus.FAILED, code="InvalidInputData", message="No.")


class Story:
    """A schedule, the time, and jobs whose programs are done at once unless they are left open."""

    def __init__(
        self,
        *,
        timeout: float = 600.0,
        notice: float = 0.0,
        history: int = 100,
        slots: int | None = None,
    ) -> None:
        self.schedule = Schedule(timeout)
        self.schedule.timeout_notice = notice
        self.schedule.max_history = history
        self.schedule.slots = slots
        self.now = 0.0
        self._ids = (f"id-{number}" for number in itertools.count())

    def open(self, policy: JobFailurePolicy = JobFailurePolicy.CONTINUE) -> SessionRecord:
        request = SessionRequest(next(self._ids), "target", "name", policy)
        return self.schedule.open_session(request, self.now)

    def submit(
        self,
        session: SessionRecord | None = None,
        pace: JobPace = JobPace(),  # noqa: B008  a frozen value
        outcome: Outcome | None = GOOD,
    ) -> JobRecord:
        request = JobRequest(next(self._ids), "target", "name", b"", "", "")
        job = self.schedule.accept(request, pace, session, self.now, started=0.0)
        if outcome is not None:
            self.schedule.resolve(job, outcome, self.now, 0.0)
        self.schedule.settle(self.now)
        return job

    def resolve(self, job: JobRecord, outcome: Outcome = GOOD, *, duration: float = 1e6) -> None:
        self.schedule.resolve(job, outcome, self.now, duration)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.schedule.settle(self.now)

    def status(self, job: JobRecord) -> JobStatus:
        return job.status(self.now)

    def describe(self, job: JobRecord) -> Job:
        return job.describe(0.0, self.now)


class TestTheStatusOfAJob:
    def test_follows_its_pace(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=10, run=5, visible=2))
        seen = []
        for _ in range(18):
            seen.append(story.status(job).value)
            story.advance(1)
        assert seen == ["Waiting"] * 10 + ["Executing"] * 7 + ["Succeeded"]

    def test_of_an_instant_job_goes_from_waiting_to_final(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=3, visible=2))
        seen = []
        for _ in range(6):
            seen.append(story.status(job).value)
            story.advance(1)
        assert seen == ["Waiting"] * 5 + ["Succeeded"]

    def test_may_show_that_it_is_finishing(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=1, run=1, visible=2, finishing=1))
        seen = []
        for _ in range(5):
            seen.append(story.status(job).value)
            story.advance(1)
        assert seen == ["Waiting", "Executing", "Executing", "Finishing", "Succeeded"]

    def test_is_executing_while_its_program_is_slower_than_its_pace(self) -> None:
        story = Story()
        job = story.submit(outcome=None)
        assert story.status(job) is JobStatus.EXECUTING
        story.advance(5)
        assert story.status(job) is JobStatus.EXECUTING
        story.resolve(job)
        assert story.status(job) is JobStatus.SUCCEEDED
        assert story.describe(job).end_time == 5

    def test_waits_for_the_clock_though_its_program_is_done(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=5), outcome=None)
        story.resolve(job)
        assert story.status(job) is JobStatus.WAITING
        story.advance(5)
        assert story.status(job) is JobStatus.SUCCEEDED

    def test_of_a_hanging_job_stays_executing(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(run=math.inf))
        story.advance(1e9)
        assert story.status(job) is JobStatus.EXECUTING

    @given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.lists(st.floats(0, 50)))
    def test_never_goes_back(
        self, queue: float, run: float, visible: float, steps: list[float]
    ) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue, run, visible))
        order = [JobStatus.WAITING, JobStatus.EXECUTING, JobStatus.SUCCEEDED]
        reached = 0
        for step in [*steps, 400.0]:
            assert order.index(story.status(job)) >= reached
            reached = order.index(story.status(job))
            story.advance(step)
        assert story.status(job) is JobStatus.SUCCEEDED


class TestTheTimesOfAJob:
    def test_are_those_of_its_pace(self) -> None:
        story = Story()
        story.advance(100)
        job = story.submit(pace=JobPace(queue=10, run=5, visible=2))
        story.advance(50)
        described = story.describe(job)
        assert described.creation_time == 100
        assert described.begin_time == 110
        assert described.end_time == 115

    def test_show_nothing_before_it_happened(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=10, run=5))
        assert (story.describe(job).begin_time, story.describe(job).end_time) == (None, None)
        story.advance(12)
        assert (story.describe(job).begin_time, story.describe(job).end_time) == (10, None)

    def test_advancing_the_clock_does_not_delay_a_fast_program(self) -> None:
        story = Story()
        job = story.submit(outcome=None)
        story.advance(700)
        story.resolve(job, duration=0.25)
        assert story.describe(job).end_time == 0.25

    def test_of_a_cancelled_job_include_the_cancellation(self) -> None:
        story = Story()
        waiting = story.submit(pace=JobPace(queue=10, run=10))
        running = story.submit(pace=JobPace(run=10))
        story.advance(5)
        for job in (waiting, running):
            story.schedule.cancel(job, story.now)
        story.advance(5)
        assert (story.describe(waiting).begin_time, story.describe(waiting).end_time) == (None, 5)
        assert (story.describe(running).begin_time, story.describe(running).end_time) == (0, 5)


class TestTheOrderOfEvents:
    def test_is_the_state_at_its_time_however_late_it_is_read(self) -> None:
        """The bad job ends first and takes the slow one with it, though nobody was looking."""
        story = Story()
        session = story.open(JobFailurePolicy.ABORT)
        slow = story.submit(session, JobPace(queue=20))
        bad = story.submit(session, JobPace(queue=10), BAD)
        quick = story.submit(session, JobPace(queue=5))
        story.advance(1000)

        assert [story.status(job).value for job in (slow, bad, quick)] == [
            "Cancelled",
            "Failed",
            "Succeeded",
        ]
        assert (session.status, session.ended) == (SessionStatus.FAILED, 10)

    def test_lets_a_session_time_out_between_two_looks(self) -> None:
        story = Story()
        session = story.open()
        story.submit(session, JobPace(queue=300))
        story.advance(5000)
        assert (session.status, session.ended) == (SessionStatus.TIMED_OUT, 900)

    def test_ends_a_closed_session_with_its_last_job(self) -> None:
        story = Story()
        session = story.open()
        for queue in (30, 10, 20):
            story.submit(session, JobPace(queue=queue))
        session.close(story.now)
        assert not session.takes_jobs
        story.advance(29)
        assert session.status is SessionStatus.EXECUTING
        story.advance(1000)
        assert (session.status, session.ended) == (SessionStatus.SUCCEEDED, 30)

    def test_does_not_cancel_a_job_before_it_was_made(self) -> None:
        story = Story()
        session = story.open(JobFailurePolicy.ABORT)
        slow = story.submit(session, outcome=None)
        story.advance(70)
        later = story.submit(session, JobPace(queue=10))
        story.resolve(slow, BAD, duration=1.5)
        assert story.status(later) is JobStatus.CANCELLED
        assert later.ended == later.created == 70

    def test_does_not_end_a_session_before_it_was_closed(self) -> None:
        story = Story()
        session = story.open()
        slow = story.submit(session, outcome=None)
        story.advance(70)
        session.close(story.now)
        story.resolve(slow, duration=1.5)
        assert (slow.ended, session.ended) == (1.5, 70)


class TestAnIdleSession:
    @pytest.mark.parametrize("notice", [0.0, 2.0, 113.0])
    def test_is_noticed_late_and_takes_jobs_until_then(self, notice: float) -> None:
        story = Story(notice=notice)
        session = story.open()
        story.advance(599.9 + notice)
        assert session.takes_jobs
        story.advance(0.1)
        assert session.status is SessionStatus.TIMED_OUT

    def test_that_was_used_before_its_timeout_was_noticed_stays_open(self) -> None:
        story = Story(notice=100)
        session = story.open()
        story.advance(650)
        story.submit(session)
        story.advance(699)
        assert session.takes_jobs
        story.advance(1)
        assert (session.status, session.ended) == (SessionStatus.TIMED_OUT, 1350)

    def test_with_failures_still_times_out(self) -> None:
        story = Story()
        session = story.open()
        story.submit(session, outcome=BAD)
        story.advance(600)
        assert session.status is SessionStatus.TIMED_OUT

    def test_that_never_times_out_may_be_asked_for(self) -> None:
        story = Story(timeout=math.inf)
        session = story.open()
        story.advance(1e9)
        assert session.takes_jobs


class TestATargetWithSlots:
    def test_runs_jobs_in_turn(self) -> None:
        story = Story(slots=2)
        jobs = [story.submit(pace=JobPace(run=10, visible=5)) for _ in range(5)]
        story.advance(1000)
        assert [job.begins for job in jobs] == [0, 0, 10, 10, 20]

    def test_moves_on_when_a_job_that_runs_is_cancelled(self) -> None:
        story = Story(slots=1)
        first, second, third = (story.submit(pace=JobPace(run=60)) for _ in range(3))
        story.advance(5)
        story.schedule.cancel(first, story.now)
        assert story.status(second) is JobStatus.EXECUTING
        story.advance(60)
        assert story.status(third) is JobStatus.EXECUTING
        assert story.describe(third).begin_time == 65

    def test_passes_over_a_job_that_was_cancelled_while_it_waited(self) -> None:
        story = Story(slots=1)
        first, second, third = (story.submit(pace=JobPace(run=60)) for _ in range(3))
        story.schedule.cancel(second, story.now)
        story.advance(60)
        assert story.status(first) is JobStatus.SUCCEEDED
        assert story.status(third) is JobStatus.EXECUTING

    def test_moves_on_when_a_session_takes_its_jobs_along(self) -> None:
        story = Story(slots=1)
        session = story.open()
        for _ in range(3):
            story.submit(session, JobPace(run=math.inf))
        other = story.submit(pace=JobPace(run=60))
        story.schedule.break_off(session, SessionStatus.FAILED, story.now)
        assert story.status(other) is JobStatus.EXECUTING

    def test_keeps_the_slot_of_a_job_whose_program_is_slower_than_its_pace(self) -> None:
        story = Story(slots=1)
        slow = story.submit(outcome=None)
        other = story.submit(pace=JobPace(run=60))
        story.advance(5)
        assert story.status(slow) is JobStatus.EXECUTING
        assert story.status(other) is JobStatus.WAITING
        story.resolve(slow)
        assert story.status(slow) is JobStatus.SUCCEEDED
        assert story.status(other) is JobStatus.EXECUTING

    def test_keeps_no_slot_for_a_job_that_cannot_begin(self) -> None:
        story = Story(slots=1)
        held = story.submit(pace=JobPace(queue=math.inf))
        other = story.submit(pace=JobPace(run=60))
        assert story.status(other) is JobStatus.EXECUTING
        story.schedule.change_pace(held, JobPace(run=60), story.now)
        assert story.status(held) is JobStatus.WAITING
        story.advance(60)
        assert story.status(held) is JobStatus.EXECUTING

    @given(
        st.integers(1, 3),
        st.lists(
            st.one_of(
                st.tuples(st.just("submit"), st.floats(0, 20), st.floats(0.1, 20)),
                st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
                st.tuples(st.just("advance"), st.floats(0, 30), st.none()),
            ),
            max_size=30,
        ),
    )
    def test_never_exceeds_its_slots_nor_idles_while_a_job_is_ready(
        self, slots: int, steps: list[tuple[str, float, float]]
    ) -> None:
        story = Story(slots=slots)
        jobs: list[JobRecord] = []
        for verb, number, run in steps:
            if verb == "submit":
                jobs.append(story.submit(pace=JobPace(queue=number, run=run)))
            elif verb == "advance":
                story.advance(number)
            elif jobs:
                story.schedule.cancel(jobs[int(number) % len(jobs)], story.now)
            unfinished = [job for job in jobs if job.final is None]
            served = [job for job in unfinished if job.begins < math.inf]
            assert len(served) <= slots
            assert len(served) == slots or len(served) == len(unfinished)


class TestFromOutside:
    def test_breaking_off_a_session_cancels_its_jobs(self) -> None:
        story = Story()
        session = story.open()
        job = story.submit(session, JobPace(queue=10))
        story.schedule.break_off(session, SessionStatus.FAILED, story.now)
        assert session.status is SessionStatus.FAILED
        assert story.status(job) is JobStatus.CANCELLED
        story.schedule.break_off(session, SessionStatus.TIMED_OUT, story.now)
        assert session.status is SessionStatus.FAILED

    def test_waiting_job_gets_another_pace(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=math.inf))
        story.advance(100)
        story.schedule.change_pace(job, JobPace(queue=5), story.now)
        story.advance(4)
        assert story.status(job) is JobStatus.WAITING
        story.advance(1)
        assert story.status(job) is JobStatus.SUCCEEDED

    def test_outdated_event_does_not_end_a_job_early(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=10), outcome=None)
        story.schedule.change_pace(job, JobPace(queue=50), story.now)
        story.advance(20)
        assert story.status(job) is JobStatus.WAITING
        story.advance(40)
        assert story.status(job) is JobStatus.EXECUTING
        assert story.schedule.ledger.overdue == 1
        story.resolve(job)
        assert story.status(job) is JobStatus.SUCCEEDED
        assert story.schedule.ledger.overdue == 0

    def test_an_earlier_end_is_counted_once(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=50), outcome=None)
        story.schedule.change_pace(job, JobPace(queue=10), story.now)
        story.advance(100)
        assert story.schedule.ledger.overdue == 1
        story.schedule.cancel(job, story.now)
        assert story.schedule.ledger.overdue == 0

    def test_output_after_a_cancellation_is_dropped(self) -> None:
        story = Story()
        job = story.submit(outcome=None)
        story.schedule.cancel(job, story.now)
        story.resolve(job)
        assert story.status(job) is JobStatus.CANCELLED
        assert job.outcome is None


class TestWhatIsRemembered:
    def test_is_bounded_for_finished_jobs(self) -> None:
        story = Story(history=3)
        session = story.open()
        hanging = story.submit(session, JobPace(run=math.inf))
        jobs = [story.submit(session) for _ in range(10)]
        assert list(story.schedule.jobs.values()) == [hanging, *jobs[-3:]]
        assert session.ledger.jobs == [hanging, *jobs[-3:]]

    def test_is_bounded_for_ended_sessions_and_their_jobs(self) -> None:
        story = Story(history=3)
        still_open = story.open()
        sessions = []
        for _ in range(10):
            sessions.append(story.open())
            story.submit(sessions[-1])
            sessions[-1].close(story.now)
        kept = [still_open, *sessions[-2:]]
        assert list(story.schedule.sessions.values()) == kept
        assert story.schedule.session_order == story.schedule.top_level == kept
        assert [job.session for job in story.schedule.ledger.jobs] == sessions[-2:]

    def test_has_nothing_of_jobs_that_hung_until_they_were_cancelled(self) -> None:
        story = Story(history=1, slots=1)
        payloads = []
        for number in range(3):
            payload = {number}
            payloads.append(weakref.ref(payload))
            request = JobRequest(f"hung-{number}", "target", "name", payload, "", "")
            pace = JobPace(run=math.inf)
            job = story.schedule.accept(request, pace, None, story.now, started=0.0)
            story.schedule.cancel(job, story.now)
        story.schedule.just_ended.clear()
        del payload, request, job
        gc.collect()
        assert [payload() is None for payload in payloads] == [True, True, False]

    def test_does_not_lose_a_new_job_under_the_id_of_a_removed_one(self) -> None:
        story = Story(history=1)
        first = story.submit()
        story.schedule.remove(first)
        second = story.schedule.accept(first.request, JobPace(), None, story.now, started=0.0)
        story.submit()
        assert story.schedule.jobs[first.request.id] is second

    def test_counts_unfinished_jobs_by_target(self) -> None:
        story = Story()
        job = story.submit(pace=JobPace(queue=10))
        assert story.schedule.unfinished["target"] == 1
        story.schedule.cancel(job, story.now)
        assert story.schedule.unfinished["target"] == 0

    def test_lists_sessions_and_lone_jobs_in_the_order_of_their_creation(self) -> None:
        story = Story()
        first, lone, second = story.open(), story.submit(), story.open()
        story.submit(first)
        assert story.schedule.top_level == [first, lone, second]
        story.schedule.remove(lone)
        assert story.schedule.top_level == [first, second]
