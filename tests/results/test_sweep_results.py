"""The results of a sweep: a list in every way, and a table in a notebook."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from html import unescape

import cirq
import numpy as np
import pandas as pd
import pytest
import sympy

from cirq_azure_sessions.errors import SweepError
from cirq_azure_sessions.results import sweep_results
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.results.plot import plot_sweep
from cirq_azure_sessions.results.sweep_results import SweepResults

QUBITS = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.X(QUBITS[0]) ** sympy.Symbol("<t>"),
    cirq.measure(QUBITS[0], key="a"),
    cirq.measure(QUBITS[1], key="b"),
)


def run(points: int = 2, repetitions: int = 10) -> SweepResults:
    sweep = cirq.Linspace("<t>", 0, 1, points)
    results = cirq.Simulator().run_sweep(CIRCUIT, sweep, repetitions)
    return SweepResults(AzureResult.from_result(each, target="local.simulator") for each in results)


def test_equals_pickles_and_serializes_as_a_list() -> None:
    results = run()
    assert results == list(results)
    assert list(results) == results
    assert pickle.loads(pickle.dumps(results)) == results
    assert cirq.read_json(json_text=cirq.to_json(results)) == list(results)
    assert sorted(list(results)[1:] + results[:1], key=lambda point: point.params["<t>"]) == results


def test_slices_copies_and_sums_are_sweep_results() -> None:
    results = run(4)
    for part in (results[1:3], results[::-1], results[:0], results.copy(), copy.copy(results)):
        assert type(part) is SweepResults
    assert results[1:3] == [results[1], results[2]]
    assert type(results[0]) is AzureResult
    assert type(results[:2] + results[2:]) is SweepResults
    assert results[:2] + list(results)[2:] == results
    for same in (list(results[:2]) + results[2:], results * 1, 1 * results):
        assert (type(same), same) == (SweepResults, results)
    with pytest.raises(TypeError):
        results + 3  # type: ignore[operator]


def test_repr_fits_on_a_line() -> None:
    assert repr(run(50, 500)) == "<SweepResults: 50 points, <t>=0..1, 500 repetitions>"
    assert repr(run(1)) == "<SweepResults: 1 point, <t>=0, 10 repetitions>"
    mixed = SweepResults([None, *run(2), *run(1, 7)])
    assert repr(mixed) == "<SweepResults: 4 points, <t>=0..0, 7 to 10 repetitions, 1 failed>"
    assert repr(SweepResults([None])) == "<SweepResults: 1 point, 1 failed>"
    assert repr(SweepResults()) == "<SweepResults: 0 points>"


def test_repr_of_many_parameters_fits_on_a_line() -> None:
    params = {f"t{number}": sympy.Symbol("x") for number in range(100)}
    result = AzureResult(params=cirq.ParamResolver(params), records={})
    assert repr(SweepResults([result])) == (
        "<SweepResults: 1 point, t0=x, t1=x, t2=x, t3=x, 96 more parameters, 0 repetitions>"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (sympy.Integer(0), "0"),
        (sympy.Rational(1, 3), "0.333333"),
        (Fraction(1, 2), "0.5"),
        (sympy.pi, "pi"),
        (None, "None"),
        ("x" * 99, "x" * 27 + "..."),
    ],
)
def test_repr_shows_a_value_of_any_type_in_short(value: object, shown: str) -> None:
    result = AzureResult(params=cirq.ParamResolver({"t": value}), records={})
    assert repr(SweepResults([result])) == f"<SweepResults: 1 point, t={shown}, 0 repetitions>"


@pytest.mark.parametrize("label", ["blue", None])
def test_a_plot_against_labels_is_refused(label: object) -> None:
    results = [
        AzureResult(
            params=cirq.ParamResolver({"t": value, "label": label}),
            records={"m": np.zeros((1, 1, 1), dtype=np.uint8)},
        )
        for value in (0, 1)
    ]
    with pytest.raises(ValueError, match=r"label is .* plot against a parameter that has numbers"):
        plot_sweep(results, symbol="label")


def test_dataframe_has_one_row_per_point() -> None:
    results = run(3)
    results[1] = None
    frame = results.to_dataframe()
    assert frame.index.tolist() == [0, 1, 2]
    assert frame.columns.tolist() == [
        *("<t>", "job_id", "session_id", "target", "repetitions", "lost_shots", "0 0", "1 0")
    ]
    assert frame["0 0"].tolist()[::2] == [10, 0]
    assert frame["1 0"].tolist()[::2] == [0, 10]
    assert frame["<t>"].tolist()[::2] == [0.0, 1.0]
    assert frame["repetitions"].tolist()[::2] == [10, 10]
    assert pd.isna(frame.loc[1, ["<t>", "target", "repetitions", "0 0"]]).all()


def test_dataframe_counts_are_integers_where_no_point_failed() -> None:
    frame = run().to_dataframe()
    assert frame["1 0"].dtype == np.int64


@pytest.mark.parametrize("results", [SweepResults(), SweepResults([None])])
def test_dataframe_of_no_results_is_empty(results: SweepResults) -> None:
    frame = results.to_dataframe()
    assert len(frame) == len(results)
    assert "job_id" in frame


def test_dataframe_keeps_a_parameter_named_like_an_outcome() -> None:
    result = AzureResult(params=cirq.ParamResolver({"0": 0.5}), records={"m": np.zeros((3, 1, 1))})
    frame = SweepResults([result]).to_dataframe()
    assert frame["0"].to_numpy().tolist() == [[0.5, 3]]


def test_notebook_table_has_one_row_per_point() -> None:
    html = unescape(run()._repr_html_())
    assert "Results of 2 points" in html
    assert "<t>" in html
    assert "most frequent a b" in html
    assert "0 0" in html
    assert "1 0" in html
    assert html.count("<tr>") == 3


def test_notebook_table_shows_failed_points_and_how_many_are_hidden() -> None:
    results = SweepResults([None, *run(60)])
    html = results._repr_html_()
    assert "failed" in html
    assert "and 11 more points" in html
    assert html.count("<tr>") == 51
    assert "Results of 0 points" in SweepResults()._repr_html_()
    assert "Results of 1 point<" in results[:1]._repr_html_()
    assert "and 1 more point<" in results[:51]._repr_html_()


def test_notebook_table_counts_each_shown_point_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    count_outcomes = sweep_results.count_outcomes

    def count(result: cirq.Result, limit: int | None = None) -> object:
        counted.append(result)
        return count_outcomes(result, limit)

    monkeypatch.setattr(sweep_results, "count_outcomes", count)
    run(60)._repr_html_()
    assert len(counted) == 50


def test_results_of_a_sweep_error_are_sweep_results() -> None:
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
    numbers = np.concatenate([np.arange(64), np.full(10, 5)])
    bits = (numbers[:, np.newaxis] >> np.arange(5, -1, -1)) & 1
    html = AzureResult(measurements={"m": bits})._repr_html_()
    assert html.count("<tr>") == 17
    assert html.index("000101") < html.index("000000")
    assert "and 48 more outcomes" in html
