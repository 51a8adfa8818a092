"""QIR, for every provider without its own format: compiled by qdk from OpenQASM 3.

The QIR is compiled once for each form of a program, and the angles are inserted afterwards:
compiling takes about a tenth of a second, and rounds angles to qdk's own grid.

qdk reports compilations to Microsoft, unless QDK_PYTHON_TELEMETRY=none is set.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cirq_azure_sessions import upstream
from cirq_azure_sessions.errors import (
    ResultFormatError,
    UnsupportedProgram,
    UnsupportedTarget,
)
from cirq_azure_sessions.formats import openqasm
from cirq_azure_sessions.formats.layout import (
    fractions,
    read_json,
    whole_counts,
)
from cirq_azure_sessions.formats.program import Condition, Program, Step, check_num_qubits, shown
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    TranslationOptions,
    Workload,
)
from cirq_azure_sessions.model import JobRequest, TargetStatus
from cirq_azure_sessions.results.azure_result import AzureResult
from cirq_azure_sessions.spelling import letters

__all__ = ["QirFormat"]

# An angle as written by `openqasm.angle`, and one as written by qdk.
_ANGLE = re.compile(r"(?<=\()-?\d+\.\d{16}(?=\))")
_DOUBLE = re.compile(r"(?<=double )-?\d+\.\d+")

# QIR's profiles, as qdk and Azure's `target_profile` spell them. The first has no branches.
_BASE = "Base"
_ADAPTIVE = "Adaptive_RI"
_PROFILES = re.compile("Base|Adaptive(_[A-Z]+)?")

# Providers documented to support only the Base profile (Azure's page on Rigetti). Programs with
# branches are refused for their machines; their simulators, which are free, decide for themselves.
_BASE_PROVIDERS = frozenset({"rigetti"})
_BASE_MACHINES = re.compile(rf"({'|'.join(_BASE_PROVIDERS)})\.qpu\..*")

# A call of a quantum instruction, and a qubit or result among its arguments, by its number.
_CALL = re.compile(rb"call void @__quantum__qis__(\w+?)__(?:body|adj|ctl)\((.*)\)")
_POINTER = re.compile(rb"(?:%\w+\*|ptr) (null|inttoptr \(i64 \d+)")
# The number of qubits that a program declares, and a branch.
_NUM_QUBITS = re.compile(rb'"required_num_qubits"="(\d+)"')
_BRANCH = re.compile(rb"^  br i1 ", re.MULTILINE)
_WITH_BRANCHES = (
    "run it on a target that has them, such as quantinuum.sim.h2-1e, or remove "
    "them with cirq.defer_measurements"
)
_SPAM = (b"m", b"mz", b"mresetz", b"reset")

# Stands for an angle in a program's form.
_HOLE = "@"

# The services' spellings of a result, and of an error in place of a shot: as an object, or in the
# display of an outcome. The marks of lost qubits and the errors are those in the SDK's readers and
# their tests (azure-quantum 3.13).
_ONES = (1, "1", "One", "True")
_LOST = ("Loss", "-", None)
_WORDS = (0, "0", "Zero", "False", *_ONES, *_LOST)
_NO_BIT = (
    "A shot of the result holds something that is not a bit; fetch the job's output to see it."
)

_ERROR = "Error"
_ERROR_DISPLAY = re.compile(rf"{_ERROR}\b.*", re.DOTALL)

_DISPLAY = re.compile(r"[\[(][\w\s,()\[\]-]*[\])]")


# Values of some bits.
_Values = frozenset[tuple[int, ...]]


class _ShotLost(Exception):
    """The service reports that this shot has no result."""


class _QirTemplate(Template):
    """QIR compiled from OpenQASM 3, with the measured bits in one array `c`.

    A condition on several bits becomes one boolean, as soon as they are measured, because a gate
    may be compiled to many statements, and each would need all of the condition's branches.
    """

    compiler = openqasm.COMPILER
    angle = staticmethod(openqasm.angle)
    operations = staticmethod(openqasm.gate_operations)

    def __init__(self, program: Program, options: TranslationOptions) -> None:
        self.dialect = _profile(program, options)
        self._tests: dict[Condition, str] = {}
        # The statements that follow the measurement of a bit.
        self._decisions: defaultdict[int, list[str]] = defaultdict(list)
        order = {step.bit: k for k, step in enumerate(program.steps) if step.bit is not None}
        for step in program.steps:
            if step.condition is not None and step.condition not in self._tests:
                test, statements = _decision(step.condition, f"f{len(self._tests)}")
                self._tests[step.condition] = test
                self._decisions[max(step.condition.bits, key=order.__getitem__)] += statements
        super().__init__(program, options)
        params = {
            "entryPoint": "ENTRYPOINT__main",
            "arguments": [],
            "target_profile": self.dialect,
        }
        self.draft = replace(self.draft, input_params=params)

    def write(self, step: Step) -> str:
        if step.bit is not None:
            measured = f"c[{step.bit}] = measure q[{step.qubits[0]}];"
            return "\n".join([measured, *self._decisions[step.bit]])
        if step.is_reset:
            statements = [f"reset q[{step.qubits[0]}];"]
        else:
            statements = openqasm.gate_statements(step.gate, step.qubits)
        if step.condition is None:
            return "\n".join(statements)
        return f"if ({self._tests[step.condition]}) {{ {' '.join(statements)} }}"

    def payload(self, operations: Sequence[str]) -> bytes:
        lines = [
            "OPENQASM 3.0;",
            'include "stdgates.inc";',
            f"qubit[{self.program.num_qubits}] q;",
            f"output bit[{self.program.num_bits}] c;",
            *operations,
        ]
        source = "\n".join(lines)
        pieces = _compiled(_ANGLE.sub(_HOLE, source), self.dialect)
        angles = [*_ANGLE.findall(source), ""]
        return "".join(p + angle for p, angle in zip(pieces, angles, strict=True)).encode()


class QirFormat(Format):
    """QIR in the Base profile if it suffices, else in Adaptive RI.

    Base programs measure at the end. For targets that support nothing else, qdk moves measurements
    there, which costs a qubit each; operations that depend on a measured result cannot be moved,
    and are refused for machines. `input_params={"target_profile": ...}` overrides the choice.

    Without qdk, from the extra `qir`, translating raises `UnsupportedTarget`.
    """

    input_format = "qir.v1"
    output_format = "microsoft.quantum-results.v2"
    template = _QirTemplate
    # Recorded jobs have the number under both names.
    shots_names = ("shots", "count")
    own_params = frozenset({"entrypoint", "arguments", "items"})

    def check_input_params(self, input_params: Mapping[str, Any]) -> None:
        """Also refuses an unknown profile, and other names for its option.

        Raises:
            ValueError: If the options are refused.
        """
        super().check_input_params(input_params)
        for name, value in input_params.items():
            if letters(name) not in ("targetprofile", "targetcapability"):
                continue
            if name != "target_profile":
                raise ValueError(
                    f"input_params must not hold {name!r}: the QIR profile is 'target_profile'."
                )
            if not (isinstance(value, str) and _PROFILES.fullmatch(value)):
                raise ValueError(
                    "input_params: target_profile must be 'Base', 'Adaptive_RI' or 'Adaptive_RIF', "
                    f"not {value!r}."
                )

    def check_target(self, request: JobRequest, status: TargetStatus) -> None:
        """Refuses too many qubits, and profiles that the target does not support.

        Where qdk has moved measurements to the end, a program needs more qubits than its circuit.
        """
        if needed := _NUM_QUBITS.search(request.payload):
            check_num_qubits(int(needed[1]), request.target, status.num_qubits)
        is_base = "base" in status.target_profile.lower()
        if is_base and request.input_params.get("target_profile") != _BASE:
            advice = 'pass input_params={"target_profile": "Base"}, which moves measurements there'
            raise UnsupportedProgram(
                f"{request.target} takes programs that measure at the end and have no branches "
                f"(QIR's {status.target_profile} profile): "
                f"{_WITH_BRANCHES if _BRANCH.search(request.payload) else advice}."
            )

    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """Reads shots, or a histogram if there are none.

        Shots that lost a qubit, are errors, or contain anything but bits are omitted from the
        records, counted, and kept raw.

        Raises:
            ResultFormatError: If the payload is not in these formats, or has more shots than
                repetitions, or no readable ones although the service reports none as lost.
        """
        alone = layout.blocks[0] if layout.is_pack else layout
        generator = alone.generator()
        shots = _shots(read_json(payload), alone.repetitions, generator)
        if len(shots) > alone.repetitions:
            raise ResultFormatError(
                f"The result has {len(shots)} shots of {alone.repetitions}; "
                "fetch the job's output to see it."
            )
        if layout.is_pack:
            taken = (_of_columns(shots, layout.num_bits, bits) for bits in layout.columns)
            return self.decode_each(({"Results": [{"Shots": each}]} for each in taken), layout)
        bits = _bits(shots, layout.num_bits)
        lost = layout.repetitions - len(bits)
        return [
            AzureResult(
                params=layout.params,
                records=layout.records(bits, generator),
                target=layout.target,
                raw_shots=shots if lost else None,
                lost_shots=lost,
            )
        ]

    def workload(self, job: JobInput) -> Workload:
        """Counts the program's calls, assuming that none is optimized away."""
        calls = [(name, _POINTER.findall(args)) for name, args in _CALL.findall(job.payload)]
        spam = sum(name in _SPAM for name, _ in calls)
        two = sum(name not in _SPAM and len(qubits) > 1 for name, qubits in calls)
        # The second argument of a measurement is a result, not a qubit.
        touched = {qubit for name, qubits in calls for qubit in qubits[: 1 if name in _SPAM else 3]}
        return Workload(
            shots=job.input_params["shots"],
            one_qubit_gates=len(calls) - spam - two,
            two_qubit_gates=two,
            spam=spam + len(touched),
        )


def _decision(condition: Condition, prefix: str) -> tuple[str, Sequence[str]]:
    """A test of the condition, and the statements that declare its booleans, named after `prefix`.

    After some of the bits, what matters is which values of the others fulfil the condition. Each
    such set has one boolean, computed from those of the sets with one bit less.
    """
    bits, values = condition.bits, condition.values
    if len(bits) == len(values) == 1:
        return f"{'' if values[0][0] else '!'}c[{bits[0]}]", []

    def rest(fulfilling: _Values, digit: int) -> _Values:
        return frozenset(value[1:] for value in fulfilling if value[0] == digit)

    levels = [[frozenset(values)]]
    for _ in bits:
        pairs = itertools.product(levels[-1], (0, 1))
        levels.append([*dict.fromkeys(itertools.starmap(rest, pairs))])
    names: dict[_Values, str] = {frozenset({()}): "true", frozenset(): "false"}
    statements: list[str] = []
    for bit, level in zip(reversed(bits), reversed(levels[:-1]), strict=True):
        following, names = names, {}
        for fulfilling in level:
            zero, one = (following[rest(fulfilling, digit)] for digit in (0, 1))
            names[fulfilling] = one
            if zero != one:
                names[fulfilling] = name = f"{prefix}_{len(statements)}"
                statements.append(f"bool {name} = {one}; if (!c[{bit}]) {{ {name} = {zero}; }}")
    (test,) = names.values()
    return test, statements


def _profile(program: Program, options: TranslationOptions) -> str:
    """The lowest profile that the program needs, or that given in `input_params`.

    Raises:
        UnsupportedProgram: If the program has branches that the profile or target lacks.
    """
    conditional = next((step for step in program.steps if step.condition is not None), None)
    wanted = options.input_params.get("target_profile")
    if wanted == _BASE and conditional is not None:
        raise UnsupportedProgram(
            f"QIR's Base profile has no branches, and {shown(conditional.source)} depends on a "
            "measurement; leave out target_profile, or name a profile with branches."
        )
    if wanted is not None:
        return str(wanted)
    if conditional is not None and _BASE_MACHINES.fullmatch(options.target):
        raise UnsupportedProgram(
            f"{options.target} takes programs without branches (QIR's Base profile), and "
            f"{shown(conditional.source)} depends on a measurement; {_WITH_BRANCHES}."
        )
    provider = options.target.partition(".")[0]
    fits_base = provider in _BASE_PROVIDERS or program.measures_at_end
    return _BASE if conditional is None and fits_base else _ADAPTIVE


@functools.lru_cache(maxsize=128)
def _compiled(form: str, profile: str) -> tuple[str, ...]:
    """The QIR of a program, split at its angles.

    Args:
        form: The OpenQASM 3 program, with a placeholder for each angle.
        profile: The QIR profile.
    """
    pieces = form.split(_HOLE)
    probes = [1 + k / len(pieces) for k in range(1, len(pieces))]
    source = "".join(
        p + a for p, a in zip(pieces, [*map("{:.16f}".format, probes), ""], strict=True)
    )
    qir = _qdk_compile(source, profile)
    found = [float(number) for number in _DOUBLE.findall(qir)]
    if len(found) != len(probes) or not np.allclose(found, probes, rtol=0, atol=1e-9):
        raise UnsupportedProgram(
            "qdk does not keep the angles of this program in place; "
            "install the version of qdk that this package was tested with."
        )
    return tuple(_DOUBLE.split(qir))


def _qdk_compile(source: str, profile: str) -> str:
    try:
        compile_program = upstream.qasm_compiler()
        from qdk import TargetProfile
        from qdk.openqasm import OutputSemantics, QasmError
    except ImportError as error:
        raise UnsupportedTarget(
            "Targets that take QIR need qdk: run pip install '.[qir]' in your checkout."
        ) from error
    try:
        # The four callbacks read files that a program includes; ours include none.
        return compile_program(
            source,
            *[_refuse_file] * 4,
            target_profile=TargetProfile.from_str(profile),
            output_semantics=OutputSemantics.OpenQasm,
            search_path=".",
        )
    except (ValueError, QasmError) as error:
        raise UnsupportedProgram(
            f"qdk cannot compile the circuit to QIR's {profile} profile; choose another in "
            "input_params, or simplify the circuit."
        ) from error


def _refuse_file(*path: str) -> Any:
    raise FileNotFoundError(*path)


def _shots(document: Any, repetitions: int, generator: np.random.Generator) -> list[Any]:
    """The shots of a result in Azure's format 2 or 1, unparsed."""
    if not isinstance(document, dict):
        raise ResultFormatError(
            "The result is not a JSON object; fetch the job's output to see it."
        )
    if "Results" not in document:
        outcomes, fractions = _fractions(document.get("Histogram"))
        counts = whole_counts(fractions, repetitions)
    else:
        results = document["Results"]
        if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
            raise ResultFormatError("The result does not hold the results of one circuit.")
        if isinstance(shots := results[0].get("Shots"), list):
            return shots
        outcomes, counts = _counted(results[0].get("Histogram"), repetitions)
    return [outcomes[k] for k in generator.permutation(np.repeat(np.arange(len(counts)), counts))]


def _counted(histogram: Any, repetitions: int) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """The outcomes of a histogram of format 2, with their counts."""
    if not isinstance(histogram, list) or not all(isinstance(item, dict) for item in histogram):
        raise ResultFormatError('The result has neither "Shots" nor a "Histogram".')
    counts = [item.get("Count") for item in histogram]
    if not all(type(count) is int and 0 <= count <= repetitions for count in counts):
        raise ResultFormatError("The histogram's counts are not numbers of shots.")
    if sum(counts) > repetitions:
        raise ResultFormatError(f"The histogram counts {sum(counts)} shots of {repetitions}.")
    return [item.get("Outcome") for item in histogram], np.array(counts, dtype=np.int64)


def _fractions(histogram: Any) -> tuple[list[Any], npt.NDArray[np.float64]]:
    """The outcomes of a histogram of format 1, with their fractions."""
    if not isinstance(histogram, list) or not histogram or len(histogram) % 2:
        raise ResultFormatError('The result has no "Histogram"; fetch the job\'s output to see it.')
    return histogram[::2], fractions(histogram[1::2])


def _bits(shots: Sequence[Any], num_bits: int) -> npt.NDArray[np.uint8]:
    """The bits of the readable shots, in an array with one row per shot."""
    # The common case: plain lists of 0 and 1.
    if all(type(shot) is list and len(shot) == num_bits for shot in shots):
        with contextlib.suppress(TypeError, ValueError):
            table = np.frombuffer(bytes(itertools.chain.from_iterable(shots)), dtype=np.uint8)
            if np.all(table <= 1):
                return table.reshape(len(shots), num_bits)
    rows: list[list[int]] = []
    unreadable: ResultFormatError | None = None
    for shot in shots:
        try:
            rows.append(_row(shot, num_bits))
        except _ShotLost:
            pass
        except ResultFormatError as error:
            unreadable = unreadable or error
    # A single invalid shot counts as lost; if all are invalid, it is some other kind of result.
    if unreadable is not None and not rows:
        raise unreadable
    return np.array(rows, dtype=np.uint8).reshape(len(rows), num_bits)


def _of_columns(shots: Sequence[Any], num_bits: int, columns: Sequence[int]) -> list[Any]:
    """Some of the bits of each shot, even if others are lost, which may be another point's.

    Raises:
        ResultFormatError: If no shot is readable, or lost as a whole.
    """
    taken: list[Any] = []
    unreadable: ResultFormatError | None = None
    for shot in shots:
        try:
            row = _results(shot, num_bits)
            taken.append([row[column] for column in columns])
        except (_ShotLost, ResultFormatError) as error:
            unreadable = error if isinstance(error, ResultFormatError) else unreadable
            taken.append({_ERROR: shot})
    if unreadable is not None and not any(isinstance(each, list) for each in taken):
        raise unreadable
    return taken


def _results(shot: Any, num_bits: int) -> list[Any]:
    """The entry of a shot for each bit: a value in some spelling, or a loss."""
    leaves = [*itertools.islice(_leaves(shot), num_bits + 1)]
    if len(leaves) != num_bits:
        raise ResultFormatError(f"A shot of the result does not hold {num_bits} bits.")
    return leaves


def _row(shot: Any, num_bits: int) -> list[int]:
    """The bits of a shot without losses."""
    leaves = _results(shot, num_bits)
    if any(leaf in _LOST for leaf in leaves):
        raise _ShotLost
    return [int(leaf in _ONES) for leaf in leaves]


def _leaves(shot: Any) -> Iterator[Any]:
    """The results of a shot, in order, out of arrays, tuples and their written form."""
    pending = [shot]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and item not in _WORDS:
            item = _written(item)
        if isinstance(item, dict):
            item = _tuple(item)
        if isinstance(item, list):
            pending.extend(reversed(item))
        elif item in _WORDS:
            yield item
        else:
            raise ResultFormatError(_NO_BIT)


def _tuple(item: Mapping[str, Any]) -> list[Any]:
    """The items of a tuple, which Azure writes as {"Item1": ..., "Item2": ...}."""
    if _ERROR in item:
        raise _ShotLost
    names = [f"Item{number}" for number in range(1, len(item) + 1)]
    if set(names) != set(item):
        raise ResultFormatError("A shot of the result is neither an array nor a tuple of bits.")
    return [item[name] for name in names]


def _written(display: str) -> list[Any]:
    """The results in an outcome's display, such as `[0, 1]` or `(0, [1, 0])`."""
    if _ERROR_DISPLAY.fullmatch(display):
        raise _ShotLost
    if not _DISPLAY.fullmatch(display):
        raise ResultFormatError(_NO_BIT)
    return re.findall(r"\w+|-", display)
