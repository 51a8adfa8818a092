"""Options of the wrong type, for every parameter of every public class."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from services import FLIP, LOCAL

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    AzureWorkspace,
    Journal,
    LocalWorkspace,
    ManualClock,
    Rates,
    SessionPool,
)
from cirq_azure_sessions.emulator import EmulatorServer

ODD = {
    "object": object(),
    "zero": 0,
    "negative": -1,
    "nan": math.nan,
    "infinity": math.inf,
    "minus zero": -0.0,
    "huge": 1e308,
    "tiny": 5e-324,
    "beyond floats": 10**400,
    "beyond words": 10**5000,
    "bool": True,
    "digits": "5",
    "empty": "",
    "bytes": b"x",
    "list": [1],
    "dict": {1: 2},
    "class": int,
    "numpy integer": np.int64(3),
    "numpy nan": np.float64("nan"),
    "array": np.array([1, 2]),
    "fraction": Fraction(1, 3),
    "function": len,
    "complex": 1j,
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def make(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Makes one of a class, and closes it."""
    monkeypatch.chdir(tmp_path)
    needed: dict[type, dict[str, Any]] = {
        AzureSessionSampler: {"target": LOCAL},
        AzureWorkspace: {"workspace": server.workspace()},
        Journal: {"path": "journal"},
    }

    def make(kind: type, **options: Any) -> None:
        made = kind(**{**needed.get(kind, {}), **options})
        if isinstance(made, EmulatorServer):
            made.start()
            made.stop()
        elif isinstance(made, AzureSessionSampler | SessionPool | Journal):
            made.close()

    return make


def refusal(call: Callable[..., Any], **options: Any) -> str | None:
    """The sentence in which a call refuses its options; None if it takes them."""
    try:
        call(**options)
    except (ValueError, TypeError, AzureSessionsError) as error:
        return str(error)
    return None


CLASSES = [
    AzureSessionSampler,
    AzureWorkspace,
    EmulatorServer,
    Journal,
    LocalWorkspace,
    ManualClock,
    Rates,
    SessionPool,
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_option_of_any_type_works_or_is_refused_by_its_name(
    make: Callable[..., None], kind: type
) -> None:
    for name in inspect.signature(kind).parameters:
        # The operating system knows addresses and files.
        if name in ("host", "port", "store", "key"):
            continue
        refused = 0
        for what, value in ODD.items():
            error = refusal(partial(make, kind), **{name: value})
            refused += error is not None
            assert error is None or (name in error and len(error) < 400), f"{name} {what}: {error}"
        assert refused, f"{name} takes anything"


@pytest.mark.parametrize("seconds", [1e308, 5e-324, math.inf, np.float32(7), Fraction(1, 3)])
def test_large_and_tiny_times_work(seconds: Any) -> None:
    with SessionPool(max_idle=seconds) as pool:
        sampler = AzureSessionSampler(LOCAL, pool=pool)
        for _ in range(2):
            assert sampler.run(FLIP, repetitions=3).measurements["m"].sum() == 3
        assert pool.session(LOCAL).refresh().id
    hurried = AzureSessionSampler(LOCAL, timeout=seconds)
    try:
        assert hurried.run(FLIP, repetitions=3).measurements["m"].sum() == 3
    except TimeoutError:
        assert seconds < 1


@pytest.mark.parametrize("timeout", ["5", math.nan, -1, True, 10**400, [1]])
def test_a_wait_names_its_timeout_if_it_is_no_number_of_seconds(timeout: Any) -> None:
    with SessionPool() as pool:
        session = pool.session(LOCAL)
        AzureSessionSampler(LOCAL, pool=pool).run(FLIP)
        [job] = session.jobs()
        for wait in (session.wait, job.wait, job.result):
            with pytest.raises(ValueError, match="timeout must be a number of seconds"):
                wait(timeout)


def test_an_argument_of_any_type_works_or_is_refused_by_its_name(tmp_path: Path) -> None:
    with SessionPool() as pool, Journal(tmp_path / "journal") as journal:
        handle = pool.session(LOCAL)
        for call, name in [
            (pool.close, "cancel"),
            (pool.subscribe, "callback"),
            (journal.forget, "job_id"),
            (journal.latest, "count"),
            (ManualClock().advance, "seconds"),
        ]:
            error = refusal(call, **{name: object()})
            assert error is not None
            assert error.startswith(f"{name} must be ")
        assert handle.refresh().is_open


@pytest.mark.parametrize("name", ["target", "status", "name", "max_age", "limit"])
def test_a_filter_of_any_type_works_or_is_refused_by_its_name(name: str) -> None:
    with SessionPool() as pool:
        pool.session(LOCAL)
        for what, value in ODD.items():
            error = refusal(pool.list_sessions, **{name: value})
            assert error is None or (name in error and len(error) < 400), f"{name} {what}: {error}"
