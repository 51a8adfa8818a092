"""Outcomes of all keys together, counted and written."""

from __future__ import annotations

import cirq
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.results.histogram import count_outcomes


def result(**records: list[list[list[int]]]) -> cirq.Result:
    return cirq.ResultDict(records={key: np.array(value) for key, value in records.items()})


def test_the_most_frequent_outcome_comes_first_and_ties_are_sorted() -> None:
    histogram = count_outcomes(result(m=[[[1, 0]], [[0, 1]], [[1, 1]], [[1, 1]]]))
    assert list(histogram.counts.items()) == [("11", 2), ("01", 1), ("10", 1)]
    assert histogram.repetitions == 4


def test_keys_are_sorted_with_their_numbers_as_numbers() -> None:
    records = {f"c_{i}": [[[i % 2]]] for i in (10, 2, 9)}
    histogram = count_outcomes(result(**records, a=[[[1]]]))
    assert histogram.keys == ("a", "c_2", "c_9", "c_10")
    assert list(histogram.counts) == ["1 0 1 0"]


def test_a_key_measured_twice_shows_both_records() -> None:
    assert list(count_outcomes(result(m=[[[0, 1], [1, 1]]])).counts) == ["01,11"]


def test_no_repetitions_give_no_outcomes() -> None:
    histogram = count_outcomes(cirq.ResultDict(records={"m": np.zeros((0, 1, 2), dtype=int)}))
    assert (histogram.counts, histogram.fraction("00")) == ({}, 0)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_counts_are_those_of_cirq(bits: list[tuple[int, int]]) -> None:
    one = result(a=[[[a]] for a, _ in bits], b=[[[b]] for _, b in bits])
    expected = one.multi_measurement_histogram(
        keys=["a", "b"], fold_func=lambda values: " ".join(str(value[0]) for value in values)
    )
    assert count_outcomes(one).counts == dict(expected)
