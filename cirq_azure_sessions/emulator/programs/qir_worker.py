"""Reads and runs QIR, in a process of its own: started as a script by `qir_process`.

LLVM is not made for hostile bitcode, and an adaptive program may loop for ever; here either costs
the emulator no more than this process. It takes one JSON document a line on its standard input,
and answers each with one on its standard output:

    {"action": "run", "qir": BASE64, "entry_point": NAME, "shots": 500, "seed": 1, "noise": RATES}
        -> {"value": [the value of each shot]}
    {"action": "read", "qir": BASE64, "entry_point": NAME}
        -> {"value": {"qubits": 2, "results": 2, "calls": [[NAME, ARGUMENT, ...], ...]}}

or, where that fails, with {"error": MESSAGE}. Nothing of the package is imported here: loading it
would take longer than most programs run.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import pyqir
from qdk import Result
from qdk.simulation import NoiseConfig, run_qir

# Beyond the first the state vector becomes slow, and the stabilizer simulator takes over, which
# has no such limit for Clifford gates and few others.
_MAX_STATE_VECTOR = 20
_MAX_QUBITS = 1_000
_MAX_RESULTS = 10_000

_MEMORY = 8 << 30

# The names of gates in qdk's noise tables.
_ONE_QUBIT_GATES = (
    *("h", "x", "y", "z", "s", "s_adj", "t", "t_adj", "sx", "sx_adj"),
    *("rx", "ry", "rz"),
)
_TWO_QUBIT_GATES = ("cx", "cy", "cz", "swap", "rxx", "ryy", "rzz")

_MEASUREMENTS = ("m", "mz", "mresetz")
_READOUT_NOISE = "__quantum__rt__readout_noise"

_RESULTS = {Result.Zero: 0, Result.One: 1, Result.Loss: "-"}


def main() -> None:
    """Answers requests until there are no more."""
    limit_memory()
    # What a library may say must not stand among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def limit_memory() -> None:
    """Makes a program that wants too much fail here, not in the emulator. Unix only."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    actions: dict[str, Callable[[dict[str, Any], pyqir.Module], Any]] = {"run": run, "read": read}
    try:
        module = load(base64.b64decode(request["qir"]), request["entry_point"])
        return {"value": actions[request["action"]](request, module)}
    except ValueError as error:
        # LLVM goes on with the line of the program.
        return {"error": str(error).partition("\n")[0][:200]}
    # What a panic in the simulator becomes is not an Exception.
    except BaseException as error:
        return {"error": f"The simulator gave up: {type(error).__name__}."}


def load(qir: bytes, entry_point: str | None) -> pyqir.Module:
    """The module, in text or bitcode, with no other entry point than the one asked for.

    Raises:
        ValueError: If it is no valid module, or there is no such entry point.
    """
    context = pyqir.Context()
    if qir[:4] in (b"BC\xc0\xde", b"\xde\xc0\x17\x0b"):
        module = pyqir.Module.from_bitcode(context, qir)
    else:
        module = pyqir.Module.from_ir(context, qir.decode())
    if problem := module.verify():
        raise ValueError(problem)
    entry_points = [function for function in module.functions if pyqir.is_entry_point(function)]
    chosen = next((f for f in entry_points if entry_point in (None, f.name)), None)
    if chosen is None:
        raise ValueError("The program has no such entry point.")
    for function in entry_points:
        if function.name != chosen.name:
            function.delete()
    check_size(chosen)
    return module


def check_size(entry_point: pyqir.Function) -> None:
    """Refuses programs that say nothing of their size, or too much."""
    limits = {
        "qubits": (pyqir.required_num_qubits(entry_point), _MAX_QUBITS),
        "results": (pyqir.required_num_results(entry_point), _MAX_RESULTS),
    }
    for name, (required, limit) in limits.items():
        if required is None or not 0 <= required <= limit:
            raise ValueError(f"The program has to say how many {name} it needs, up to {limit}.")


def run(request: dict[str, Any], module: pyqir.Module) -> list[Any]:
    """The value that each shot records, a tuple as {"Item1": ...}."""
    entry_point = next(filter(pyqir.is_entry_point, module.functions))
    is_small = (pyqir.required_num_qubits(entry_point) or 0) <= _MAX_STATE_VECTOR
    noise = request["noise"]
    if noise is not None:
        ReadoutNoise(module, noise["readout"]).run(module)
    values = run_qir(
        module.bitcode,
        shots=request["shots"],
        noise=noise and noise_config(noise),
        seed=request["seed"],
        type="cpu" if is_small else "clifford",
    )
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """A recorded value as JSON."""
    if isinstance(value, Result):
        return _RESULTS[value]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return {f"Item{place}": plain(item) for place, item in enumerate(value, start=1)}
    return value


def noise_config(noise: dict[str, Any]) -> NoiseConfig:
    """Depolarizing noise after every gate."""
    config = NoiseConfig()
    for gate in _ONE_QUBIT_GATES:
        getattr(config, gate).set_depolarizing(noise["one_qubit"])
    for gate in _TWO_QUBIT_GATES:
        getattr(config, gate).set_depolarizing(noise["two_qubit"])
    return config


class ReadoutNoise(pyqir.QirModuleVisitor):
    """Puts a readout error after every measurement, by qdk's own instruction for it."""

    def __init__(self, module: pyqir.Module, rates: list[float]) -> None:
        super().__init__()
        number = pyqir.Type.double(module.context)
        self._rates = [pyqir.const(number, rate) for rate in rates]
        self._number = number
        self._module = module
        self._function: pyqir.Function | None = None

    def _on_call_instr(self, call: pyqir.Call) -> None:
        if call.callee.name not in {f"__quantum__qis__{name}__body" for name in _MEASUREMENTS}:
            return
        result = call.args[1]
        if self._function is None:
            types = [self._number, self._number, result.type]
            self._function = pyqir.Function(
                pyqir.FunctionType(pyqir.Type.void(self._module.context), types),
                pyqir.Linkage.EXTERNAL,
                _READOUT_NOISE,
                self._module,
            )
        self.builder.insert_after(call)
        self.builder.call(self._function, [*self._rates, result])


def read(request: dict[str, Any], module: pyqir.Module) -> dict[str, Any]:
    """The program's size, and its calls if it is a plain list of them, or else None.

    An argument is a number, that of a qubit or result too, or None for a label or a variable.
    """
    entry_point = next(filter(pyqir.is_entry_point, module.functions))
    blocks = entry_point.basic_blocks
    instructions = [instruction for block in blocks for instruction in block.instructions]
    is_list = is_straight(blocks) and all(map(is_plain, instructions))
    calls = [
        [instruction.callee.name, *map(argument, instruction.args)]
        for instruction in instructions
        if isinstance(instruction, pyqir.Call)
    ]
    return {
        "qubits": pyqir.required_num_qubits(entry_point),
        "results": pyqir.required_num_results(entry_point),
        "calls": calls if is_list else None,
    }


def is_straight(blocks: list[pyqir.BasicBlock]) -> bool:
    """Whether each block goes on with the one after it, and the last returns."""
    following = [
        [successor.name for successor in block.terminator.successors] if block.terminator else None
        for block in blocks
    ]
    return following == [*([block.name] for block in blocks[1:]), []]


def is_plain(instruction: pyqir.Instruction) -> bool:
    """Whether the instruction is a call, or leads from one block to another."""
    ends = (pyqir.Opcode.BR, pyqir.Opcode.RET)
    return isinstance(instruction, pyqir.Call) or instruction.opcode in ends


def argument(value: pyqir.Value) -> int | float | None:
    """A constant, or the number of a qubit or result; None for a label."""
    if isinstance(value, pyqir.IntConstant | pyqir.FloatConstant):
        return value.value
    # Compilers give labels as global strings, and asking pyqir for the number of one is a crash.
    return None if isinstance(value, pyqir.GlobalVariable) else pyqir.ptr_id(value)


if __name__ == "__main__":
    main()
