"""QIR programs (`qir.v1`), text or bitcode, into Azure's generic results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cirq_azure_sessions.emulator.programs import ionq
from cirq_azure_sessions.emulator.programs.failure import invalid_input, untranslatable
from cirq_azure_sessions.emulator.programs.instructions import Measurement
from cirq_azure_sessions.emulator.programs.noise import NoiseModel, quantinuum_noise
from cirq_azure_sessions.emulator.programs.parameters import check_result_size, read_shots
from cirq_azure_sessions.emulator.programs.qir_circuit import QirCircuit
from cirq_azure_sessions.emulator.programs.qir_process import QirProcesses
from cirq_azure_sessions.emulator.programs.qir_results import DOCUMENTS, map_leaves
from cirq_azure_sessions.emulator.programs.quantinuum import is_syntax_checker
from cirq_azure_sessions.emulator.programs.simulation import sample

__all__ = ["run"]

# The SDK makes batches of up to so many items.
_MAX_ITEMS = 1_000

_PROCESSES = QirProcesses()


def run(
    target: str,
    provider: str,
    payload: bytes,
    params: Mapping[str, Any],
    output_format: str,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> bytes:
    """Runs a program, or each of the `items` of a batch, into the bytes of the result.

    Args:
        output_format: `microsoft.quantum-results.v2` has one entry an item; the others hold the
            result of one program only.
    """
    if output_format not in DOCUMENTS:
        raise untranslatable(provider)
    entry_points = _entry_points(params)
    if len(entry_points) > 1 and output_format != "microsoft.quantum-results.v2":
        raise untranslatable(provider)
    shots = read_shots(params, provider)
    if provider == "quantinuum":
        noise = quantinuum_noise(params, noise)
    results = []
    for entry_point in entry_points:
        circuit = QirCircuit(_PROCESSES.ask("read", payload, entry_point))
        check_result_size(shots, circuit.num_results)
        if provider == "ionq":
            values = _run_on_ionq(target, circuit, params, shots, noise, rng)
        elif circuit.obstacle is None:
            values = _run_circuit(circuit, shots, noise, rng)
        else:
            values = _run_with_qdk(payload, entry_point, shots, noise, rng)
        if noise.loss:
            values = _with_losses(values, noise.loss, rng)
        if is_syntax_checker(target):
            values = [map_leaves(lambda leaf: type(leaf)(0), value) for value in values]
        results.append(values)
    return json.dumps(DOCUMENTS[output_format](results), separators=(",", ":")).encode()


def _entry_points(params: Mapping[str, Any]) -> list[str | None]:
    """The entry points to run: that of each item, or one for all. None means the only one."""
    items = params.get("items", [{}])
    if not isinstance(items, list) or not 1 <= len(items) <= _MAX_ITEMS:
        raise invalid_input(f"items has to be a list of 1 to {_MAX_ITEMS} objects.")
    entry_points = []
    for item in items:
        if not isinstance(item, Mapping):
            raise invalid_input("An item has to be an object.")
        entry_point = item.get("entryPoint", params.get("entryPoint"))
        if not isinstance(entry_point, str | None):
            raise invalid_input("entryPoint has to be a name.")
        # QIR of today's compilers has its arguments compiled in, and qdk takes none.
        if item.get("arguments", params.get("arguments")):
            raise invalid_input("The emulator runs entry points without arguments only.")
        entry_points.append(entry_point)
    return entry_points


def _run_with_qdk(
    payload: bytes,
    entry_point: str | None,
    shots: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> list[Any]:
    """The shots of any program, such as one of the adaptive profile."""
    values: list[Any] = _PROCESSES.ask(
        "run",
        payload,
        entry_point,
        shots=shots,
        seed=int(rng.integers(1 << 32)),
        noise=None if noise.is_silent else asdict(noise),
    )
    return values


def _run_circuit(
    circuit: QirCircuit, shots: int, noise: NoiseModel, rng: np.random.Generator
) -> list[Any]:
    """The shots of a circuit."""
    qubits = circuit.measured
    measurements = [Measurement(qubit, bit) for bit, qubit in enumerate(qubits)]
    rows = sample([*circuit.gates, *measurements], len(qubits), shots, noise, rng)
    # Few different rows, each of which would be made into the same value again and again.
    values: dict[bytes, Any] = {}
    for row in rows:
        if row.tobytes() not in values:
            values[row.tobytes()] = circuit.value(dict(zip(qubits, row.tolist(), strict=True)))
    return [values[row.tobytes()] for row in rows]


def _with_losses(values: Sequence[Any], loss: float, rng: np.random.Generator) -> list[Any]:
    """The shots with the mark of a lost qubit in place of some results, as in the SDK's tests."""
    return [map_leaves(lambda bit: "-" if rng.random() < loss else bit, value) for value in values]


def _run_on_ionq(
    target: str,
    circuit: QirCircuit,
    params: Mapping[str, Any],
    shots: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> list[Any]:
    """The shots that follow from IonQ's histogram of all qubits, outcome after outcome.

    A recorded job of 500 shots whose qubits had four outcomes of probability 1/4 has exactly 125
    shots of each, in the order of the histogram.
    """
    if circuit.obstacle is not None:
        raise invalid_input(f"The target does not run {circuit.obstacle}.")
    used = {*circuit.measured, *(qubit for gate in circuit.gates for qubit in gate.qubits)}
    num_qubits = max(used, default=0) + 1
    if num_qubits > ionq.machine_size(target):
        raise invalid_input(f"The target has {ionq.machine_size(target)} qubits.")
    shares = ionq.histogram(circuit.gates, num_qubits, target, params, noise, rng)
    counts = _apportion(shots, list(shares.values()))
    values = (
        circuit.value({qubit: outcome >> qubit & 1 for qubit in circuit.measured})
        for outcome in shares
    )
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _apportion(shots: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the shares, the largest remainders rounded up."""
    exact = np.array(shares) * shots / sum(shares)
    counts = np.floor(exact).astype(np.int64)
    up = np.argsort(counts - exact, kind="stable")[: shots - int(counts.sum())]
    counts[up] += 1
    whole: list[int] = counts.tolist()
    return whole
