"""Accepted jobs that the service does not show: every run waits, and only the user gives up."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cirq
import pytest
from click.testing import CliRunner, Result
from services import FLIP

from cirq_azure_sessions import (
    AzureSessionSampler,
    Journal,
    JournalError,
    ManualClock,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import JobError

TARGET = "ionq.simulator"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


@pytest.fixture
def hidden(server: EmulatorServer) -> None:
    """The server answers 404 to every question about a job, until its faults are cleared."""
    server.faults.add("job", status=404, times=None)


def run(server: EmulatorServer, clock: ManualClock, journal: Any) -> cirq.Result:
    """One point; every session is closed when it returns."""
    with SessionPool(server.workspace(), clock=clock, journal=journal) as pool:
        (result,) = AzureSessionSampler(TARGET, pool=pool).run_sweep(FLIP, None, repetitions=10)
    return result


def lose(server: EmulatorServer, clock: ManualClock, journal: Any) -> str:
    """A run that waits in vain; the id of its job."""
    with pytest.raises(SweepError, match="no longer shows it") as failure:
        run(server, clock, journal)
    (error,) = failure.value.failures.values()
    assert isinstance(error, JobError)
    return error.job_id


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_no_run_submits_a_job_again_that_the_service_accepted(
    server: EmulatorServer, clock: ManualClock, path: Path, hidden: None
) -> None:
    job_id = lose(server, clock, path)
    for _ in range(2):
        before = clock.monotonic()
        assert lose(server, clock, path) == job_id
        assert clock.monotonic() >= before + 300
    assert server.requests["submit"] == 1


def test_the_next_run_logs_the_job_it_waits_for_and_gets_the_result(
    server: EmulatorServer,
    clock: ManualClock,
    path: Path,
    hidden: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = lose(server, clock, path)
    server.faults.clear()
    server.faults.add("job", status=404, duration=100)
    with caplog.at_level(logging.WARNING, "cirq_azure_sessions"):
        result = run(server, clock, path)
    assert f"journal forget {path} {job_id}" in caplog.text
    assert getattr(result, "job_id", None) == job_id
    assert server.requests["submit"] == 1


def test_a_forgotten_job_is_submitted_again_by_the_next_run_and_only_once(
    server: EmulatorServer, clock: ManualClock, path: Path, hidden: None
) -> None:
    job_id = lose(server, clock, path)
    done = call("journal", "forget", path, job_id)
    assert done.stdout == f"The next run submits job {job_id} again.\n"
    assert call("journal", "forget", path, job_id).exit_code == 0
    server.faults.clear()
    first, second = run(server, clock, path), run(server, clock, path)
    assert first == second
    assert server.requests["submit"] == 2
    with Journal(path) as journal:
        assert [entry.state for entry in journal.entries()] == ["forgotten", "finished"]


def test_a_journal_may_say_that_lost_jobs_are_submitted_again(
    server: EmulatorServer, clock: ManualClock, path: Path, hidden: None
) -> None:
    with Journal(path, resubmit_lost=True) as journal:
        job_id = lose(server, clock, journal)
        assert server.requests["submit"] == 1
        # It is asked for once more before another one is paid for.
        assert lose(server, clock, journal) != job_id
        assert server.requests["submit"] == 2
        server.faults.clear()
        run(server, clock, journal)
    assert server.requests["submit"] == 2


def test_jobs_that_cannot_be_forgotten_are_refused_with_a_reason(
    server: EmulatorServer, clock: ManualClock, path: Path
) -> None:
    result = run(server, clock, path)
    with Journal(path) as journal:
        with pytest.raises(JournalError, match="has the result"):
            journal.forget(getattr(result, "job_id", ""))
        with pytest.raises(JournalError, match="has no job"):
            journal.forget("nobody")
    refused = call("journal", "forget", path, "nobody")
    assert refused.exit_code != 0
    assert "has no job nobody: check the id." in refused.stderr


def test_a_submission_that_arrived_before_and_is_not_shown_is_waited_for(
    server: EmulatorServer, clock: ManualClock, path: Path
) -> None:
    server.faults.add("job", status=404, duration=100)
    server.faults.add("submit", status=409, after=True, times=None)
    run(server, clock, path)
    assert clock.monotonic() >= 100
    assert server.requests["submit"] == 1
