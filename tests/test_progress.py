"""The bar: only where it is asked for, on stderr, and true."""

import cirq
import pytest

from cirq_azure_sessions import AzureSessionSampler
from cirq_azure_sessions.progress import SweepProgress

CIRCUIT = cirq.Circuit(cirq.X(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m"))


def test_nothing_is_printed_unless_asked(capfd: pytest.CaptureFixture[str]):
    with AzureSessionSampler("local.simulator") as sampler:
        sampler.run(CIRCUIT)
        list(sampler.stream_sweep(CIRCUIT, None))
    assert capfd.readouterr() == ("", "")


def test_a_bar_counts_jobs_on_stderr(capfd: pytest.CaptureFixture[str]):
    with AzureSessionSampler("local.simulator", progress=True) as sampler:
        sampler.run(CIRCUIT)
    out, err = capfd.readouterr()
    assert out == ""
    assert "local.simulator: 100%" in err
    assert "1/1" in err


def test_what_is_in_flight_and_what_failed_is_shown(capfd: pytest.CaptureFixture[str]):
    with SweepProgress("ionq.simulator", 3, is_shown=True) as progress:
        for change in ("submitted", "submitted", "failed", "submitted", "done"):
            progress.note(change)
    assert "2/3" in (err := capfd.readouterr().err)
    assert "1 in flight, 1 failed" in err


def test_a_job_that_fails_before_it_is_submitted_is_not_counted_as_in_flight(
    capfd: pytest.CaptureFixture[str],
):
    with SweepProgress("ionq.simulator", 2, is_shown=True) as progress:
        progress.note("failed")
        progress.note("failed")
    assert "0 in flight, 2 failed" in capfd.readouterr().err
