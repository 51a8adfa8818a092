"""Layouts: what travels with a job, and what a reader believes."""

from __future__ import annotations

import base64
import json
import operator
import zlib
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import AWKWARD_KEYS, job
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats import translation
from cirq_azure_sessions.formats.layout import (
    MAX_REPETITIONS,
    Layout,
    Measurement,
    read_layout,
    write_layout,
)

PLAIN = Layout("ionq.simulator", 100, (Measurement("m", (0, 1)),), 2, entropy=(7,))

_keys = st.sampled_from(AWKWARD_KEYS) | st.text(max_size=5)
_numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def measurements(draw: st.DrawFn, num_bits: int) -> Measurement:
    bits = draw(st.lists(st.integers(0, num_bits - 1), min_size=1, max_size=6))
    positions = st.integers(0, len(bits) - 1)
    confusion = ((0.9, 0.1), (0.25, 0.75))
    return Measurement(
        draw(_keys),
        tuple(bits),
        tuple(sorted(draw(st.sets(positions)))),
        tuple(((k,), confusion) for k in draw(st.sets(positions))),
    )


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    num_bits = draw(st.integers(1, 80))
    params = draw(st.dictionaries(_keys, _numbers | st.complex_numbers(max_magnitude=9)))
    return Layout(
        target=draw(st.sampled_from(["ionq.simulator", "rigetti.sim.qvm"])),
        repetitions=draw(st.integers(1, 10**7)),
        measurements=tuple(draw(st.lists(measurements(num_bits), max_size=30))),
        num_bits=num_bits,
        params=cirq.ParamResolver(params),
        point=draw(st.integers(0, 10**6)),
        part=draw(st.integers(0, 9)),
        entropy=tuple(draw(st.lists(st.integers(0, 2**128), max_size=3))),
        samples_at_end=draw(st.booleans()),
        is_exact=draw(st.booleans()),
    )


@pytest.mark.parametrize(
    ("entropy", "is_seeded", "is_same"),
    [((7,), True, True), ((8,), True, False), ((8,), False, True)],
    ids=["the same seed", "another seed", "no seed"],
)
def test_job_of_an_earlier_run_keeps_its_draws_unless_the_seed_differs(
    entropy: tuple[int, ...], is_seeded: bool, is_same: bool
) -> None:
    earlier, now = replace(PLAIN, point=3, part=1), replace(PLAIN, entropy=entropy)
    drawn = now.with_draws_of(earlier, is_seeded=is_seeded)
    assert drawn == (earlier if is_same else now)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(layouts())
def test_layout_survives_its_metadata(layout: Layout) -> None:
    metadata = write_layout(layout)
    assert read_layout({"other": "x", **metadata}) == layout
    for name, value in metadata.items():
        # Every recorded key is a single word.
        assert name.isidentifier()
        assert name.isascii()
        assert value.isascii()
        assert value.isprintable()
        assert len(value) <= 250


def test_a_plain_layout_is_one_short_readable_string() -> None:
    assert write_layout(PLAIN) == {
        "cirq_azure_sessions_0": '{"v":1,"t":"ionq.simulator","r":100,"n":2,'
        '"m":[["m",[0,1]]],"p":[{},[]],"i":[0,0],"s":["7"],"f":[1,0]}'
    }


def test_a_long_layout_is_compressed() -> None:
    many = tuple(Measurement(f"key number {k}", (k,)) for k in range(1000))
    metadata = write_layout(Layout("ionq.simulator", 1, many, 1000))
    assert len(metadata) < 40
    assert read_layout(metadata).measurements == many


def test_layouts_of_earlier_versions_are_read() -> None:
    text = write_layout(PLAIN)["cirq_azure_sessions_0"]
    assert read_layout({"cirq-azure-sessions.0": text}) == PLAIN


@pytest.mark.parametrize("target", ["ionq.qpu.forte-1", "quantinuum.sim.h2-1e"])
def test_a_layout_with_no_room_in_the_metadata_is_refused_before_anything_is_sent(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "MAX_CHUNKS", 1)
    wide = cirq.Circuit(cirq.measure(q, key=f"a long key for {q}") for q in cirq.LineQubit.range(9))
    with pytest.raises(UnsupportedProgram, match="shorter measurement keys"):
        job(target, wide)
    assert job(target, cirq.Circuit(cirq.measure(cirq.q(0), key="m"))).metadata


def test_parameters_keep_their_kinds() -> None:
    t = sympy.Symbol("t")
    params = cirq.ParamResolver({t: 1, "u": np.float64(0.25), "v": 2, "w": 1j})
    read = read_layout(write_layout(Layout("x", 1, (), 1, params)))
    assert read.params == params


@pytest.mark.parametrize("key", ["n", sympy.Symbol("n")])
def test_an_integer_too_large_for_a_float_is_kept(key: Any) -> None:
    # Such as 10**400 in the cosine of a formula, or where no gate depends on it.
    assert _come_back({key: 10**400}) == cirq.ParamResolver({key: 10**400})


def _come_back(params: dict[str, object]) -> cirq.ParamResolver:
    sent = Layout("x", 1, (), 1, cirq.ParamResolver(params))
    return read_layout(write_layout(sent)).params


@pytest.mark.parametrize("value", ["blue", "u", "0.5", "é\n", "", None])
def test_parameter_that_is_not_a_number_is_preserved(value: object) -> None:
    assert _come_back({"t": 1, "u": 0.5, "label": value}).param_dict["label"] == value


@pytest.mark.parametrize(
    "value",
    [
        "longer than a label " * 500,
        # More digits than Python reads in JSON.
        10**5000,
        sympy.Integer(10) ** 5000,
        Fraction(10**400),
        sympy.Function("f")(sympy.Symbol("s")),
        sympy.Lambda(sympy.Symbol("s"), sympy.Symbol("s")),
        # Nested more deeply than Python calls functions.
        reduce(lambda inner, _: sympy.sin(inner, evaluate=False), range(2000), sympy.Symbol("s")),
    ],
    ids=["text", "int", "Integer", "Fraction", "function", "lambda", "deep"],
)
def test_a_value_that_cannot_be_written_is_left_out(value: object) -> None:
    assert [*_come_back({"t": 1, "u": value}).param_dict] == ["t"]


expressions = st.recursive(
    st.sampled_from([*sympy.symbols("t u"), sympy.pi, sympy.I])
    | st.fractions(max_denominator=99).map(sympy.Rational)
    | st.integers(-999, 999).map(lambda k: sympy.Float(k / 64)),
    lambda inner: (
        st.builds(operator.add, inner, inner)
        | st.builds(operator.mul, inner, inner)
        | st.builds(operator.pow, inner, st.integers(-2, 2).map(lambda k: sympy.Rational(k, 2)))
    ),
    max_leaves=6,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(expressions.filter(lambda expression: not expression.has(sympy.zoo, sympy.nan)))
def test_expressions_survive_the_metadata(expression: sympy.Expr) -> None:
    params = {"v": expression, "t": 0.5, "u": sympy.Symbol("open")}
    assert _come_back(params) == cirq.ParamResolver(params)


U, V = sympy.symbols("u v")
FORMULAS = [
    2 * sympy.sin(U) + sympy.exp(U) / sympy.log(V),
    *(function(U) for function in (sympy.cos, sympy.tan, sympy.asin, sympy.acos, sympy.atan)),
    *(function(U) for function in (sympy.sinh, sympy.tanh, sympy.floor, sympy.ceiling, sympy.sign)),
    *(function(U) for function in (abs, sympy.sqrt, sympy.erf, sympy.gamma, sympy.re, sympy.sinc)),
    *(sympy.atan2(U, V), sympy.Max(U, V, 0.1), sympy.Min(U, V), sympy.Mod(U, 2), U % V),
    *(sympy.GoldenRatio * U, sympy.EulerGamma, sympy.Catalan),
    *(sympy.Heaviside(U), sympy.E**U, sympy.besselj(0, U), sympy.Max(sympy.sin(U), V) ** 2),
    sympy.Piecewise((U, U > V), (sympy.cos(V), sympy.And(U >= 0, sympy.Ne(V, 1))), (0, True)),
]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_sympy_functions_survive_the_metadata(formula: sympy.Expr) -> None:
    params = {"t": formula, "u": 0.5, "v": 0.25}
    read = _come_back(params)
    assert read == cirq.ParamResolver(params)
    assert read.value_of("t") == cirq.ParamResolver(params).value_of("t")


def test_other_expressions_come_back_as_numbers() -> None:
    integral = sympy.Integral(V, (V, 0, 2 * U))
    read = _come_back({"t": integral + 1, "u": 1.0, "nothing": sympy.Function("f")(V)})
    assert read == cirq.ParamResolver({"t": 3.0, "u": 1.0})


@pytest.mark.parametrize(
    "expression",
    [
        [],
        ["Pow"],
        ["Symbol", 1],
        ["Rational", 1.5, 2],
        ["Float", "1"],
        ["exec", ["Symbol", "x"]],
        [["pi"]],
        ["sin"],
        ["Function", ["Symbol", "x"]],
        ["Piecewise", ["pi"]],
        ["Add", "pi", 1],
    ],
    ids=str,
)
def test_invalid_expressions_are_refused(expression: list[object]) -> None:
    document = json.loads(write_layout(PLAIN)["cirq_azure_sessions_0"])
    document["p"] = [{}, [[0, "t", expression]]]
    with pytest.raises(ResultFormatError, match="damaged"):
        read_layout({"cirq_azure_sessions_0": json.dumps(document)})


def test_expression_in_foreign_metadata_is_not_evaluated() -> None:
    document = json.loads(write_layout(PLAIN)["cirq_azure_sessions_0"])
    ten = ["Rational", 10, 1]
    document["p"] = [{}, [[0, "t", ["Pow", ten, ["Pow", ten, ["Pow", ten, ten]]]]]]
    assert "t" in read_layout({"cirq_azure_sessions_0": json.dumps(document)}).params.param_dict
    million = ["Rational", 10**6, 1]
    document["p"] = [{}, [[0, "t", ["factorial", ["factorial", million]]]]]
    assert "t" in read_layout({"cirq_azure_sessions_0": json.dumps(document)}).params.param_dict


def test_as_many_repetitions_as_a_call_may_ask_for_can_be_read() -> None:
    sent = Layout("local.x", MAX_REPETITIONS, (), 1)
    assert read_layout(write_layout(sent)) == sent


def test_bits_become_records_by_key() -> None:
    layout = Layout(
        "x",
        2,
        (Measurement("b", (2,)), Measurement("a", (1, 0), (0,)), Measurement("b", (0,))),
        3,
        samples_at_end=False,
    )
    records = layout.records(np.array([[1, 0, 0], [0, 1, 1]], np.uint8), layout.generator())
    assert list(records) == ["b", "a"]
    assert records["b"].tolist() == [[[0], [1]], [[1], [0]]]
    assert records["a"].tolist() == [[[1, 1]], [[0, 0]]]
    assert records["a"].dtype == np.uint8


def test_no_repetitions_keep_the_shape() -> None:
    records = PLAIN.records(np.empty((0, 2), np.uint8), PLAIN.generator())
    assert records["m"].shape == (0, 1, 2)


# Broken and hostile metadata


def document(**changes: Any) -> dict[str, str]:
    members = json.loads(write_layout(PLAIN)["cirq_azure_sessions_0"]) | changes
    return {"cirq_azure_sessions_0": json.dumps(members)}


CONFUSED = ["m", [0, 1], [], [[[0], [[0.5, 0.5], [0.5, 0.5]]]]]


def test_the_documents_below_differ_from_good_ones_in_one_thing() -> None:
    assert read_layout(document()) == PLAIN
    assert read_layout(document(m=[CONFUSED])).measurements[0].confusion


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": "1"},
        {"t": None},
        {"r": -1},
        {"r": 10**12},
        {"r": 1.5},
        {"r": True},
        {"r": "100"},
        {"n": 10**9},
        {"m": None},
        {"m": [["m", [2]]]},
        {"m": [["m", [-1]]]},
        {"m": [["m", [0.0]]]},
        {"m": [[1, [0]]]},
        {"m": [["m"]]},
        {"m": [["m", [0], [1]]]},
        {"m": [["m", [0], [], [[[1], [[1, 0], [0, 1]]]]]]},
        {"m": [["m", [0], [], [[[0], [[1, 0]]]]]]},
        {"m": [["m", [0], [], [[[0], [[1, 0], [0.5, 0.6]]]]]]},
        {"m": [["m", [0], [], [[[0], [[2, -1], [0, 1]]]]]]},
        {"m": [["m", [0], [], [[[0], "x"]]]]},
        {"m": [["m", [0], [], [[[0] * 40, []]]]]},
        {"p": []},
        {"p": [{"t": "1"}, []]},
        {"p": [{"t": [1]}, []]},
        {"p": [{}, [[0, "t"]]]},
        {"p": [{}, [[0, "t", 1, 2, 3]]]},
        {"i": [0]},
        {"i": [0, -1]},
        {"s": [7]},
        {"s": ["-1"]},
        {"s": ["9" * 200]},
        {"s": ["x"]},
        {"f": [1]},
        {"f": [1, 2]},
    ],
    ids=str,
)
def test_invalid_layouts_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ResultFormatError):
        read_layout(document(**changes))


BOMB = base64.b64encode(zlib.compress(b" " * 10**8)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        "{}",
        "{" * 10_000,
        '{"v": NaN}',
        "AAAA",
        "é",
        BOMB,
        base64.b64encode(zlib.compress(b'{"v":1')).decode(),
        base64.b64encode(zlib.compress(b'{"v":1}')[:-4]).decode(),
        base64.b64encode(zlib.compress(b"\xff")).decode(),
        base64.b64encode(zlib.compress(b"[" * 10**6)).decode(),
    ],
    ids=lambda text: text[:20],
)
def test_metadata_without_a_layout_is_refused(text: str) -> None:
    chunks = [text[k : k + 250] for k in range(0, len(text), 250)] or [""]
    with pytest.raises(ResultFormatError):
        read_layout({f"cirq_azure_sessions_{k}": chunk for k, chunk in enumerate(chunks)})


def test_missing_chunk_is_detected() -> None:
    many = tuple(Measurement(f"key number {k}", (k,)) for k in range(20))
    metadata = write_layout(Layout("ionq.simulator", 1, many, 20))
    assert len(metadata) > 1
    del metadata["cirq_azure_sessions_1"]
    with pytest.raises(ResultFormatError):
        read_layout(metadata)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.data())
def test_damaged_layout_is_read_or_refused_with_a_result_format_error(data: st.DataObject) -> None:
    text = bytearray(write_layout(PLAIN)["cirq_azure_sessions_0"], "ascii")
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(32, 126))
    try:
        layout = read_layout({"cirq_azure_sessions_0": text.decode()})
    except ResultFormatError:
        return
    layout.records(np.zeros((1, layout.num_bits), np.uint8), layout.generator())


def test_metadata_without_a_layout_are_refused() -> None:
    with pytest.raises(ResultFormatError, match="only jobs that it submitted"):
        read_layout({})


def test_journal_of_a_later_version_is_reported() -> None:
    with pytest.raises(ResultFormatError, match="update this one"):
        read_layout(document(v=3))
