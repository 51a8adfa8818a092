"""Quantinuum: OpenQASM 2 programs; results have one string per shot and classical register.

Each measured bit has its own classical register, so that the order of characters in a register's
string, which no recording shows, does not matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cirq_azure_sessions.errors import ResultFormatError
from cirq_azure_sessions.formats import openqasm
from cirq_azure_sessions.formats.layout import read_json
from cirq_azure_sessions.formats.program import Program, Step
from cirq_azure_sessions.formats.template import Template
from cirq_azure_sessions.formats.translation import (
    Format,
    JobInput,
    TranslationOptions,
    Workload,
)
from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["QuantinuumFormat"]

# The name of a statement, after its optional condition, and a qubit that it acts on.
_STATEMENT = re.compile(rb"^(?:if\(\w+==\d+\) )?([a-z]+)", re.MULTILINE)
_QUBIT = re.compile(rb"(?<!qreg )q\[(\d+)\]")
# The number of native two-qubit gates of each gate. Azure's page on pricing defines them as
# equivalent to a CNOT up to one-qubit gates, but each CNOT counts as two: only this reproduces the
# recorded bills of Bell and GHZ circuits to the digit.
_TWO_QUBIT_GATES = {b"cx": 1, b"cz": 1, b"swap": 3, b"ccx": 6}
_SPAM = (b"measure", b"reset")
_DECLARATIONS = (b"include", b"qreg", b"creg")


class _QuantinuumTemplate(Template):
    """Steps as statements of OpenQASM 2.

    Registers `m0`, `m1`, ... hold the measured bits. OpenQASM 2 compares only a whole register
    with a number, so a condition on several bits has a register `c0`, `c1`, ... of its own, into
    which they are measured a second time.
    """

    compiler = openqasm.COMPILER
    angle = staticmethod(openqasm.angle)
    operations = staticmethod(openqasm.gate_operations)

    def __init__(self, program: Program, options: TranslationOptions) -> None:
        conditions = (step.condition for step in program.steps if step.condition is not None)
        shared = dict.fromkeys(c.bits for c in conditions if len(c.bits) > 1)
        self._registers = {bits: f"c{number}" for number, bits in enumerate(shared)}
        self._reused = _bits_of_reused_qubits(program.steps)
        super().__init__(program, options)

    def write(self, step: Step) -> str:
        if step.bit is not None:
            return self._measured(step.qubits[0], step.bit)
        if step.is_reset:
            statements = [f"reset q[{step.qubits[0]}];"]
        else:
            statements = openqasm.gate_statements(step.gate, step.qubits)
        if step.condition is not None:
            # At most one of the values that fulfil the condition can occur.
            bits = step.condition.bits
            name = self._registers.get(bits, f"m{bits[0]}")
            values = [sum(bit << k for k, bit in enumerate(v)) for v in step.condition.values]
            statements = [f"if({name}=={value}) {s}" for value in values for s in statements]
        return "\n".join(statements)

    def _measured(self, qubit: int, bit: int) -> str:
        copies = [
            f"{name}[{bits.index(bit)}]" for bits, name in self._registers.items() if bit in bits
        ]
        # A measured ion may leave the two states of its qubit. Quantinuum requires a reset before
        # it
        # is used again (Azure's page on the provider, "Mid-circuit measurement").
        prepare = f"reset q[{qubit}];\nif(m{bit}==1) x q[{qubit}];"
        lines = [f"measure q[{qubit}] -> m{bit}[0];"]
        for copy in copies:
            lines += [prepare, f"measure q[{qubit}] -> {copy};"]
        if bit in self._reused:
            lines.append(prepare)
        return "\n".join(lines)

    def payload(self, operations: Sequence[str]) -> bytes:
        registers = [f"creg m{bit}[1];" for bit in range(self.program.num_bits)]
        registers += [f"creg {c}[{len(bits)}];" for bits, c in self._registers.items()]
        lines = [
            "OPENQASM 2.0;",
            'include "qelib1.inc";',
            f"qreg q[{self.program.num_qubits}];",
            *registers,
            *operations,
        ]
        return ("\n".join(lines) + "\n").encode()


class QuantinuumFormat(Format):
    """OpenQASM 2, which still has Honeywell's name on Azure."""

    input_format = "honeywell.openqasm.v1"
    output_format = "honeywell.quantum-results.v1"
    template = _QuantinuumTemplate
    # Recorded jobs have `count`, the SDK of 2026 has `shots`.
    shots_names = ("count", "shots")

    def decode(self, payload: Any, layout: Any) -> Sequence[AzureResult]:
        """Reads the registers of the measured bits.

        Shots that are missing from all registers are counted as lost.

        Raises:
            ResultFormatError: If a register is missing, contains anything but bits, or differs in
                length from the others; or if there are more shots than repetitions.
        """
        document = read_json(payload)
        if not isinstance(document, dict):
            raise ResultFormatError(
                "The result has no registers; fetch the job's output to see it."
            )
        if layout.is_pack:
            own = [dict(enumerate(f"m{bit}" for bit in bits)) for bits in layout.columns]
            answers = ({f"m{bit}": document.get(old) for bit, old in each.items()} for each in own)
            return self.decode_each(answers, layout)
        registers = [_register(document, f"m{bit}") for bit in range(layout.num_bits)]
        lengths = sorted({len(register) for register in registers})
        if len(lengths) > 1 or lengths[0] > layout.repetitions:
            # It is unknown which values belong to the same shot.
            raise ResultFormatError(
                f"The result's registers hold {' and '.join(map(str, lengths))} shots of "
                f"{layout.repetitions}; fetch the job's output to see it."
            )
        return [
            AzureResult(
                params=layout.params,
                records=layout.records(np.column_stack(registers), layout.generator()),
                target=layout.target,
                lost_shots=layout.repetitions - lengths[0],
            )
        ]

    def workload(self, job: JobInput) -> Workload:
        """Counts statements, assuming that none is optimized away."""
        counts = Counter(_STATEMENT.findall(job.payload))
        spam = sum(counts.pop(name, 0) for name in _SPAM)
        two = sum(counts.pop(name, 0) * native for name, native in _TWO_QUBIT_GATES.items())
        one = counts.total() - sum(counts[name] for name in _DECLARATIONS)
        return Workload(
            shots=job.input_params["shots"],
            one_qubit_gates=one + 2 * two,
            two_qubit_gates=two,
            spam=spam + len(set(_QUBIT.findall(job.payload))),
        )


def _bits_of_reused_qubits(steps: Sequence[Step]) -> frozenset[int]:
    """The bits whose qubits are used again after their measurement, other than by a reset."""
    next_step: dict[int, Step] = {}
    reused = set()
    for step in reversed(steps):
        follower = next_step.get(step.qubits[0])
        if step.bit is None or follower is None:
            pass
        elif not follower.is_reset or follower.condition is not None:
            reused.add(step.bit)
        next_step.update(dict.fromkeys(step.qubits, step))
    return frozenset(reused)


def _register(document: Mapping[str, Any], name: str) -> npt.NDArray[np.uint8]:
    values = document.get(name)
    if not isinstance(values, list) or not _are_bits(values):
        raise ResultFormatError(f"The result's register {name!r} is missing, or holds no bits.")
    return np.frombuffer("".join(values).encode(), dtype=np.uint8) - ord("0")


def _are_bits(values: list[Any]) -> bool:
    try:
        return set(values) <= {"0", "1"}
    except TypeError:  # something in it is a list or an object
        return False
