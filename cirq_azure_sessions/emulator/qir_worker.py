"""Reads and runs QIR in a separate process, since LLVM is not hardened against hostile bitcode.

`programs.qir_pool` manages the processes. This module is outside `programs` because importing that
imports Cirq, which takes longer than most programs run.
"""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeAlias

__all__ = ["Context", "Rates", "guard", "read", "run", "start"]

# The probabilities of an error after a gate on one qubit and on two, and of reading 0 as 1, 1 as 0.
Rates: TypeAlias = tuple[float, float, tuple[float, float]]

# Above the first limit a state vector is slow, and the stabilizer simulator takes over: it has no
# such limit for programs of Clifford gates with few others.
_MAX_STATE_VECTOR = 20
_MAX_QUBITS = 1_000
_MAX_RESULTS = 10_000

# Bytes of address space, most of it reserved but never used by the simulator's threads.
_MEMORY = 4 << 30

# The names of gates in qdk's noise tables.
_ONE_QUBIT = ("h", "x", "y", "z", "s", "s_adj", "t", "t_adj", "sx", "sx_adj", "rx", "ry", "rz")
_TWO_QUBIT = ("cx", "cy", "cz", "swap", "rxx", "ryy", "rzz")

_MEASUREMENTS = [f"__quantum__qis__{name}__body" for name in ("m", "mz", "mresetz")]
_RECORDS = "_record_output"

# The label that marks a complete run; qdk returns 0 for values that were never recorded.
_END = 0x656E64

# Guards the name of the main module while a process is started.
_STARTING = threading.Lock()


class _Process(SpawnProcess):
    """A process that does not import the user's main module, which may lack an import guard."""

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802
        with _STARTING:
            main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process)
            finally:
                sys.modules["__main__"] = main


class Context(SpawnContext):
    """Starts the processes that run QIR."""

    Process = _Process


def start() -> None:
    """Prepares a new process: Ctrl-C and the terminal belong to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Programs on the emulator are not reported to anybody.
    os.environ["QDK_PYTHON_TELEMETRY"] = "none"
    # There are as many processes as processors, and a program may use one.
    os.environ["RAYON_NUM_THREADS"] = "1"
    # Imported here, so that the first program is not charged for it.
    importlib.import_module("qdk.simulation")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        import resource
    except ImportError:
        # Only Unix has resource limits.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))


def _end_with_parent() -> None:
    """Ends the process when its parent has ended, for any reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)


def guard(seconds: float, work: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a function, and kills the process if it takes too long.

    `ValueError` if the program is at fault, `TimeoutError` if it never ends.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        return work(*arguments)
    except TimeoutError:
        raise
    except ValueError as error:
        # LLVM's message continues with the offending line.
        raise ValueError(str(error).partition("\n")[0][:200]) from None
    # A panic in the simulator raises a BaseException that cannot be pickled.
    except BaseException as error:
        raise ValueError(f"The simulator gave up: {type(error).__name__}.") from None
    finally:
        faulthandler.cancel_dump_traceback_later()


def read(qir: bytes, entry_point: str | None) -> dict[str, Any]:
    """The program's size, its calls, and whether it consists of these calls only.

    An argument is a number (also for a qubit or result), or None for a label or a variable.
    """
    import pyqir

    def argument(value: Any) -> int | float | None:
        if isinstance(value, pyqir.IntConstant | pyqir.FloatConstant):
            return value.value
        # Compilers emit labels as global strings; pyqir crashes when asked for the number of one.
        return None if isinstance(value, pyqir.GlobalVariable) else pyqir.ptr_id(value)

    _, function = _load(qir, entry_point)
    listed = (pyqir.Opcode.CALL, pyqir.Opcode.BR, pyqir.Opcode.RET)
    return {
        "qubits": pyqir.required_num_qubits(function),
        "results": pyqir.required_num_results(function),
        "calls": [[each.callee.name, *map(argument, each.args)] for each in _calls(function)],
        "is_list": _is_straight(function)
        and all(each.opcode in listed for each in _instructions(function)),
    }


def run(
    qir: bytes, entry_point: str | None, shots: int, seed: int, noise: Rates | None
) -> list[Any]:
    """The records of each shot: a result is 0, 1 or "-", an array a list, a tuple a tuple.

    `TimeoutError` if a shot never ends: qdk gives up silently after a number of steps.
    """
    import pyqir
    from qdk.simulation import run_qir

    module, function = _load(qir, entry_point)
    is_small = (pyqir.required_num_qubits(function) or 0) <= _MAX_STATE_VECTOR
    attributes = function.attributes.func
    profile = attributes["qir_profiles"].string_value if "qir_profiles" in attributes else ""
    is_adaptive = profile == "adaptive_profile"
    if not (is_adaptive or _is_straight(function)):
        # qdk would ignore its branches and run it from the first line to the last.
        raise ValueError("It has branches, which its profile does not allow.")
    if noise is not None:
        _add_readout_noise(module, noise[2])
    has_records = is_adaptive and _mark_end(module, function)
    try:
        values = run_qir(
            module.bitcode,
            shots=shots,
            noise=noise and _noise_config(noise),
            seed=seed,
            type="cpu" if is_small else "clifford",
        )
    except IndexError:
        # A run that did not reach the end recorded fewer values.
        raise TimeoutError from None
    if not is_adaptive:
        return [*map(_plain, values)]
    if any(value[-1:] != [_END] for value in values):
        raise TimeoutError
    return [_plain(value[0]) if has_records else () for value in values]


def _load(qir: bytes, entry_point: str | None) -> tuple[Any, Any]:
    """Parses a module from text or bitcode, keeping only this entry point."""
    import pyqir

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
    for name, required, limit in (
        ("qubits", pyqir.required_num_qubits(chosen), _MAX_QUBITS),
        ("results", pyqir.required_num_results(chosen), _MAX_RESULTS),
    ):
        if required is None or not 0 <= required <= limit:
            raise ValueError(f"The program has to say how many {name} it needs, up to {limit}.")
    return module, chosen


def _instructions(function: Any) -> list[Any]:
    return [each for block in function.basic_blocks for each in block.instructions]


def _calls(function: Any) -> list[Any]:
    import pyqir

    return [each for each in _instructions(function) if isinstance(each, pyqir.Call)]


def _is_straight(function: Any) -> bool:
    """Whether the blocks form a straight line."""
    blocks = function.basic_blocks
    following = [[next.name for next in block.terminator.successors] for block in blocks]
    return following == [*([block.name] for block in blocks[1:]), []]


def _mark_end(module: Any, function: Any) -> bool:
    """Makes a program record a mark after its value when it ends; whether it has a value.

    `TimeoutError` if it can never end.
    """
    import pyqir

    instructions = _instructions(function)
    returns = [each for each in instructions if each.opcode == pyqir.Opcode.RET]
    if not returns:
        raise TimeoutError
    recording = {
        each.name
        for each in module.functions
        if any(call.callee.name.endswith(_RECORDS) for call in _calls(each))
    }
    has_records = function.name in recording
    if recording - {function.name}:
        raise ValueError("It records a result elsewhere than in its entry point.")
    number = pyqir.IntType(module.context, 64)
    builder = pyqir.Builder(module.context)

    def record(kind: str, value: int) -> None:
        recorder = _runtime(module, f"{kind}{_RECORDS}", number, 1)
        null = pyqir.Constant.null(recorder.params[1].type)
        builder.call(recorder, [pyqir.const(number, value), null])

    builder.insert_before(instructions[0])
    record("array", 2 if has_records else 1)
    # qdk reads records in the order of the text, so the mark has to be on the last line.
    end = pyqir.BasicBlock(module.context, "end", function)
    exit_code = next((pyqir.Constant.null(each.type) for each in returns[0].operands), None)
    for each in returns:
        builder.insert_before(each)
        builder.br(end)
        each.erase()
    builder.insert_at_end(end)
    record("int", _END)
    builder.ret(exit_code)
    return has_records


def _runtime(module: Any, name: str, kind: Any, count: int) -> Any:
    """A function of the runtime, which takes numbers of this kind, and then a pointer."""
    import pyqir

    name = f"__quantum__rt__{name}"
    pointer = pyqir.PointerType(pyqir.IntType(module.context, 8))
    types = pyqir.FunctionType(pyqir.Type.void(module.context), [*[kind] * count, pointer])
    found = (each for each in module.functions if each.name == name)
    return next(found, None) or pyqir.Function(types, pyqir.Linkage.EXTERNAL, name, module)


def _plain(value: Any) -> Any:
    """A recorded value without types of qdk."""
    from qdk import Result

    if isinstance(value, Result):
        return {Result.Zero: 0, Result.One: 1, Result.Loss: "-"}[value]
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value


def _noise_config(noise: Rates) -> Any:
    """Depolarizing noise after every gate."""
    from qdk.simulation import NoiseConfig

    config = NoiseConfig()
    for gate in _ONE_QUBIT:
        getattr(config, gate).set_depolarizing(noise[0])
    for gate in _TWO_QUBIT:
        getattr(config, gate).set_depolarizing(noise[1])
    return config


def _add_readout_noise(module: Any, rates: tuple[float, float]) -> None:
    """Adds a readout error after every measurement, with qdk's instruction for it."""
    import pyqir

    number = pyqir.Type.double(module.context)
    error = _runtime(module, "readout_noise", number, 2)
    builder = pyqir.Builder(module.context)
    for function in module.functions:
        for call in _calls(function):
            if call.callee.name in _MEASUREMENTS:
                builder.insert_after(call)
                builder.call(error, [*(pyqir.const(number, rate) for rate in rates), call.args[1]])
