"""What is wrong with a sampler's options or a call's arguments, before anything is sent."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import cirq

from cirq_azure_sessions.errors import UnsupportedProgram

__all__ = ["check_call", "check_choice", "check_labels", "check_limits", "check_seed"]

# More than any provider runs, and more than fits in memory.
_MOST_REPETITIONS = 100_000_000


def check_choice(name: str, value: Any, *choices: str) -> None:
    """Refuses a value that is none of the choices.

    Raises:
        ValueError: With the choices.
    """
    if value not in choices:
        words = " or ".join(map(repr, choices))
        raise ValueError(f"{name} must be {words}, not {value!r}.")


def check_pool(pool: Any) -> None:
    """Refuses a workspace where a pool of its sessions is asked for.

    Raises:
        TypeError: If it is no pool.
    """
    if not hasattr(pool, "workspace_for"):
        raise TypeError(
            f"pool must be a SessionPool, not {type(pool).__name__}: "
            "give a workspace as workspace=, or make a SessionPool(workspace)."
        )


def check_limits(max_concurrent_jobs: Any, timeout: Any) -> None:
    """Refuses limits that are no numbers, or too small.

    Raises:
        ValueError: With what the limit must be.
    """
    if not isinstance(max_concurrent_jobs, int) or max_concurrent_jobs < 1:
        raise ValueError(
            f"max_concurrent_jobs must be an integer of 1 or more, not {max_concurrent_jobs!r}."
        )
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}.")


def check_seed(seed: Any) -> Any:
    """The seed as Cirq takes it, in which integers are Python's own.

    Raises:
        ValueError: If it is nothing to draw from.
    """
    if isinstance(seed, Integral):
        return int(seed)
    if seed is None or hasattr(seed, "randint"):
        return seed
    raise ValueError(f"seed must be an integer, a numpy.random.RandomState or None, not {seed!r}.")


def check_labels(job_name: Any, tags: Any, input_params: Any) -> None:
    """Refuses what the service could not be told about a job.

    Raises:
        ValueError: With what the option must be.
    """
    if job_name is not None and not (isinstance(job_name, str) and job_name):
        raise ValueError(f"job_name must be a string with something in it, not {job_name!r}.")
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"tags must be a list of strings, not {tags!r}.")
    try:
        json.dumps(dict(input_params), allow_nan=False)
    except (TypeError, ValueError):
        # What they hold is the user's affair and not repeated.
        raise ValueError(
            "input_params must be a mapping of names to what JSON can hold: strings, finite "
            "numbers, booleans, None, lists and mappings."
        ) from None


def check_call(
    program: Any, resolvers: Sequence[cirq.ParamResolver], repetitions: Any
) -> tuple[cirq.AbstractCircuit, int]:
    """Refuses what no target could run, before anything is translated.

    Returns:
        The circuit, and the repetitions as a plain integer.

    Raises:
        ValueError: If the repetitions are no number of 0 or more.
        TypeError: If they are no integer, or the program is no circuit.
        UnsupportedProgram: If the circuit measures nothing or has symbols without a value.
    """
    if not isinstance(program, cirq.AbstractCircuit):
        raise TypeError(f"program must be a cirq.Circuit, not {type(program).__name__}.")
    repetitions = _as_count(repetitions)
    if not program.has_measurements():
        raise UnsupportedProgram(
            "Circuit has no measurements to sample: add cirq.measure(...) to it."
        )
    if not repetitions:
        return program, 0
    names = cirq.parameter_names(program)
    for index, resolver in enumerate(resolvers):
        _check_values(names, resolver, index)
        if not names <= set(map(str, resolver.param_dict)):
            _check_nothing_left(program, resolver, index)
    return program, repetitions


def _as_count(repetitions: Any) -> int:
    """The repetitions as a plain integer; numpy's and others are taken, floats and bools not."""
    try:
        if isinstance(repetitions, bool):
            raise TypeError
        count = operator.index(repetitions)
    except TypeError:
        raise TypeError(f"repetitions must be an integer, not {repetitions!r}.") from None
    if count < 0:
        raise ValueError(f"repetitions must be 0 or more, not {count}.")
    if count > _MOST_REPETITIONS:
        raise ValueError(f"repetitions must be at most {_MOST_REPETITIONS}: run more than once.")
    return count


def _check_values(names: Any, resolver: cirq.ParamResolver, index: int) -> None:
    """Refuses numbers that no gate can turn by."""
    values: Mapping[Any, Any] = resolver.param_dict
    for name, value in values.items():
        if str(name) in names and isinstance(value, Real) and not math.isfinite(value):
            raise UnsupportedProgram(
                f"Point {index} of the sweep gives {name} the value {value}: "
                "give it a finite number."
            )


def _check_nothing_left(
    program: cirq.AbstractCircuit, resolver: cirq.ParamResolver, index: int
) -> None:
    missing = sorted(cirq.parameter_names(cirq.resolve_parameters(program, resolver)))
    if missing:
        raise UnsupportedProgram(
            f"Point {index} of the sweep leaves {', '.join(missing)} without a value: "
            "give every symbol of the circuit one in the parameters."
        )
