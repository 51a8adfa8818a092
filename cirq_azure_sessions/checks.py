"""What is wrong with a sampler's options, before anything is sent."""

from __future__ import annotations

import json
from numbers import Integral
from typing import Any

__all__ = ["check_choice", "check_labels", "check_limits", "check_seed"]


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
