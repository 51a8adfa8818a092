"""The bar: only where it is asked for, on stderr, true, and gone after an error."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from fcntl import ioctl

import cirq
import pytest
import sympy

from cirq_azure_sessions import AzureSessionSampler, SessionPool, SweepError, UnsupportedProgram
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.watch.progress import SweepProgress

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))
SESSION = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def job(name: str, status: JobStatus) -> Job:
    return Job(name, "ionq.simulator", name, status, session_id=SESSION)


def frames(written: str) -> list[str]:
    """What stood on the line, one picture after the other."""
    return [frame.strip("\n") for frame in written.split("\r") if frame.strip("\n")]


# What it says


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


# When it is there


def test_nothing_is_printed_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    with AzureSessionSampler("local.simulator") as sampler:
        sampler.run(CIRCUIT)
        list(sampler.stream_sweep(CIRCUIT, None))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("call", ["run", "run_sweep", "stream_sweep", "run_batch"])
def test_every_call_has_one_bar_on_one_line(call: str, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = cirq.Linspace("a", 0, 1, 3)
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, progress=True)
        if call == "run":
            jobs = 1
            sampler.run(CIRCUIT, repetitions=5)
        elif call == "run_sweep":
            jobs = 3
            sampler.run_sweep(ROTATION, sweep, repetitions=5)
        elif call == "stream_sweep":
            jobs = 3
            list(sampler.stream_sweep(ROTATION, sweep, repetitions=5))
        else:
            jobs = 7
            sampler.run_batch([CIRCUIT, ROTATION, ROTATION], [None, sweep, sweep], 5)
        session = pool.session("ionq.simulator").id[:8]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    last = frames(err)[-1]
    assert last.startswith(f"ionq.simulator {session} {jobs}/{jobs} |")
    assert f"| {jobs} submitted in 00:0" in last


def test_points_that_failed_are_told_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        server.faults.fail_job(code="InvalidInputData")
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, progress=True, on_error="return")
        sampler.run_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
    assert "| 4 submitted, 1 failed in " in frames(capfd.readouterr().err)[-1]


def test_a_circuit_that_cannot_run_shows_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        AzureSessionSampler("local.clifford", progress=True) as sampler,
        pytest.raises(UnsupportedProgram),
    ):
        sampler.run(cirq.Circuit(cirq.T(QUBIT)))
    assert capfd.readouterr().err == ""


# In a terminal


@contextmanager
def terminal(columns: int) -> Iterator[list[str]]:
    """Stderr as a terminal of so many columns; afterwards the list has what was written."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written: list[str] = []

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # how Linux says that the other end is closed
                return
            written.append(data.decode())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w") as file, redirect_stderr(file):
        yield written
    reader.join()
    os.close(master)


def on_screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end, without those that are empty.

    Knows what tqdm writes: the start of the line, the next line, and the line above.
    """
    lines = [""]
    row = 0
    for part in re.split(r"(\r|\n|\x1b\[A)", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part not in ("", "\r"):
            # All that tqdm writes begins at the start of a line.
            lines[row] = part + lines[row][len(part) :]
    return [line.rstrip() for line in lines if line.strip()]


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


def test_an_error_takes_the_bar_away() -> None:
    with terminal(80) as written, EmulatorServer() as server:
        server.faults.fail_job(code="InvalidInputData")
        with (
            AzureSessionSampler(
                "ionq.simulator", workspace=server.workspace(), progress=True
            ) as sampler,
            pytest.raises(SweepError),
        ):
            sampler.run_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
    text = "".join(written)
    assert "ionq.simulator" in text
    assert "\n" not in text
    # The line is overwritten with blanks, and the cursor is at its beginning.
    assert text.split("\r")[-2:] == [" " * len(text.split("\r")[-2]), ""]


def test_a_stream_that_is_left_early_takes_the_bar_away() -> None:
    with terminal(80) as written, AzureSessionSampler("local.simulator", progress=True) as sampler:
        stream = sampler.stream_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
        next(stream)
        stream.close()
    assert "".join(written).endswith("\r")


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


def test_a_terminal_that_goes_away_loses_no_result() -> None:
    file = io.StringIO()
    with redirect_stderr(file), AzureSessionSampler("local.simulator", progress=True) as sampler:
        stream = sampler.stream_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
        next(stream)
        file.close()
        assert len(list(stream)) == 3


def test_sweeps_of_several_threads_leave_one_line_each() -> None:
    def run(sampler: AzureSessionSampler) -> None:
        sampler.run_sweep(ROTATION, cirq.Linspace("a", 0, 1, 5))

    targets = ("ionq.simulator", "quantinuum.sim.h2-1e", "rigetti.sim.qvm")
    with (
        terminal(80) as written,
        EmulatorServer() as server,
        SessionPool(server.workspace()) as pool,
    ):
        samplers = [AzureSessionSampler(each, pool=pool, progress=True) for each in targets]
        threads = [threading.Thread(target=run, args=(sampler,)) for sampler in samplers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    screen = on_screen("".join(written))
    assert sorted(line.split()[0] for line in screen) == sorted(targets)
    assert all(" 5/5 |" in line and "5 submitted in" in line for line in screen)
