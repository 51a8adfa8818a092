"""Which modules may import which: the layers of the package, read from the source with `ast`."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import cirq_azure_sessions

# Docstrings and comments included.
MAX_SPINE_LINES = 4_370

PACKAGE = cirq_azure_sessions.__name__
SOURCE = Path(cirq_azure_sessions.__file__).parent

# A component is a module or a subpackage. It may import only components of lower layers, whether at
# the top of a file, inside a function or for type checking. From the bottom up.
LAYERS: list[set[str]] = [
    {"encodings", "model", "options", "redaction", "spelling"},
    {"errors"},
    {"upstream"},
    {"installation", "noise"},
    {"pickling", "process"},
    {"clock"},
    {"background"},
    {"executor"},
    {"results"},
    {"workspaces", "formats"},
    {"journal", "costs", "openqasm", "watch"},
    {"sessions"},
    {"jobs"},
    {"sampler"},
    {"emulator", "harness", "qbraid"},
    {"__init__"},
    {"cli", "pytest_plugin"},
    {"__main__"},
]
LAYER_OF = {component: number for number, layer in enumerate(LAYERS) for component in layer}

# Packages that only these components may import. The emulator's server makes an SDK workspace for
# its user, and may keep its blobs in a real storage account.
RESERVED = {
    "azure": {"workspaces.azure", "emulator.server", "emulator.azure_storage"},
    "time": {"clock"},
    "click": {"cli"},
    "rich": {"cli"},
    "opentelemetry": {"watch.telemetry"},
    "matplotlib": {"results", "watch", "sessions.pool"},
}

MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def component_of(module: str) -> str:
    """The component that a module is, or belongs to."""
    return module.split(".")[0]


COMPONENTS = {component_of(module) for module in MODULES}


@cache
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


def imported_components(module: str) -> set[str]:
    inside = {name.split(".")[1] for name in imports(module) if name.startswith(f"{PACKAGE}.")}
    # `from cirq_azure_sessions import SessionPool` imports the package's public names.
    return {name if name in COMPONENTS else "__init__" for name in inside} - {component_of(module)}


def imported_modules(module: str) -> Iterator[str]:
    """The modules of the package that are imported when a module is."""
    for node in runtime_nodes(parse(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            home = (node.module or "").removeprefix(f"{PACKAGE}.")
            for name in (alias.name for alias in node.names):
                full = f"{home}.{name}"
                yield full if full in MODULES else home if home in MODULES else f"{home}.__init__"


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that is not for type checking alone, nor in a function, which imports late."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from runtime_nodes(node)


def calls(module: str) -> Iterator[str]:
    """The calls of a module as dotted names: `datetime.datetime.now`, `loop.time`, `print`."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    own = LAYER_OF[component_of(module)]
    # `from cirq_azure_sessions import SessionPool` imports the public names, which are at the top.
    climbing = {name for name in imported_components(module) if LAYER_OF[name] >= own}
    if module == "__init__":
        # It imports what is asked for, and `read_circuit` is the command line's.
        climbing -= {"cli"}
    assert climbing == set()


def test_no_two_modules_import_each_other() -> None:
    """Not within a component either; imports in functions and for type checking do not count."""
    graph = {module: set(imported_modules(module)) for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


def test_the_core_stays_within_its_line_limit() -> None:
    spine = {"sampler", "sessions", "jobs", "errors", "model", "clock", "background"}
    modules = [name for name in MODULES if component_of(name) in spine or name == "workspaces.base"]
    lines = sum(len(MODULES[name].read_text(encoding="utf-8").splitlines()) for name in modules)
    assert lines <= MAX_SPINE_LINES


@pytest.mark.parametrize("module", MODULES)
def test_libraries_are_imported_only_by_their_components(module: str) -> None:
    found = {name.split(".")[0] for name in imports(module)}
    for library, components in RESERVED.items():
        if library in found:
            homes = {module, module.rpartition(".")[0], component_of(module)}
            assert components & homes, f"{module} imports {library}"


# What has no underscore, and is not in the documentation of its package either.
UNDOCUMENTED = ("duet.impl",)


def is_private(name: str) -> bool:
    """Whether a name is one that a package keeps to itself; `_json_dict_` is a protocol's."""
    # `os._exit` is in the documentation of os.
    return name.startswith("_") and not name.endswith("_") and name not in ("_", "_exit")


def own_names(tree: ast.AST) -> set[str]:
    """The attributes that code of ours makes: methods, class attributes, slots, `self.x = ...`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            # `joined._data = None` writes into an object of another class.
            names |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return names


@cache
def our_classes() -> dict[str, ast.ClassDef]:
    """By name, since a class may be derived from one of another module."""
    return {
        node.name: node
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, ast.ClassDef)
    }


@cache
def our_names() -> set[str]:
    return set().union(*(own_names(parse(module)) for module in MODULES))


def names_of_class(node: ast.ClassDef) -> set[str]:
    """The attributes of a class and of those of our classes that it is derived from."""
    names = own_names(node)
    for base in node.bases:
        parent = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        if parent in our_classes() and parent != node.name:
            names |= names_of_class(our_classes()[parent])
    return names


def foreign_private_names(tree: ast.Module) -> Iterator[str]:
    """Private names that no code of ours makes, as far as the source can tell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own = names_of_class(node)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and is_private(inner.attr):
                    owner = ast.unparse(inner.value)
                    if owner in ("self", "cls", "super()") and inner.attr not in own:
                        yield ast.unparse(inner)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if node.attr not in our_names():
                yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            # Ours are never named so: a parameter of a function is for others to use.
            yield from (key.arg for key in node.keywords if key.arg and is_private(key.arg))
            if ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "operator.attrgetter"):
                texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
                names = [text for text in texts if isinstance(text, str) and is_private(text)]
                yield from (name for name in names if name not in our_names())
        elif isinstance(node, ast.Import | ast.ImportFrom):
            home = getattr(node, "module", None) or ""
            for alias in node.names:
                full = f"{home}.{alias.name}".strip(".")
                steps = full.split(".")
                if steps[0] not in (PACKAGE, "__future__") and (
                    any(map(is_private, steps)) or full.startswith(UNDOCUMENTED)
                ):
                    yield full


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"upstream"}))
def test_private_names_of_other_packages_are_read_in_one_place(module: str) -> None:
    assert list(foreign_private_names(parse(module))) == []


@pytest.mark.parametrize(
    "line",
    [
        "workspace._client._config",
        "Workspace(_quantum_endpoint=endpoint)",
        "from duet.impl import Interrupt",
        "from azure.quantum._client import WorkspaceClient",
        "import azure.identity._internal",
        "getattr(chain, '_successful_credential')",
        "class Ours(aiohttp.TCPConnector):\n    def close(self): self._loop.stop()",
        "result._data = None",
    ],
)
def test_private_names_are_recognized(line: str) -> None:
    assert list(foreign_private_names(ast.parse(line)))


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"clock"}))
def test_only_the_clock_module_reads_a_clock(module: str) -> None:
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


@pytest.mark.parametrize("module", MODULES)
def test_only_the_command_line_prints(module: str) -> None:
    printing = ("print", "sys.stdout.write", "sys.stderr.write")
    assert [call for call in calls(module) if call in printing] == []


def test_programs_are_read_with_code_that_does_not_write_them() -> None:
    readers = [module for module in MODULES if component_of(module) in ("emulator", "openqasm")]
    assert all("formats" not in imported_components(module) for module in readers)
