"""The event log: subscribers, counts, history, and what Python's log shows."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from dataclasses import asdict, replace

import pytest
from services import HANG_TIMEOUT, in_background

from cirq_azure_sessions.model import Cost, Job, JobStatus
from cirq_azure_sessions.watch.event_log import EventLog
from cirq_azure_sessions.watch.events import AnyEvent, JobEvent, SessionEvent, SweepEvent

TARGET = "ionq.simulator"
OPENED = SessionEvent("opened", "s-1", TARGET, time=1.0)
SUBMITTED = JobEvent("submitted", "j-1", "s-1", TARGET, time=2.0, sweep_id="w-1")
STARTED = SweepEvent("started", "w-1", TARGET, time=0.0, jobs=1)
FINISHED = SweepEvent("finished", "w-1", TARGET, time=3.0, jobs=1)


@pytest.fixture
def log() -> EventLog:
    return EventLog()


# Subscribers


def test_one_subscription_gets_events_of_all_kinds(log: EventLog) -> None:
    seen: list[AnyEvent] = []
    log.subscribe(seen.append)
    for event in (STARTED, OPENED, SUBMITTED, FINISHED):
        log.report(event)
    assert seen == [STARTED, OPENED, SUBMITTED, FINISHED]


def test_the_bill_of_a_job_is_reported_once_when_it_has_finished(log: EventLog) -> None:
    seen: list[AnyEvent] = []
    log.subscribe(seen.append)
    cost = Cost(2.5, "EUR", ({"dimensionId": "ehqc", "amountConsumed": 8.0},))
    job = Job("j-1", TARGET, "job", JobStatus.SUCCEEDED, "s-1", end_time=9.0, cost=cost)
    log.report_job(job, 2.0, sweep_id="w-1", is_new=True)
    log.report_job(job, 3.0, sweep_id="w-1")
    billed = replace(SUBMITTED, kind="succeeded", time=3.0, cost=2.5, currency="EUR")
    assert seen == [
        replace(SUBMITTED, end_time=9.0),
        replace(billed, end_time=9.0, consumed=(("ehqc", 8.0),)),
    ]
    assert (log.stats()["cost_EUR"], log.stats()["consumed_ehqc"]) == (2.5, 8.0)


def test_unsubscribing_ends_one_subscription_only(log: EventLog) -> None:
    seen: list[AnyEvent] = []
    unsubscribe = log.subscribe(seen.append)
    log.subscribe(seen.append)
    unsubscribe()
    unsubscribe()
    log.report(OPENED)
    assert seen == [OPENED]


def test_a_callback_runs_on_the_thread_that_reports(log: EventLog) -> None:
    seen: list[int] = []
    log.subscribe(lambda event: seen.append(threading.get_ident()))
    log.report(STARTED)
    assert seen == [threading.get_ident()]


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("event", [STARTED, OPENED, SUBMITTED], ids=["sweep", "session", "job"])
def test_any_error_of_a_callback_is_logged_and_has_no_other_effect(
    error: type[BaseException], event: AnyEvent, log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: AnyEvent) -> None:
        raise error("a bug of the subscriber")

    seen: list[AnyEvent] = []
    log.subscribe(fail)
    log.subscribe(seen.append)
    log.report(event)
    assert seen == [event]
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is error


def test_ctrl_c_in_a_callback_reaches_the_call_that_waits_on_the_main_thread(log: EventLog) -> None:
    def interrupt(event: AnyEvent) -> None:
        raise KeyboardInterrupt

    log.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.report(STARTED)
    in_background(log.report, FINISHED).result(HANG_TIMEOUT)


def test_a_finalizer_may_report_while_its_thread_reports(log: EventLog) -> None:
    def collect_garbage_meanwhile() -> None:
        with log._lock:
            log.report(OPENED)

    in_background(collect_garbage_meanwhile).result(HANG_TIMEOUT)
    assert log.stats()["sessions_opened"] == 1


def test_a_callback_may_subscribe_unsubscribe_and_report(log: EventLog) -> None:
    seen: list[AnyEvent] = []

    def once(event: AnyEvent) -> None:
        unsubscribe()
        log.subscribe(seen.append)
        log.report(FINISHED)
        assert log.stats()["sessions_opened"] == 1

    unsubscribe = log.subscribe(once)
    log.report(OPENED)
    assert seen == [FINISHED]


# Counts and history


def test_events_are_counted_by_subject_and_kind(log: EventLog) -> None:
    for event in (STARTED, OPENED, SUBMITTED, replace(SUBMITTED, kind="failed"), FINISHED):
        log.report(event)
    log.count("sessions_checked")
    counted = {name: number for name, number in log.stats().items() if number}
    assert counted == {
        "sessions_opened": 1,
        "sessions_checked": 1,
        "jobs_submitted": 1,
        "jobs_failed": 1,
    }


def test_a_session_after_one_that_the_service_ended_is_reopened(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cirq_azure_sessions")
    for kind in ("opened", "closed", "opened", "timed_out", "opened"):
        log.report(replace(OPENED, kind=kind))
    log.report(replace(OPENED, target="another"))
    assert log.stats()["sessions_reopened"] == 1
    replacing = [each for each in caplog.messages if "to replace one that had ended" in each]
    assert replacing == [caplog.messages[-2]]


def test_costs_add_up_by_currency_and_consumption_by_dimension(log: EventLog) -> None:
    bill = replace(SUBMITTED, kind="succeeded", cost=2.0, currency="USD")
    log.report(bill)
    log.report(replace(bill, cost=0.0, consumed=(("ehqc", 8.3),)))
    stats = log.stats()
    assert (stats["cost"], stats["cost_USD"], stats["consumed_ehqc"]) == (2.0, 2.0, 8.3)
    log.report(replace(bill, cost=3.0, currency="EUR"))
    stats = log.stats()
    assert math.isnan(stats["cost"])
    assert (stats["cost_USD"], stats["cost_EUR"]) == (2.0, 3.0)


def test_without_a_bill_the_cost_is_zero(log: EventLog) -> None:
    log.report(replace(SUBMITTED, kind="succeeded"))
    assert log.stats()["cost"] == 0.0


def test_recent_events_separate_sessions_from_jobs_and_omit_sweeps(log: EventLog) -> None:
    for event in (STARTED, OPENED, SUBMITTED):
        log.report(event)
    assert log.recent() == ((OPENED,), (SUBMITTED,))


def test_recent_keeps_the_latest_events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cirq_azure_sessions.watch.event_log._MAX_JOB_EVENTS", 2)
    log = EventLog()
    jobs = [replace(SUBMITTED, job_id=name) for name in "abc"]
    for job in jobs:
        log.report(job)
    assert log.recent() == ((), tuple(jobs[1:]))


# Lines


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (OPENED, logging.INFO),
        (SUBMITTED, logging.DEBUG),
        (replace(SUBMITTED, kind="succeeded"), logging.DEBUG),
        (replace(SUBMITTED, kind="failed"), logging.INFO),
        (STARTED, logging.INFO),
    ],
)
def test_each_event_is_a_line_of_the_log(
    event: AnyEvent, level: int, log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cirq_azure_sessions")
    log.report(event)
    (record,) = caplog.records
    assert record.levelno == level
    assert record.message.startswith(str(event))
    assert vars(record).items() >= asdict(event).items()


def test_the_line_of_a_sweeps_end_has_its_jobs_its_time_and_its_cost(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cirq_azure_sessions")
    sweep = replace(STARTED, jobs=2)
    log.report(sweep)
    for cost in (0.25, 1.5):
        log.report(
            replace(SUBMITTED, kind="succeeded", cost=cost, currency="USD", sweep_id=sweep.id)
        )
    log.report(replace(sweep, kind="finished", time=sweep.time + 12.34))
    assert [record.message for record in caplog.records] == [
        "ionq.simulator: sweep w-1 started: 2 jobs",
        "ionq.simulator: sweep w-1 finished: 2 jobs in 12.3 s, 1.75 USD",
    ]


@pytest.mark.parametrize(
    ("failed", "outcome"), [(0, "finished"), (1, "ended (1 failed, 2 finished)"), (3, "failed")]
)
def test_a_batch_has_one_line_as_it_begins_and_one_as_it_ends(
    failed: int, outcome: str, log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cirq_azure_sessions")
    seen: list[AnyEvent] = []
    log.subscribe(seen.append)
    begun = [replace(STARTED, sweep_id=f"w-{number}", jobs=2) for number in range(3)]
    log.report_sweeps(begun)
    for sweep in begun:
        job = replace(SUBMITTED, kind="succeeded", cost=0.5, currency="USD", sweep_id=sweep.id)
        log.report(job)
    ended = [
        replace(sweep, kind="failed" if number < failed else "finished", time=sweep.time + 12.34)
        for number, sweep in enumerate(begun)
    ]
    log.report_sweeps(ended)
    assert [record.message for record in caplog.records] == [
        "ionq.simulator: batch of 3 sweeps started: 6 jobs",
        f"ionq.simulator: batch of 3 sweeps {outcome}: 6 jobs in 12.3 s, 1.5 USD",
    ]
    assert [each for each in seen if isinstance(each, SweepEvent)] == begun + ended


def test_an_event_reads_as_a_line_and_as_fields() -> None:
    event = SessionEvent("timed_out", "1f3c", TARGET, time=5.0, reason="TimedOut")
    assert str(event) == "ionq.simulator: session 1f3c timed out"
    assert str(replace(event, reason="Failed")) == "ionq.simulator: session 1f3c timed out (Failed)"
    assert asdict(event) == {
        "kind": "timed_out",
        "session_id": "1f3c",
        "target": TARGET,
        "time": 5.0,
        "cost": None,
        "reason": "TimedOut",
        "creation_time": None,
        "end_time": None,
    }


@pytest.mark.parametrize(("event", "name"), [(OPENED, "s-1"), (SUBMITTED, "j-1"), (STARTED, "w-1")])
def test_an_event_has_the_id_of_its_subject(event: AnyEvent, name: str) -> None:
    assert event.id == name
