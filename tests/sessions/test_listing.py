"""Lists of sessions and jobs, statistics and estimates, as notebooks show them."""

from __future__ import annotations

import cirq
import sympy
from services import FLIP

from cirq_azure_sessions import AzureSessionSampler, LocalWorkspace, SessionPool
from cirq_azure_sessions.costs.rates import known_rates
from cirq_azure_sessions.results.html import Stats

QUBIT = cirq.LineQubit(0)
ROTATION = cirq.Circuit(cirq.rx(sympy.Symbol("a"))(QUBIT), cirq.measure(QUBIT, key="m"))


def test_lists_are_tables_with_one_row_per_item() -> None:
    with SessionPool(LocalWorkspace(), name="<mine>") as pool:
        sampler = AzureSessionSampler("local.simulator", pool=pool)
        assert "None found" in pool.list_jobs()._repr_html_()
        job_ids = [sampler.run(FLIP).job_id for _ in range(2)]
        (session,) = found = pool.list_sessions()
        assert pool.sessions() == found == [session]
        for each in (pool.sessions(), found):
            shown = each._repr_html_()
            assert "<strong>1 session</strong>" in shown
            assert session.id in shown
            assert "&lt;mine&gt;" in shown
        for jobs in (pool.list_jobs(), session.jobs()):
            shown = jobs._repr_html_()
            assert "<strong>2 jobs</strong>" in shown
            assert all(job_id in shown for job_id in job_ids)
            assert shown.count("Succeeded") == 2
        assert isinstance(pool.get_stats(), Stats)


def test_estimate_is_a_table_with_one_row_per_job() -> None:
    sampler = AzureSessionSampler("local.simulator")
    estimate = sampler.estimate_cost(ROTATION, cirq.Linspace("a", 0, 1, 3), repetitions=10)
    shown = estimate._repr_html_()
    assert str(estimate) in shown
    assert shown.count("<tr>") == 1 + len(estimate.jobs)


def test_a_sampler_shows_its_target_and_its_pool() -> None:
    with AzureSessionSampler("local.simulator", workspace=LocalWorkspace()) as sampler:
        sampler.run(FLIP)
        shown = sampler._repr_html_()
    assert "AzureSessionSampler on local.simulator" in shown
    assert "jobs submitted: 1, jobs succeeded: 1" in shown


def test_rates_are_a_table_with_their_source_and_date() -> None:
    rates = known_rates("ionq.qpu.aria-1")
    assert rates
    shown = rates._repr_html_()
    assert (
        f'per two qubit gate</td><td style="text-align:right">{rates.per_two_qubit_gate}' in shown
    )
    assert f"{rates.source} ({rates.date}" in shown
