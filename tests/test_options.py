"""Options of the wrong type, for every parameter of every public class."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import math
from collections.abc import Callable, Iterator
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cirq
import numpy as np
import pytest
from services import FLIP, LOCAL

import cirq_azure_sessions
from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    AzureWorkspace,
    Journal,
    LocalWorkspace,
    ManualClock,
    Rates,
    SessionPool,
    emulator,
    harness,
)
from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.workspaces.base import WorkspacePort


class FailingPath:
    def __fspath__(self) -> str:
        raise ValueError("it failed")

    def __repr__(self) -> str:
        raise ValueError("it failed")


class FailingFloat(float):
    def __gt__(self, other: object) -> bool:
        raise ValueError("it failed")

    __ge__ = __gt__


ODD = {
    "object": object(),
    "zero": 0,
    "negative": -1,
    "nan": math.nan,
    "infinity": math.inf,
    "minus zero": -0.0,
    "huge": 1e308,
    "long": "x" * 100_000,
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
    "no path": "a\0b",
    "failing path": FailingPath(),
    "failing number": FailingFloat(1),
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
    except (ValueError, TypeError, OSError, AzureSessionsError) as error:
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
def test_option_of_any_type_works_or_is_refused_by_name(
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
            if error is not None:
                is_named = name in error or (kind is Journal and "journal" in error)
                assert is_named, f"{name} {what}: {error}"
                assert len(error) < 400, f"{name} {what}: {error}"
        assert refused, f"{name} takes anything"


def test_text_that_cannot_be_sent_is_refused() -> None:
    half = "half \ud83d"
    with SessionPool() as pool:
        for name, call in [
            ("name", partial(SessionPool, name=half)),
            ("name", partial(pool.list_jobs, name=half)),
            ("job_name", partial(AzureSessionSampler, LOCAL, job_name=half)),
            ("tags", partial(AzureSessionSampler, LOCAL, tags=["paper", half])),
            ("job_id", partial(pool.get_job, half)),
        ]:
            with pytest.raises(ValueError, match=f"^{name} must be .* of valid Unicode"):
                call()


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
def test_invalid_timeout_of_a_wait_is_named(timeout: Any) -> None:
    with SessionPool() as pool:
        session = pool.session(LOCAL)
        AzureSessionSampler(LOCAL, pool=pool).run(FLIP)
        [job] = session.jobs()
        for wait in (session.wait, job.wait, job.result):
            with pytest.raises(ValueError, match="timeout must be a number of seconds"):
                wait(timeout)


def test_argument_of_any_type_works_or_is_refused_by_name(tmp_path: Path) -> None:
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
def test_filter_of_any_type_works_or_is_refused_by_name(name: str) -> None:
    with SessionPool() as pool:
        pool.session(LOCAL)
        for what, value in ODD.items():
            error = refusal(pool.list_sessions, **{name: value})
            assert error is None or (name in error and len(error) < 400), f"{name} {what}: {error}"


# What calls need, by the name of the argument.
NEEDED: dict[str, Any] = {
    "availability": "Available",
    "backend_or_target": None,
    "callback": print,
    "circuits": [FLIP],
    "count": 1,
    "experiment": SimpleNamespace(samples=[], run_with_simulator=lambda *args: None),
    "execute": SimpleNamespace(execute_circuits=print),
    "job_id": "job",
    "num_samples": 2,
    "observables": [cirq.Z(cirq.LineQubit(0))],
    "params": None,
    "path_or_text": "OPENQASM 2.0;",
    "permit_terminal_measurements": True,
    "program": FLIP,
    "programs": [FLIP],
    "queue_time": 1.0,
    "repetitions": 2,
    "seconds": 1.0,
    "session": None,
    "session_id": "session",
    "target": LOCAL,
}
# What errors call an argument instead.
WORDS = {
    "backend_or_target": "host takes",
    "circuits": "program",
    "job_id": "job",
    "observables": "observable",
    "params_list": "params",
    "path_or_text": "file",
    "programs": "program",
    "session_id": "session",
    "symbol": "parameter",
    "timeout": "wait",
    # The user's function has errors of its own.
    "value": "ResultDict",
}
# Values that calls return and errors that they raise are made by the package alone.
RETURNED = {"Cost", "CostEstimate", "JobEvent", "JobHandle", "SessionEvent", "SessionHandle"}
RETURNED |= {"AzureResult", "SweepEvent", "SweepResults", "SystemClock", "TimeEstimate"}
RETURNED |= {"BatchingSampler", "PrefetchedSampler"}
# What the package calls, with what it made itself; and what Cirq's own results refuse.
NOT_CALLED = {*vars(WorkspacePort), *vars(Clock), "histogram", "multi_measurement_histogram"}
# Their arguments are walked above; they end the pool, and fail at each of its events.
NOT_CALLED |= {"close", "subscribe"}
# What a job asks of the machine is counted by the package.
NOT_CALLED |= {"amount", "centiseconds", "is_minimum", "of_shot", "usage"}


def public_calls(server: EmulatorServer, folder: Path) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function of the package, and every public method of its objects."""
    clock = ManualClock()
    pool = SessionPool(LocalWorkspace(clock=clock), clock=clock)
    sampler = AzureSessionSampler(LOCAL, pool=pool)
    estimate = sampler.estimate_cost(FLIP)
    objects: list[Any] = [
        *(
            server,
            pool,
            sampler,
            estimate,
            ManualClock(),
            Rates(),
            sampler.run(FLIP),
            LocalWorkspace(),
        ),
        *(Journal(folder / "j"), pool.list_jobs()[0], pool.session(LOCAL)),
        sampler.run_sweep(FLIP, cirq.Points("a", [0, 1])),
        harness.BatchingSampler(sampler, window=0.0),
        harness.PrefetchedSampler(sampler, [FLIP], 1),
        AzureWorkspace(server.workspace()),
    ]
    NEEDED.update(cost=estimate, sampler=sampler, results=objects[-4], rates=Rates())
    NEEDED.update(result=sampler.run(FLIP), parts=[sampler.run(FLIP)])
    methods = {type(item).__qualname__: item for item in objects}
    for module in (cirq_azure_sessions, harness, emulator):
        for name in module.__all__:
            item = getattr(module, name)
            if name == "mitiq_executor" and importlib.util.find_spec("mitiq") is None:
                continue
            if not inspect.isclass(item):
                yield name, item
            elif not issubclass(item, BaseException | Enum):
                assert item in CLASSES or item.__qualname__ in RETURNED, f"walk {name} too"
                for method, function in inspect.getmembers(item, inspect.isroutine):
                    home = getattr(inspect.unwrap(function), "__module__", "") or ""
                    is_ours = home.startswith(cirq_azure_sessions.__name__)
                    if is_ours and method[0] != "_" and method not in NOT_CALLED:
                        yield (
                            f"{name}.{method}",
                            getattr(methods.get(item.__qualname__, item), method),
                        )
    pool.close()


async def _drain(items: Any) -> list[Any]:
    return [item async for item in items]


def outcome(call: Callable[..., Any], **arguments: Any) -> Any:
    """What a call of any kind gives, to its end."""
    given = call(**arguments)
    if inspect.iscoroutine(given):
        return asyncio.run(given)
    if hasattr(given, "__aiter__"):
        return asyncio.run(_drain(given))
    return list(given) if hasattr(given, "__next__") else given


def test_every_argument_of_every_public_call_works_or_is_refused_by_name(
    server: EmulatorServer, tmp_path: Path
) -> None:
    walked = 0
    for what, call in public_calls(server, tmp_path):
        parameters = inspect.signature(call).parameters
        named = {
            name: each for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD
        }
        needed = {
            name: NEEDED[name]
            for name, each in named.items()
            if each.default is each.empty or name == "permit_terminal_measurements"
        }
        for name in named:
            walked += 1
            for how, value in ODD.items():
                error = refusal(partial(outcome, call), **{**needed, name: value})
                # The operating system repeats the path of a file in errors of its own.
                if error is not None and not error.startswith("[Errno "):
                    is_named = name in error or WORDS.get(name, name) in error
                    assert is_named, f"{what} {name} {how}: {error}"
                    assert len(error) < 400, f"{what} {name} {how}: {error}"
    assert walked > 70
