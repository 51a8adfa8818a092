"""The progress bar of a sampler's calls: shown if asked for, on stderr, and gone after an error."""

from __future__ import annotations

import io
import threading
from contextlib import redirect_stderr
from typing import Any

import cirq
import pytest
import sympy
from services import HANG_TIMEOUT, in_background
from terminals import frames, on_screen, terminal

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    SessionPool,
    SweepError,
    UnsupportedProgram,
)
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.watch import progress

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))


def test_nothing_is_printed_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    with AzureSessionSampler("local.simulator") as sampler:
        sampler.run(CIRCUIT)
        list(sampler.stream_sweep(CIRCUIT, None))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("call", ["run", "run_sweep", "stream_sweep", "run_batch"])
def test_each_call_has_one_bar_on_one_line(call: str, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = cirq.Linspace("a", 0, 1, 3)
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, progress=True)
        if call == "run":
            points = 1
            sampler.run(CIRCUIT, repetitions=5)
        elif call == "run_sweep":
            points = 3
            sampler.run_sweep(ROTATION, sweep, repetitions=5)
        elif call == "stream_sweep":
            points = 3
            list(sampler.stream_sweep(ROTATION, sweep, repetitions=5))
        else:
            points = 7
            sampler.run_batch([CIRCUIT, ROTATION, ROTATION], [None, sweep, sweep], 5)
        session = pool.session("ionq.simulator").id[:8]
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    last = frames(err)[-1]
    assert last.startswith(f"ionq.simulator {session} |")
    assert f"| {points} done in 00:0" in last


def test_points_are_counted_and_not_jobs(capfd: pytest.CaptureFixture[str]) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool, pack=2, progress=True)
        sampler.run_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4), repetitions=5)
        assert pool.get_stats()["jobs_submitted"] == 2
    pictures = frames(capfd.readouterr().err)
    assert " 0/4 |" in pictures[0]
    assert "| 4 done in 00:0" in pictures[-1]


def test_points_that_failed_are_reported_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        server.faults.fail_job(code="InvalidInputData")
        sampler = AzureSessionSampler("ionq.simulator", pool=pool, progress=True, on_error="return")
        sampler.run_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
    assert "| 3 done, 1 failed in " in frames(capfd.readouterr().err)[-1]


def test_a_circuit_that_cannot_run_shows_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        AzureSessionSampler("local.clifford", progress=True) as sampler,
        pytest.raises(UnsupportedProgram),
    ):
        sampler.run(cirq.Circuit(cirq.T(QUBIT)))
    assert capfd.readouterr().err == ""


def test_error_removes_the_bar() -> None:
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


def test_leaving_a_stream_early_removes_the_bar() -> None:
    with terminal(80) as written, AzureSessionSampler("local.simulator", progress=True) as sampler:
        stream = sampler.stream_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
        next(stream)
        stream.close()
    assert "".join(written).endswith("\r")


def test_closed_terminal_loses_no_result() -> None:
    file = io.StringIO()
    with redirect_stderr(file), AzureSessionSampler("local.simulator", progress=True) as sampler:
        stream = sampler.stream_sweep(ROTATION, cirq.Linspace("a", 0, 1, 4))
        next(stream)
        file.close()
        assert len(list(stream)) == 3


class Broken(io.StringIO):
    error: type[BaseException] = RuntimeError

    def write(self, text: str) -> int:
        raise self.error("broken")


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError, KeyboardInterrupt])
def test_broken_terminal_of_one_thread_does_not_block_the_others(
    error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    sampler = AzureSessionSampler("local.simulator", progress=True)
    stderr = Broken()
    stderr.error = error
    with redirect_stderr(stderr):
        outcome = in_background(sampler.run, CIRCUIT).exception(HANG_TIMEOUT)
    assert type(outcome) is (KeyboardInterrupt if error is KeyboardInterrupt else type(None))
    assert in_background(sampler.run, CIRCUIT).result(HANG_TIMEOUT)
    assert "1 done" in capfd.readouterr().err


@pytest.mark.parametrize("when", ["before", "during"])
def test_lock_that_another_bar_never_releases_does_not_block_a_call(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the child of a fork, or after Ctrl-C while a bar of the user's was drawn."""
    monkeypatch.setattr(progress, "_DRAWING_TIMEOUT", 0.01)
    lock = threading.RLock()
    monkeypatch.setattr(progress._Bar, "_lock", lock)

    class Locking(cirq.Simulator):
        def run_sweep(self, *args: Any, **options: Any) -> Any:
            in_background(lock.acquire).result()
            return super().run_sweep(*args, **options)

    if when == "before":
        in_background(lock.acquire).result()
    sampler = Locking() if when == "during" else cirq.Simulator()
    workspace = LocalWorkspace({"local.mine": sampler})
    with AzureSessionSampler("local.mine", workspace=workspace, progress=True) as ours:
        assert in_background(ours.run, CIRCUIT).result(HANG_TIMEOUT)


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
    assert all("| 5 done in" in line for line in screen)
