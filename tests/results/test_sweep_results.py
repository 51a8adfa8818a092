"""The results of a sweep: a list in every way, and a table in a notebook."""

from __future__ import annotations

import copy
import pickle
from html import unescape

import cirq
import sympy

from cirq_azure_sessions import AzureResult, AzureSessionSampler, SweepError, SweepResults

QUBITS = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.X(QUBITS[0]) ** sympy.Symbol("<t>"),
    cirq.measure(QUBITS[0], key="a"),
    cirq.measure(QUBITS[1], key="b"),
)


def run(points: int = 2) -> SweepResults:
    with AzureSessionSampler("local.simulator") as sampler:
        results = sampler.run_sweep(CIRCUIT, cirq.Linspace("<t>", 0, 1, points), repetitions=10)
    assert isinstance(results, SweepResults)
    return results


def test_a_sweep_is_a_list_in_every_way() -> None:
    results = run()
    assert results == list(results)
    assert list(results) == results
    assert pickle.loads(pickle.dumps(results)) == results
    assert type(copy.copy(results)) is SweepResults
    assert cirq.read_json(json_text=cirq.to_json(results)) == list(results)
    assert type(results[:1]) is list


def test_a_notebook_shows_one_row_a_point() -> None:
    html = unescape(run()._repr_html_())
    assert "Results of 2 points" in html
    assert "<t>" in html
    assert "most frequent a b" in html
    assert "0 0" in html
    assert "1 0" in html
    assert html.count("<tr>") == 3


def test_a_notebook_shows_where_points_failed_and_how_many_are_hidden() -> None:
    results = SweepResults([None, *run(60)])
    html = results._repr_html_()
    assert "failed" in html
    assert "and 11 more points" in html
    assert html.count("<tr>") == 51
    assert "Results of 0 points" in SweepResults()._repr_html_()


def test_what_came_home_of_a_failed_sweep_is_such_a_list() -> None:
    results = run()
    error = SweepError("One failed.", failures={}, results=results)
    assert type(error.results) is SweepResults
    assert pickle.loads(pickle.dumps(error)).results == results


def test_a_result_shows_its_outcomes() -> None:
    result = run()[1]
    assert isinstance(result, AzureResult)
    html = unescape(result._repr_html_())
    assert "local.simulator, <t>=1.0, 10 repetitions" in html
    assert ">a b<" in html
    assert ">1 0<" in html


def test_a_result_with_many_outcomes_shows_the_most_frequent() -> None:
    qubits = cirq.LineQubit.range(6)
    circuit = cirq.Circuit(cirq.H.on_each(qubits), cirq.measure(qubits, key="m"))
    with AzureSessionSampler("local.simulator", seed=1) as sampler:
        result = sampler.run(circuit, repetitions=2000)
    assert isinstance(result, AzureResult)
    html = result._repr_html_()
    assert html.count("<tr>") == 17
    assert "and 48 more outcomes" in html
