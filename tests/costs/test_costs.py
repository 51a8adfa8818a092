"""Estimates: published examples to the digit, and the emulator's bills."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions import (
    AzureSessionSampler,
    Rates,
    SessionPool,
    SystemClock,
    UnsupportedProgram,
    UnsupportedTarget,
    estimate_cost,
    known_rates,
)
from cirq_azure_sessions.costs.pricing import Pricing
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import JobInput, TranslationOptions, Workload

A, B, C = cirq.LineQubit.range(3)
BELL = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
GHZ = cirq.Circuit(cirq.H(A), cirq.CNOT(A, B), cirq.CNOT(B, C), cirq.measure(A, B, C, key="m"))
THETA = sympy.Symbol("theta")
RABI = cirq.Circuit(cirq.rx(THETA)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
SWEEP = cirq.Linspace("theta", 0.1, 3, 6)

ARIA = "ionq.qpu.aria-1"
FORTE = "ionq.qpu.forte-1"
EMULATOR = "quantinuum.sim.h2-1e"
MACHINE = "quantinuum.qpu.h2-1"
UNMITIGATED = {"error-mitigation": {"debias": False}}


def rates_of(target: str) -> Rates:
    rates = known_rates(target)
    assert rates is not None
    return rates


# How long


def test_time_is_a_range_from_one_queue_to_one_per_round() -> None:
    estimate = estimate_cost(ARIA, RABI, SWEEP)
    time = estimate.time(600.0, max_concurrent_jobs=4)
    assert (time.at_least, time.at_most) == (600.0, 1200.0)
    assert str(time).startswith("0:10:00 to 0:20:00 in the queue for 6 jobs on ionq.qpu.aria-1")
    alone, together = (estimate_cost(ARIA, RABI, SWEEP[:count]).time(600.0) for count in (1, 2))
    assert str(alone).startswith("0:10:00 in the queue for 1 job on ionq.qpu.aria-1, ")
    assert str(together).startswith("0:10:00 in the queue for 2 jobs on ionq.qpu.aria-1, ")
    assert estimate_cost(ARIA, RABI, []).time(600.0).at_least == 0.0


def test_queue_time_comes_from_the_service() -> None:
    estimate = estimate_cost(EMULATOR, BELL)
    with EmulatorServer(realistic=True) as server, SessionPool(server.workspace()) as pool:
        # As recorded; a target that takes no jobs now has a queue all the same.
        server.set_availability(EMULATOR, "Unavailable")
        assert pool.estimate_time(estimate).at_least == 199_773.0
        with pytest.raises(UnsupportedTarget):
            pool.estimate_time(estimate_cost("ionq.qpu.none", BELL))


# What others have published


@pytest.mark.parametrize(("circuit", "credits"), [(BELL, 8.3), (GHZ, 10.5)])
def test_credits_are_those_of_recorded_bills(circuit: cirq.Circuit, credits: float) -> None:
    estimate = estimate_cost(EMULATOR, circuit, repetitions=500)
    assert (estimate.amount, estimate.unit) == (credits, "EHQC")


def test_credits_match_the_sdks_formula() -> None:
    # azure-quantum-python, tests/unit/test_quantinuum.py: a teleportation of 7 one-qubit gates,
    # 2 two-qubit gates and 3 measurements.
    assert rates_of(MACHINE).amount(Workload(100_000, 7, 2, 3)) == 845.0


@pytest.mark.parametrize(
    ("shots", "one_qubit_gates", "dollars"),
    [(1024, 2, 1.0), (100_000, 2, 66.0), (100_000, 1, 63.0)],
)
def test_gate_shots_are_priced_as_the_sdk_did(
    shots: int, one_qubit_gates: int, dollars: float
) -> None:
    # azure-quantum-python, tests/unit/test_qiskit.py and test_ionq.py, with the prices of 2022.
    harmony = Rates(per_one_qubit_gate=0.00003, per_two_qubit_gate=0.0003, minimum=1.0)
    assert harmony.amount(Workload(shots, one_qubit_gates, 2)) == dollars


@pytest.mark.parametrize(
    ("target", "mitigated", "plain"), [(ARIA, 97.50, 12.4166), (FORTE, 168.195, 25.7899)]
)
def test_the_minimum_price_depends_on_error_mitigation(
    target: str, mitigated: float, plain: float
) -> None:
    estimate = estimate_cost(target, BELL, repetitions=100)
    assert (estimate.amount, estimate.unit, estimate.minimum_applied) == (mitigated, "USD", True)
    assert estimate_cost(target, BELL, None, 100, input_params=UNMITIGATED).amount == plain


def test_a_job_above_the_minimum_costs_its_gate_shots() -> None:
    circuit = cirq.Circuit([cirq.H(A), cirq.CNOT(A, B)] * 100, cirq.measure(A, B, key="m"))
    estimate = estimate_cost(ARIA, circuit, repetitions=10_000)
    assert estimate.amount == pytest.approx(10_000 * 100 * (0.000220 + 0.000975))
    assert not estimate.minimum_applied


# What the emulator bills, which counts operations with code of its own


@pytest.mark.parametrize("target", [ARIA, FORTE, EMULATOR, MACHINE])
def test_a_sweep_costs_what_was_estimated(target: str) -> None:
    deep = cirq.Circuit([RABI[:2]] * 40, RABI[2:])
    with EmulatorServer() as server, SessionPool(server.workspace()) as pool:
        sampler = AzureSessionSampler(target, pool=pool)
        for circuit, repetitions in ((RABI, 100), (deep, 5000)):
            before = pool.get_stats()
            estimate = sampler.estimate_cost(circuit, SWEEP, repetitions)
            sampler.run_sweep(circuit, SWEEP, repetitions)
            after = pool.get_stats()
            for dimension, amount in estimate.usage.items():
                name = f"consumed_{dimension}"
                assert after[name] - before.get(name, 0.0) == pytest.approx(amount)
            if estimate.unit == "USD":
                assert after["cost_USD"] - before["cost"] == pytest.approx(estimate.amount)


# What is in an estimate


def test_an_estimate_distinguishes_points_from_jobs() -> None:
    estimate = estimate_cost(ARIA, RABI, SWEEP, 25_000)
    assert [job.workload.shots for job in estimate.jobs[:3]] == [10_000, 10_000, 5_000]
    assert len(estimate.jobs) == 18
    assert estimate.points == dict.fromkeys(range(6), 3 * 97.50)
    assert estimate.amount == 18 * 97.50


def test_points_may_differ() -> None:
    # At theta = 0 the rotation is left out.
    estimate = estimate_cost(EMULATOR, RABI, cirq.Points("theta", [0, 0.1]), 5000)
    assert [job.workload.one_qubit_gates for job in estimate.jobs] == [2, 3]
    assert estimate.points[1] - estimate.points[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "target", ["local.simulator", "ionq.simulator", "quantinuum.sim.h2-1sc", "rigetti.sim.qvm"]
)
def test_simulators_are_reported_as_free(target: str) -> None:
    estimate = estimate_cost(target, RABI, SWEEP, 500)
    assert (estimate.amount, estimate.is_free) == (0.0, True)
    assert "the target is free" in str(estimate)


def test_a_local_target_is_free_without_a_source() -> None:
    estimate = estimate_cost("local.simulator", RABI, SWEEP, 500)
    assert str(estimate) == "0 USD for 1 job on local.simulator: the target is free."
    assert "according to" not in estimate.rates._repr_html_()


TODAY = datetime.fromtimestamp(SystemClock().time(), UTC).date()


def test_an_estimate_reads_as_a_sentence() -> None:
    rates = dataclasses.replace(known_rates(ARIA), date=TODAY.isoformat())
    estimate = estimate_cost(ARIA, RABI, SWEEP, 500, rates=rates)
    amount, jobs = estimate.amount, len(estimate.jobs)
    assert repr(estimate) == (
        f"CostEstimate(target={ARIA!r}, amount={amount}, unit='USD', jobs={jobs})"
    )
    assert str(estimate) == (
        "585.00 USD for 6 jobs on ionq.qpu.aria-1, 6 at the minimum of 97.5, "
        f"according to https://learn.microsoft.com/azure/quantum/pricing ({TODAY})."
    )


@pytest.mark.parametrize(("days", "note"), [(364, ""), (367, ", more than a year old")])
def test_rates_over_a_year_old_are_reported_as_such(days: int, note: str) -> None:
    date = TODAY - timedelta(days=days)
    rates = dataclasses.replace(known_rates(ARIA), date=date.isoformat())
    assert str(estimate_cost(ARIA, RABI, SWEEP, 500, rates=rates)).endswith(f"({date}{note}).")
    assert f"({date}{note})<" in rates._repr_html_()


@pytest.mark.parametrize("date", ["soon", "2025", "20250917", "2025-02-30"])
def test_an_invalid_date_of_rates_is_refused(date: str) -> None:
    with pytest.raises(ValueError, match=f"YYYY-MM-DD, not '{date}'"):
        Rates(date=date)


@pytest.mark.parametrize(("target", "missing"), [("qci.machine1", "per_job="), (MACHINE, "")])
def test_without_published_rates_the_amount_is_none_and_names_the_missing_rates(
    target: str, missing: str
) -> None:
    estimate = estimate_cost(target, BELL, repetitions=100)
    assert (estimate.amount is None) == bool(missing)
    assert missing in str(estimate)


def test_time_on_the_machine_needs_the_time_of_a_shot() -> None:
    target = "rigetti.qpu.ankaa-3"
    unknown = estimate_cost(target, BELL, repetitions=1000)
    assert unknown.amount is None
    assert "seconds_per_shot" in str(unknown)
    rates = dataclasses.replace(rates_of(target), seconds_per_shot=20e-6)
    # 20 ms are two begun tens of milliseconds, and one shot more begins a third.
    assert estimate_cost(target, BELL, None, 1000, rates=rates).amount == pytest.approx(0.04)
    assert estimate_cost(target, BELL, None, 1001, rates=rates).amount == pytest.approx(0.06)


def test_nothing_to_run_costs_nothing() -> None:
    assert estimate_cost(ARIA, BELL, repetitions=0).amount == 0.0
    assert estimate_cost(ARIA, RABI, [], 100).amount == 0.0


def test_an_estimate_survives_pickling() -> None:
    estimate = estimate_cost(ARIA, RABI, SWEEP, 500)
    assert pickle.loads(pickle.dumps(estimate)) == estimate


def test_circuits_that_cannot_run_have_no_price() -> None:
    with pytest.raises(UnsupportedTarget):
        estimate_cost("no such target", BELL)
    with pytest.raises(UnsupportedProgram):
        estimate_cost(ARIA, RABI)


def test_estimate_does_not_advance_the_samplers_random_stream() -> None:
    with (
        AzureSessionSampler("local.simulator", seed=3) as one,
        AzureSessionSampler("local.simulator", seed=3) as other,
    ):
        one.estimate_cost(BELL, repetitions=100)
        assert one.run(BELL, repetitions=20) == other.run(BELL, repetitions=20)


# Rates of one's own


def test_users_may_override_rates() -> None:
    rates = Rates(unit="EUR", per_job=1.0, per_shot=0.01)
    estimate = estimate_cost(ARIA, RABI, SWEEP, 100, rates=rates)
    assert (estimate.amount, estimate.unit) == (12.0, "EUR")
    assert str(estimate).endswith("according to the given rates.")


def test_a_sampler_has_rates_and_a_call_may_have_others() -> None:
    with AzureSessionSampler("local.simulator", rates=Rates(per_shot=0.5)) as sampler:
        assert sampler.estimate_cost(BELL, repetitions=10).amount == 5.0
        assert sampler.estimate_cost(BELL, None, 10, rates=Rates(per_shot=2.0)).amount == 20.0


def test_published_rates_have_a_source_and_a_date() -> None:
    for target in (ARIA, FORTE, EMULATOR, MACHINE, "ionq.simulator", "rigetti.qpu.ankaa-3"):
        assert rates_of(target).source.startswith("https://")
        assert rates_of(target).date > "2025"


NUMBERS = [
    *(2, 2.0, Fraction(2), Decimal(2), sympy.Integer(2), sympy.Float(2)),
    *(np.int64(2), np.uint8(2), np.float32(2), np.float64(2), np.float16(2)),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_rates_accept_every_type_of_real_number(number: Any) -> None:
    given = dict.fromkeys(("per_job", "per_shot", "minimum", "seconds_per_shot"), number)
    rates = Rates(per_centisecond=number, **given)
    assert rates == Rates(per_centisecond=2.0, **dict.fromkeys(given, 2.0))
    assert all(type(getattr(rates, name)) is float for name in given)
    assert rates.amount(Workload(3)) == 2 + 3 * 2 + 2 * 600


@pytest.mark.parametrize(
    "rate",
    [
        *(-1.0, float("nan"), float("inf"), "1", True, np.True_, 1j, [1], Fraction(-1, 2)),
        *(
            Decimal("nan"),
            Decimal("sNaN"),
            Decimal("inf"),
            10**400,
            np.float32("nan"),
            np.complex64(1),
        ),
    ],
    ids=lambda rate: repr(rate)[:20],
)
def test_an_invalid_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="per_job"):
        Rates(per_job=rate)


def test_repr_of_rates_omits_zero_rates() -> None:
    assert repr(Rates(per_shot=0.1)) == "Rates(unit='USD', per_shot=0.1, source='the given rates')"


amounts = st.floats(0, 100)


@given(
    rates=st.builds(Rates, per_job=amounts, per_two_qubit_gate=amounts, minimum=amounts),
    work=st.builds(Workload, st.integers(1, 10_000), two_qubit_gates=st.integers(0, 100)),
)
def test_more_shots_never_cost_less_and_no_job_less_than_the_minimum(
    rates: Rates, work: Workload
) -> None:
    more = dataclasses.replace(work, shots=work.shots + 1)
    assert rates.minimum - 1e-9 <= rates.amount(work) <= rates.amount(more)


# The jobs of a sweep, priced


class CountingTranslation:
    """A sweep of one point in many jobs, which counts how often each is made."""

    is_packed = False

    def __init__(self, repetitions: int) -> None:
        format_ = format_for(ARIA)
        self._translation = format_.translate(
            BELL, [cirq.ParamResolver({})], repetitions, TranslationOptions(ARIA)
        )
        self.made = 0

    def __len__(self) -> int:
        return len(self._translation)

    def points(self, index: int) -> range:
        return self._translation.points(index)

    def job(self, index: int) -> JobInput:
        self.made += 1
        return self._translation.job(index)


def test_each_job_is_made_once_to_be_priced() -> None:
    translation = CountingTranslation(1_000_000)
    pricing = Pricing(ARIA, format_for(ARIA))
    assert pricing.estimate(translation).amount == 100 * 97.50
    assert translation.made == len(translation) == 100
    assert pricing.usage(translation) == {"gs1q": 1_000_000, "gs2q": 1_000_000}
    assert translation.made == 200


@pytest.mark.parametrize("target", [ARIA, EMULATOR, "ionq.simulator", "rigetti.qpu.ankaa-3"])
def test_usage_is_that_of_the_estimate(target: str) -> None:
    format_ = format_for(target)
    pricing = Pricing(target, format_)
    translation = format_.translate(BELL, [cirq.ParamResolver({})], 500, TranslationOptions(target))
    estimate = pricing.estimate(translation)
    assert pricing.usage(translation) == estimate.usage != {}
    assert pricing.amount(translation.job(0)) == (estimate.amount or 0.0)


def test_cost_is_unknown_without_rates() -> None:
    pricing = Pricing("qci.machine1", format_for("qci.machine1"))
    assert pricing.usage(None) == {}
    assert not pricing.is_charging
