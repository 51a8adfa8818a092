"""Types of options, and the errors for options of the wrong type.

Options with the same name take the same values everywhere.
"""

from __future__ import annotations

import cmath
import functools
import inspect
import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "AMOUNT",
    "LIMITS",
    "MAX_TIME",
    "PATH",
    "STRING",
    "TEXT",
    "WHOLE",
    "as_json",
    "check_option",
    "check_time",
    "checked",
    "shortened",
    "shown",
]

P = ParamSpec("P")
T = TypeVar("T")

# A description of the valid values of an option, and the check for them; it may raise for others.
_Kind = tuple[str, Callable[[Any], bool]]

# The end of the year 9899, the last that clocks show, in seconds since the Unix epoch: from 10000
# on, Python has no dates; at last a float has no room for one second more.
MAX_TIME = 250_246_627_200.0

_MAX_SHOWN = 60
# Options whose values may be secrets, or are not informative: messages name only the type.
_NOT_SHOWN = {"input_params", "key", "clock", "executor", "samplers", "quotas", "pace", "backends"}


def _is_amount(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


def _is_string(value: Any) -> bool:
    # Half a surrogate pair cannot be sent.
    return isinstance(value, str) and value.encode() is not None


def _is_text(value: Any) -> bool:
    return _is_string(value) and value != ""


def _is_observable(value: Any) -> bool:
    return hasattr(value, "qubits") or (cmath.isfinite(value) and not complex(value).imag)


def _is_json(value: Any) -> bool:
    return isinstance(value, Mapping) and as_json(value) is not None


def _is_path(value: Any) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    # Half a surrogate pair and a null character are in the name of no file.
    return isinstance(path, str) and b"\0" not in os.fsencode(path)


def as_json(params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of provider options in JSON's own types.

    Numbers of other types become integers or floats.

    Raises:
        TypeError, ValueError: If a value is not one of JSON.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Real):
            return int(value) if isinstance(value, Integral) else float(value)
        if getattr(value, "ndim", None) == 0:  # numpy's booleans, and arrays of one number
            return value.item()
        raise TypeError(value)

    copied: dict[str, Any] = json.loads(json.dumps(dict(params), allow_nan=False, default=plain))
    return copied


def _words(*choices: str) -> _Kind:
    return " or ".join(map(repr, choices)), lambda value: _is_text(value) and value in choices


AMOUNT: _Kind = "a number of seconds, 0 or more", _is_amount
PATH: _Kind = "the path of a file", _is_path
STRING: _Kind = "a string of valid Unicode", _is_string
WHOLE: _Kind = "an integer of 0 or more", _is_count
_SECONDS = "a positive number of seconds", lambda value: _is_amount(value) and value > 0
_COUNT = "an integer of 1 or more", lambda value: _is_count(value) and value >= 1
TEXT: _Kind = "a non-empty string of valid Unicode", _is_text
# NumPy's booleans are not Python's.
_SWITCH = "True or False", lambda value: type(value).__name__ in ("bool", "bool_")
LIMITS: _Kind = (
    "an integer of 1 or more, or a mapping of targets to such integers",
    lambda value: all(map(_COUNT[1], value.values() if isinstance(value, Mapping) else [value])),
)

_KINDS: dict[str, _Kind] = {
    "auto_advance": _SWITCH,
    "availability": _words("Available", "Degraded", "Unavailable"),
    "ax": ("the axes of a matplotlib figure", lambda value: hasattr(value, "errorbar")),
    "backends": ("a mapping of targets to functions", lambda value: isinstance(value, Mapping)),
    "callback": ("a function of an event", callable),
    "cancel": _SWITCH,
    "clock": (
        "a Clock, such as a ManualClock",
        lambda value: all(hasattr(value, name) for name in ("time", "monotonic", "sleep")),
    ),
    "close_on_sigterm": _SWITCH,
    "compile": _SWITCH,
    "cost": ("a CostEstimate", lambda value: hasattr(value, "target") and hasattr(value, "time")),
    "executor": (
        "a concurrent.futures.Executor",
        lambda value: isinstance(value, Executor) or callable(getattr(value, "submit", None)),
    ),
    "host": TEXT,
    "input_params": (
        "a mapping of names to JSON values: strings, finite numbers, booleans, None, lists "
        "and mappings",
        _is_json,
    ),
    "job_failure_policy": _words("Abort", "Continue"),
    "job_name": TEXT,
    "job_time": (
        "a number of seconds, 0 or more, or a function of a job's request",
        lambda value: callable(value) or (_is_amount(value) and value < math.inf),
    ),
    "job_id": TEXT,
    "key": TEXT,
    "latency": (
        "a finite number of seconds, 0 or more",
        lambda value: _is_amount(value) and value < math.inf,
    ),
    "max_concurrent_jobs": _COUNT,
    "max_connections": _COUNT,
    "max_cost": ("an amount of 0 or more", _is_amount),
    "max_idle": _SECONDS,
    "max_jobs": LIMITS,
    "max_result_bytes": ("a number of bytes, 0 or more", _is_amount),
    "max_stored_jobs": WHOLE,
    "name": TEXT,
    "noise": ("a NoiseModel", lambda value: hasattr(value, "readout")),
    "num_samples": (
        "an integer from 1 to 100 million",
        lambda value: _is_count(value) and 0 < value <= 10**8,
    ),
    "observables": (
        "a Pauli string, a sum of Pauli strings, or a list of these",
        lambda value: all(map(_is_observable, value if isinstance(value, list) else [value])),
    ),
    "on_error": _words("raise", "return"),
    "on_interrupt": _words("leave", "cancel"),
    "pace": ("a function of a job's request", callable),
    "path": PATH,
    "permit_terminal_measurements": _SWITCH,
    "port": ("a port from 0 to 65535", lambda value: _is_count(value) and value < 2**16),
    "priority": _words("Standard", "High"),
    "program": ("a cirq.Circuit", lambda value: hasattr(value, "all_operations")),
    "progress": _SWITCH,
    "queue_time": AMOUNT,
    "quotas": (
        "a mapping of dimensions to amounts of 0 or more",
        lambda value: (
            isinstance(value, Mapping)
            and all(map(_is_text, value))
            and all(map(_is_amount, value.values()))
        ),
    ),
    "read_timeout": _SECONDS,
    "realistic": _SWITCH,
    "resubmit_lost": _SWITCH,
    "sampler": ("a cirq.Sampler", lambda value: callable(getattr(value, "run_batch", None))),
    "samplers": (
        "a mapping of local.* targets to samplers, or to functions that make them",
        lambda value: (
            isinstance(value, Mapping)
            and all(map(_is_text, value))
            and all(callable(each) or hasattr(each, "run_sweep") for each in value.values())
        ),
    ),
    "seed": (
        "an integer from 0 to 2**32 - 1, or a numpy.random.RandomState",
        lambda value: (_is_count(value) and value < 2**32) or hasattr(value, "randint"),
    ),
    "seconds": AMOUNT,
    "session_id": TEXT,
    "session_timeout": _SECONDS,
    "slots": LIMITS,
    "start": (
        "a time in seconds since the Unix epoch, up to the year 9899",
        lambda value: _is_amount(value) and value <= MAX_TIME,
    ),
    "store": (
        "a path or a connection string",
        lambda value: value != "" and _is_path(value),
    ),
    "tags": (
        "a list of strings of valid Unicode",
        lambda value: (
            isinstance(value, list | tuple | set | frozenset) and all(map(_is_string, value))
        ),
    ),
    "timeout": _SECONDS,
}


def check_option(
    name: str, value: Any, *, or_none: bool = False, kind: _Kind | None = None
) -> None:
    """Refuses an option of the wrong type.

    Raises:
        ValueError: With the option's name and its valid values.
        TypeError: Likewise, if it is one of Cirq's own, which fails with that type there.
    """
    words, fits = kind or _KINDS[name]
    if or_none and value is None:
        return
    # Checks may raise: for a number that is too large, or in methods of a user's object.
    with suppress(Exception):
        if fits(value):
            return
    # Cirq's own argument: of the wrong type, it fails as in Cirq.
    is_cirqs = name == "num_samples" and not isinstance(value, Integral)
    found = f"a {type(value).__name__}" if name in _NOT_SHOWN else shown(value)
    raise (TypeError if is_cirqs else ValueError)(
        f"{name} must be {words}{' or None' if or_none else ''}, not {found}."
    )


def check_time(time: float) -> None:
    """Refuses to advance a clock to this time, in seconds since the Unix epoch, if it has no date.

    Raises:
        ValueError: Naming the last year.
    """
    if time > MAX_TIME:
        raise ValueError("Clocks end with the year 9899: advance this one by fewer seconds.")


def shown(value: Any) -> str:
    """A value of any type, formatted for messages."""
    try:
        text = repr(value)
    except Exception:
        # An integer may have too many digits.
        text = f"a {type(value).__name__}"
    return shortened(text)


def shortened(text: str, limit: int = _MAX_SHOWN) -> str:
    """An id, a name or a path as messages show it: users may pass one of any length."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def checked(**kinds: _Kind) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Checks the options of a function at each call; `kinds` are additional to the common ones.

    An option whose default is None may be None.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        parameters = inspect.signature(function).parameters
        known = {**_KINDS, **kinds}
        or_none = {name for name, each in parameters.items() if each.default is None}

        @functools.wraps(function)
        def check_and_call(*args: P.args, **options: P.kwargs) -> T:
            for name, value in [*zip(parameters, args, strict=False), *options.items()]:
                if name in known and name in parameters:
                    check_option(name, value, or_none=name in or_none, kind=known[name])
            return function(*args, **options)

        return check_and_call

    return decorate
