"""The progress bar: what its line says, and what it leaves on a terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import replace

from terminals import frames, terminal

from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.watch.progress import SweepProgress

SESSION = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def job(name: str, status: JobStatus) -> Job:
    return Job(name, "ionq.simulator", name, status, session_id=SESSION)


def test_a_line_tells_how_many_jobs_are_in_each_state() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_jobs(100)
        for name in "abcde":
            progress.job_seen(job(name, JobStatus.WAITING))
        for name in "abc":
            progress.job_seen(job(name, JobStatus.EXECUTING))
        progress.job_finished("a", failed=False)
        progress.job_finished("b", failed=True)
        assert str(progress).startswith("ionq.simulator 3fa85f64 2/100 |")
        assert "| 5 submitted, 2 queued, 1 running, 1 failed <" in str(progress)


def test_a_job_that_is_looked_at_twice_is_counted_once() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_jobs(2)
        for _ in range(3):
            progress.job_seen(job("a", JobStatus.EXECUTING))
        assert "| 1 submitted, 1 running <" in str(progress)


def test_a_job_that_fails_before_it_is_submitted_was_never_submitted() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_jobs(2)
        progress.job_finished("a", failed=True)
        assert "1/2" in str(progress)
        assert "| 1 failed <" in str(progress)


def test_the_session_is_that_of_the_latest_job() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_jobs(2)
        assert str(progress).startswith("ionq.simulator 0/2 |")
        progress.job_seen(job("a", JobStatus.WAITING))
        progress.job_seen(replace(job("b", JobStatus.WAITING), session_id="abcdefgh-1"))
        progress.job_seen(job("a", JobStatus.EXECUTING))
        assert str(progress).startswith("ionq.simulator abcdefgh 0/2 |")


def test_in_80_columns_the_sum_of_the_others_is_left_out_first() -> None:
    with terminal(80), SweepProgress("ionq.simulator") as progress:
        progress.add_jobs(1000)
        for number in range(340):
            progress.job_seen(job(str(number), JobStatus.WAITING))
        for number in range(280):
            progress.job_seen(job(str(number), JobStatus.EXECUTING))
        for number in range(240):
            progress.job_finished(str(number), failed=number < 10)
        line = str(progress)
    assert line.startswith("ionq.simulator 3fa85f64 240/1000 |")
    assert "| 60 queued, 40 running, 10 failed <" in line
    assert len(line) <= 80


def test_no_picture_is_wider_than_the_terminal() -> None:
    with terminal(40) as written, SweepProgress("quantinuum.sim.h2-1e") as progress:
        progress.add_jobs(1000)
        for number in range(200):
            progress.job_seen(job(str(number), JobStatus.WAITING))
    assert max(map(len, frames("".join(written)))) <= 40


def test_an_interruption_takes_the_bar_away() -> None:
    progress = SweepProgress("ionq.simulator")
    with terminal(80) as written:
        progress.add_jobs(4)
        progress.job_seen(job("a", JobStatus.WAITING))
        error = KeyboardInterrupt()
        progress.__exit__(type(error), error, None)
        progress.job_finished("a", failed=True)  # the event loop has not heard of it yet
    assert "\n" not in "".join(written)
    assert "".join(written).endswith("\r")
