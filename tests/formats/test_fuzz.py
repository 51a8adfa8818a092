"""Results that nobody meant: whatever comes, a result of the right form or a plain refusal."""

from __future__ import annotations

import functools
import json
from typing import Any

import cirq
import pytest
from formats_lab import IONQ, IONQ_HARDWARE, QIR, QUANTINUUM, emulate, job
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.errors import ResultFormatError
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.translation import JobInput

A, B = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.H(A),
    cirq.measure(A, B, key="ab", invert_mask=(True,)),
    cirq.measure(B, key="b", confusion_map={(0,): [[0.5, 0.5], [0.5, 0.5]]}),
)
TARGETS = (IONQ, IONQ_HARDWARE, QUANTINUUM, QIR)

MEMBERS = ["histogram", "Results", "Histogram", "Shots", "Outcome", "Count", "Display", "Item1"]
words = st.sampled_from([*MEMBERS, "Item2", "m0", "m1", "m2", "0", "1", "2", "3"])
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([0, 1, 4, 0.5, 0.25, "0", "1", "[0, 1, 0]", "Loss"])
    | st.text(max_size=4)
)
documents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(words | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


@functools.cache
def sent(target: str) -> JobInput:
    return job(target, CIRCUIT, repetitions=4)


def check(target: str, output: bytes) -> None:
    try:
        (result,) = format_for(target).decode(output, sent(target).layout)
    except ResultFormatError:
        return
    assert result.repetitions + result.lost_shots == 4
    assert {key: array.shape[1:] for key, array in result.records.items()} == {
        "ab": (1, 2),
        "b": (1, 1),
    }
    assert all(((array == 0) | (array == 1)).all() for array in result.records.values())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=80, derandomize=True, deadline=None)
@given(document=documents)
def test_any_document(target: str, document: Any) -> None:
    check(target, json.dumps(document).encode())
    check(target, json.dumps({"histogram": document}).encode())
    check(target, json.dumps({"m0": document, "m1": document, "m2": document}).encode())
    check(target, json.dumps({"Histogram": document}).encode())
    check(target, json.dumps({"Results": [{"Shots": document}]}).encode())
    check(target, json.dumps({"Results": [{"Histogram": document}]}).encode())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=80, derandomize=True, deadline=None)
@given(data=st.data())
def test_damaged_result_is_read_or_refused_with_a_result_format_error(
    target: str, data: st.DataObject
) -> None:
    output = bytearray(emulated(target))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(output) - 1)))
        if output and data.draw(st.booleans()):
            output[place] = data.draw(st.integers(0, 255))
        else:
            del output[place : place + data.draw(st.integers(1, 30))]
    check(target, bytes(output))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=50, derandomize=True, deadline=None)
@given(output=st.binary(max_size=50))
def test_any_bytes(target: str, output: bytes) -> None:
    check(target, output)


@functools.cache
def emulated(target: str) -> bytes:
    return emulate(target, sent(target))
