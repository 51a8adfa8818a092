"""Who may know whom: the house and its floors, read from the source with `ast`."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import cirq_azure_sessions

PACKAGE = cirq_azure_sessions.__name__
SOURCE = Path(cirq_azure_sessions.__file__).parent

# A room is a module, or a folder taken as one. It may import the rooms it is listed with, at the
# top of a file, inside a function or for type checking alike. Listed from the bottom up.
VALUES = {"errors", "model"}
PORT = VALUES | {"clock", "workspace"}
ARROWS: dict[str, set[str]] = {
    # Values, time and tools
    "errors": set(),
    "clock": set(),
    "model": set(),
    "events": set(),
    "lane": set(),
    "interruption": set(),
    "display": set(),
    "checks": VALUES,
    "limiter": set(),
    "redaction": set(),
    "patience": {"clock", "errors"},
    "loop_thread": {"errors"},
    "shutdown": set(),
    "event_log": {"events"},
    "pictures": VALUES | {"display", "events"},
    "result": VALUES | {"display"},
    "sweep_results": {"display", "pictures", "result"},
    # The port, what crosses it, and the two sides that stand behind it
    "workspace": {"model"},
    "formats": VALUES | {"result"},
    "costs": VALUES | {"checks", "formats", "workspace"},
    "local_workspace": PORT | {"lane"},
    "azure_workspace": PORT | {"redaction"},
    "workspace_router": PORT | {"local_workspace", "azure_workspace"},
    # Sessions, jobs and the sampler
    "journal": PORT | {"lane", "redaction", "shutdown"},
    "job_errors": VALUES,
    "wanted": {"model"},
    "job_durations": set(),
    "job_watcher": PORT | {"job_durations", "patience"},
    "pooled": PORT
    | {"display", "formats", "job_errors", "loop_thread", "patience", "result", "wanted"},
    "directory": PORT | {"job_errors", "wanted", "workspace_router"},
    "generation": PORT | {"pooled"},
    "session_table": PORT | {"generation", "pooled"},
    "session_keeper": PORT
    | {"event_log", "events", "generation", "journal", "loop_thread", "pooled", "session_table"},
    "session_pool": PORT
    | {"directory", "display", "event_log", "events", "generation", "job_watcher", "journal"}
    | {"loop_thread", "pictures", "pooled", "session_keeper", "session_table", "shutdown"}
    | {"wanted", "workspace_router"},
    "job_record": PORT | {"journal"},
    "job_batch": VALUES | {"job_record", "journal", "patience"},
    "jobs": PORT
    | {"costs", "events", "generation", "job_batch", "job_errors", "job_record", "journal"}
    | {"limiter", "patience", "session_pool", "shutdown"},
    "sweep": VALUES | {"costs", "formats", "job_batch", "job_errors", "job_record", "result"},
    "progress": {"model"},
    "calls": VALUES | {"events", "interruption", "job_batch", "jobs", "progress", "session_pool"},
    "sampler": VALUES
    | {"calls", "checks", "clock", "costs", "formats", "job_batch", "jobs", "journal", "result"}
    | {"session_pool", "sweep", "sweep_results"},
    "telemetry": {"events", "session_pool"},
    # The package's front door
    "__init__": VALUES
    | {"azure_workspace", "clock", "costs", "events", "journal", "local_workspace", "result"}
    | {"pictures", "pooled", "sampler", "session_pool", "sweep_results"},
    # The emulator, and what a person meets
    "emulator": PORT | {"local_workspace", "loop_thread"},
    "monitor": PORT | {"journal", "loop_thread", "pictures", "wanted"},
    "cli": PORT
    | {"__init__", "azure_workspace", "costs", "display", "emulator", "events", "formats"}
    | {"journal", "monitor", "sampler", "session_pool"},
    "__main__": {"cli"},
}

# What only these rooms may import. The emulator's server builds an SDK workspace for its user, and
# its storage may lie in a real storage account.
RESERVED = {
    "azure": {"azure_workspace", "emulator.server", "emulator.azure_storage"},
    "time": {"clock"},
    "click": {"cli"},
    "rich": {"cli"},
    "opentelemetry": {"telemetry"},
    "matplotlib": {"pictures", "session_pool", "sweep_results"},
    "plotly": {"pictures.timeline_page"},
}

MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def room_of(module: str) -> str:
    """The room that a module of the package is, or that it lies in."""
    return module.split(".")[0]


ROOMS = {room_of(module) for module in MODULES}


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """The full names of everything that a module imports, wherever in the file."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import: write {PACKAGE}.x in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(module: str) -> set[str]:
    inside = {name.split(".")[1] for name in imports(module) if name.startswith(f"{PACKAGE}.")}
    # `from cirq_azure_sessions import SessionPool` is an arrow to the package's front door.
    return {name if name in ROOMS else "__init__" for name in inside} - {room_of(module)}


def calls(module: str) -> Iterator[str]:
    """The calls of a module as dotted names: `datetime.datetime.now`, `loop.time`, `print`."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_every_module_is_a_room_with_a_list_of_its_own() -> None:
    assert set(ARROWS) == ROOMS


def test_arrows_only_go_down() -> None:
    graphlib.TopologicalSorter(ARROWS).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_the_rooms_below_it(module: str) -> None:
    assert imported_rooms(module) <= ARROWS[room_of(module)]


@pytest.mark.parametrize("module", MODULES)
def test_reserved_libraries_stay_in_their_rooms(module: str) -> None:
    found = {name.split(".")[0] for name in imports(module)}
    for library, rooms in RESERVED.items():
        if library in found:
            assert rooms & {module, room_of(module)}, f"{module} imports {library}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"clock"}))
def test_nobody_reads_a_clock_but_the_clock(module: str) -> None:
    forbidden = (
        "asyncio.sleep",
        "asyncio.timeout",
        "datetime.now",
        "datetime.today",
        "datetime.utcnow",
        "loop.time",
        "loop().time",
        "loop.call_later",
    )
    assert [call for call in calls(module) if call.endswith(forbidden)] == []


# A worker process answers the emulator on its standard output, which is a pipe.
PRINTING = {"emulator.programs.qir_worker"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - PRINTING))
def test_nobody_prints_but_the_command_line(module: str) -> None:
    printing = ("print", "sys.stdout.write", "sys.stderr.write")
    assert [call for call in calls(module) if call in printing] == []


def test_the_emulator_decodes_with_code_of_its_own() -> None:
    emulator = [module for module in MODULES if room_of(module) == "emulator"]
    assert all("formats" not in imported_rooms(module) for module in emulator)
