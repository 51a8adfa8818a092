"""Outcomes of all keys together, counted and written."""

from __future__ import annotations

import sys
from collections import Counter

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


def test_a_limit_keeps_the_most_frequent_outcomes() -> None:
    one = result(m=[[[1, 0]], [[0, 1]], [[1, 1]], [[1, 1]]])
    histogram = count_outcomes(one, limit=2)
    assert histogram.counts == {"11": 2, "01": 1}
    assert (histogram.repetitions, histogram.hidden) == (4, 1)
    assert count_outcomes(one).hidden == 0


def test_a_result_without_keys_has_no_outcomes() -> None:
    assert count_outcomes(cirq.ResultDict(records={})).counts == {}


def test_levels_of_qudits_are_written_as_numbers() -> None:
    assert count_outcomes(result(a=[[[2, 0]], [[2, 0]]], b=[[[1]], [[3]]])).counts == {
        "20 1": 1,
        "20 3": 1,
    }
    assert count_outcomes(result(a=[[[12, 0]]], b=[[[300], [1]]])).counts == {"120 300,1": 1}


def per_shot(one: cirq.Result) -> Counter[str]:
    """Counts shot by shot, with strings: slow, and hard to get wrong."""
    keys = sorted(one.records)
    return Counter(
        " ".join(
            ",".join("".join(map(str, map(int, measured))) for measured in one.records[key][shot])
            for key in keys
        )
        for shot in range(one.repetitions)
    )


@given(
    shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 40)), min_size=1, max_size=3),
    levels=st.sampled_from([2, 2, 2, 3, 10]),
    dtypes=st.lists(st.sampled_from([np.bool_, np.uint8, np.int8, np.int64]), min_size=3),
    seed=st.integers(0, 1000),
)
def test_counts_are_those_of_a_loop_over_shots(
    shapes: list[tuple[int, int]], levels: int, dtypes: list[type], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pool = [rng.integers(0, levels, (5, *shape)) for shape in shapes]
    chosen = rng.integers(0, 5, 30)
    records = {
        name: rows[chosen].astype(np.uint8 if levels > 2 else dtype)
        for name, rows, dtype in zip("abc", pool, dtypes, strict=False)
    }
    one = cirq.ResultDict(records=records)
    expected = per_shot(one)
    histogram = count_outcomes(one)
    assert histogram.counts == dict(expected)
    assert list(histogram.counts) == sorted(expected, key=lambda text: (-expected[text], text))


def test_no_python_runs_for_each_shot() -> None:
    calls = 0

    def count_calls(*_: object) -> None:
        nonlocal calls
        calls += 1

    def calls_for(shots: int) -> int:
        nonlocal calls
        one = cirq.ResultDict(records={"m": np.ones((shots, 1, 20), np.uint8)})
        calls = 0
        sys.setprofile(count_calls)
        try:
            count_outcomes(one)
        finally:
            sys.setprofile(None)
        return calls

    calls_for(10)  # what is imported or cached at the first call
    assert calls_for(10_000) <= calls_for(10) + 10
