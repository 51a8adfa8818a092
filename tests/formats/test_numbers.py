"""Numbers of every type, in a gate and as a parameter: what Cirq's own simulator does with them."""

from __future__ import annotations

import asyncio
import decimal
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from formats_lab import IONQ, QIR, QUANTINUUM, payload

from cirq_azure_sessions import AzureSessionSampler, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import UnsupportedProgram
from cirq_azure_sessions.formats.checks import check_call

A, B, C = cirq.LineQubit.range(3)
T = sympy.Symbol("t")

VALUES: list[Any] = [
    *(True, False, 1, -2, 0.3, -0.0, 1e308, -1e308, 10**400, math.inf, -math.inf, math.nan),
    *(kind(1) for kind in (np.int8, np.int16, np.int32, np.int64)),
    *(kind(1) for kind in (np.uint8, np.uint16, np.uint32, np.uint64)),
    *(np.float16(0.3), np.float32(0.3), np.float64(0.3), np.longdouble(0.3)),
    *(kind("nan") for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    *(kind("inf") for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    *(kind(0.5) for kind in (complex, np.complex64, np.complex128, np.clongdouble)),
    *(kind(0.3 + 0.5j) for kind in (complex, np.complex64, np.complex128, np.clongdouble)),
    *(complex("nan"), np.complex64(complex("nan")), complex("inf")),
    *(np.array(0.3), np.array(1), np.array(0.3 + 0.5j), np.array(math.nan)),
    *(Fraction(1, 3), decimal.Decimal("0.3")),
    *(sympy.Integer(1), sympy.Float(0.3), sympy.Rational(1, 3), sympy.pi, sympy.sqrt(2)),
    *(sympy.I, sympy.pi * sympy.I, sympy.Float(0.3) + sympy.I, sympy.zoo, sympy.nan, sympy.oo),
]

NO_NUMBERS: list[Any] = [None, "0.3", "nan"]

# Each takes a number or a symbol.
GATES: dict[str, Callable[[Any], cirq.Operation]] = {
    "exponent": lambda value: cirq.X(A) ** value,
    "angle": lambda value: cirq.ry(value)(A),
    "phase exponent": lambda value: cirq.PhasedXPowGate(phase_exponent=value)(A),
    "three exponents": lambda value: cirq.PhasedXZGate(
        x_exponent=value, z_exponent=0.2, axis_phase_exponent=value
    )(A),
    "two qubits": lambda value: cirq.ISwapPowGate(exponent=value)(A, B),
    "fsim": lambda value: cirq.FSimGate(value, 0.1)(A, B),
    "controlled": lambda value: cirq.ControlledGate(cirq.ZPowGate(exponent=value))(B, A),
    "global phase": lambda value: cirq.GlobalPhaseGate(value)(),
    "diagonal": lambda value: cirq.TwoQubitDiagonalGate([0.1, value, 0.0, 0.3])(A, B),
    "three diagonal": lambda value: cirq.ThreeQubitDiagonalGate([value, 0.1] * 4)(A, B, C),
    "shift": lambda value: cirq.XPowGate(exponent=0.3, global_shift=value)(A),
    "subcircuit": lambda value: cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A) ** T), param_resolver={"t": value}
    ),
    "repetitions": lambda value: cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A) ** 0.25), repetitions=value, use_repetition_ids=False
    ),
}

# Here Cirq's type of error is an accident or depends on its version, or it runs no constant of
# sympy's.
NOT_COMPARED: dict[str, Any] = {
    "subcircuit": np.ndarray | sympy.Basic,
    "global phase": decimal.Decimal,
    "repetitions": sympy.Basic,
    "three exponents": np.unsignedinteger | complex | np.complexfloating | np.ndarray,
}

# What Cirq fails with. Its choice between the first two depends on the gate.
KINDS = [(ArithmeticError, ValueError), (TypeError,)]


def circuit(operation: cirq.Operation) -> cirq.Circuit:
    return cirq.Circuit(cirq.H(B), operation, cirq.H(B), cirq.measure(A, B, key="m"))


def is_finite_and_real(value: Any) -> bool:
    try:
        number = complex(value)
    except OverflowError:
        return False
    return math.isfinite(number.real * math.pi) and not number.imag


def kind_of(error: Exception) -> tuple[type[Exception], ...]:
    return next(kind for kind in KINDS if isinstance(error, kind))


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """How a call fails, None if it does not."""
    try:
        call(*args)
    except (ArithmeticError, ValueError, TypeError) as error:
        return kind_of(error)
    return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("is_parameter", [False, True], ids=["constant", "parameter"])
@pytest.mark.parametrize("name", GATES)
def test_a_number_of_any_type_is_taken_or_refused_as_cirq_does(
    name: str, is_parameter: bool
) -> None:
    for value in [*VALUES, *NO_NUMBERS]:
        if isinstance(value, NOT_COMPARED.get(name, ())):
            continue
        params = {"t": value} if is_parameter else None
        try:
            program = circuit(GATES[name](T if is_parameter else value))
        except (ArithmeticError, ValueError, TypeError):
            continue  # there is no such gate
        cirqs = outcome(cirq.Simulator().run, program, params)
        ours = outcome(check_call, program, [cirq.ParamResolver(params)], 1)
        # Of some numbers that are not finite and real, Cirq makes a state that is none.
        if cirqs is not None or ours == (TypeError,) or is_finite_and_real(value):
            assert ours == cirqs, repr(value)


# Beside a value that each target takes, what is refused before anything is sent.
REFUSED = [math.nan, math.inf, 1e308, 0.3 + 0.5j, np.complex64(0.3 + 0.5j), sympy.I, "0.3", None]
CALLS: dict[str, Callable[[AzureSessionSampler, cirq.Circuit, Any], Any]] = {
    "run": lambda sampler, program, value: sampler.run(program, {"t": value}, 5),
    "run_sweep": lambda sampler, program, value: sampler.run_sweep(
        program, [{"t": 0.3}, {"t": value}], 5
    ),
    "run_batch": lambda sampler, program, value: sampler.run_batch(
        [program, program], [{"t": 0.3}, {"t": value}], 5
    ),
    "stream_sweep": lambda sampler, program, value: sampler.stream_sweep(program, {"t": value}, 5),
    "run_async": lambda sampler, program, value: asyncio.run(
        sampler.run_async(program, {"t": value}, 5)
    ),
    "sample": lambda sampler, program, value: sampler.sample(
        program, params={"t": value}, repetitions=5
    ),
    "estimate_cost": lambda sampler, program, value: sampler.estimate_cost(
        program, {"t": value}, 5
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "target", [IONQ, QUANTINUUM, QIR, "local.simulator", "local.like:ionq.qpu.aria-1"]
)
def test_nothing_is_sent_for_a_number_that_is_refused(
    target: str, server: EmulatorServer, pool: SessionPool
) -> None:
    sampler = AzureSessionSampler(target, pool=pool)
    open_circuit = circuit(cirq.X(A) ** T)
    for name, call in CALLS.items():
        for value in REFUSED:
            kind = outcome(cirq.Simulator().run, open_circuit, {"t": value})
            assert outcome(call, sampler, open_circuit, value) == kind, (name, value)
        # The same number in a gate, and the number of repetitions.
        constant = circuit(cirq.FSimGate(math.nan, 0.1)(A, B))
        with pytest.raises(UnsupportedProgram, match="finite"):
            call(sampler, constant, 0.3)
    for repetitions in (
        1.0,
        0.3,
        math.nan,
        np.float64(1),
        True,
        "1",
        None,
        1j,
        sympy.Rational(1, 2),
    ):
        with pytest.raises(TypeError, match="repetitions"):
            sampler.run(circuit(cirq.X(A)), repetitions=repetitions)
    assert server.requests.total == 0


@pytest.mark.parametrize("target", [IONQ, QUANTINUUM])
@pytest.mark.parametrize("kind", [complex, np.complex64, np.complex128, np.clongdouble])
def test_a_complex_constant_without_an_imaginary_part_is_its_real_part(
    target: str, kind: type
) -> None:
    def sent(value: Any) -> str:
        return payload(
            target,
            circuit(
                cirq.PhasedXZGate(x_exponent=value, z_exponent=0.25, axis_phase_exponent=value)(A)
            ),
        )

    assert sent(kind(0.5)) == sent(0.5)


# Numbers as options. What each is worth: in `repetitions`, in `seed`, as a number of seconds or an
# amount of money, and in `input_params`; the type of error if it is refused.
Worth = Any
OPTIONS: list[tuple[Any, Worth, Worth, Worth, Worth]] = [
    *((kind(5), 5, 5, 5.0, 5) for kind in (int, np.int8, np.int64, np.uint64, sympy.Integer)),
    *((kind(5), TypeError, ValueError, 5.0, 5.0) for kind in (float, np.float32, np.float64)),
    *((kind(5), TypeError, ValueError, 5.0, 5.0) for kind in (Fraction, np.longdouble)),
    (sympy.Float(5), TypeError, ValueError, 5.0, 5.0),
    (np.array(5), 5, ValueError, ValueError, 5),
    (np.array(5.0), TypeError, ValueError, ValueError, 5.0),
    (decimal.Decimal(5), TypeError, ValueError, ValueError, ValueError),
    *((kind(5), TypeError, ValueError, ValueError, ValueError) for kind in (complex, np.complex64)),
    *((kind(True), TypeError, ValueError, ValueError, True) for kind in (bool, np.bool_)),
    *((kind("nan"), TypeError, ValueError, ValueError, ValueError) for kind in (float, np.float32)),
    *((kind("inf"), TypeError, ValueError, math.inf, ValueError) for kind in (float, np.float64)),
    (sympy.oo, TypeError, ValueError, ValueError, ValueError),
    (sympy.pi, TypeError, ValueError, ValueError, ValueError),
    (sympy.Symbol("x"), TypeError, ValueError, ValueError, ValueError),
    *((value, ValueError, ValueError, ValueError, -1) for value in (-1, np.int8(-1))),
    (10**400, ValueError, ValueError, ValueError, 10**400),
    (b"5", TypeError, ValueError, ValueError, ValueError),
]
HALVES = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))


def worth(call: Callable[[], Any]) -> Any:
    """The value of a call, or the type of the error that it raises with a sentence."""
    error: Exception
    try:
        return call()
    except (TypeError, ValueError) as raised:
        error = raised
    assert "must be" in str(error)
    return type(error)


@pytest.mark.parametrize("target", [IONQ, QUANTINUUM, QIR, "local.simulator"])
def test_a_number_of_any_type_as_an_option_is_taken_or_refused(
    target: str, pool: SessionPool
) -> None:
    plain = AzureSessionSampler(target, pool=pool)

    def drawn(value: Any) -> Any:
        sampler = AzureSessionSampler(target, pool=pool, seed=value)
        # On the others the machine draws.
        draws = target in (IONQ, "local.simulator")
        return sampler.run(HALVES, repetitions=20).measurements["m"].tolist() if draws else None

    def taken(option: str, value: Any) -> Any:
        return AzureSessionSampler(target, pool=pool, **{option: value})

    expected = drawn(5)
    for value, repetitions, seed, amount, param in OPTIONS:
        name = repr(value)
        for call in (
            lambda value=value: len(plain.run(HALVES, repetitions=value).measurements["m"]),
            lambda value=value: len(plain.run_batch([HALVES], None, value)[0][0].records["m"]),
            lambda value=value: plain.estimate_cost(HALVES, None, value).jobs[0].workload.shots,
        ):
            assert worth(call) == repetitions, name
        of_seed = worth(lambda value=value: drawn(value))
        assert of_seed == (expected if seed == 5 else seed), name
        timed = worth(lambda value=value: taken("timeout", value)._timeout)
        assert timed == amount, name
        sent = worth(
            lambda value=value: taken("input_params", {"option": value})._options.input_params
        )
        assert sent == (param if isinstance(param, type) else {"option": param}), name
