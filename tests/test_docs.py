"""The documentation's promises: the code of every page runs, and prints what is shown."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import logging
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, Block, Page, call, emulated_azure

import cirq_azure_sessions
from cirq_azure_sessions import emulator, harness
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.noise import published_noise, published_targets

PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): Page.read(path)
    for path in sorted((ROOT / "docs").rglob("*.md"))
}

# What pages tell the reader to type that is not this package's.
FOREIGN = ("az login", "export ", "pip install ")
# Packages that not all who run the tests have: the blocks that need them are left out without them.
NEEDED = ("mitiq", "qbraid", "qedclib", "supermarq")
# What the reference shows beside the public names of the package, and what it need not show.
BESIDE_THE_PACKAGE = {
    "EmulatorServer",
    "Fault",
    "Faults",
    "Requests",
    "instrument",
    *harness.__all__,
}
ALIASES = {"PooledJob", "PooledSession"}
UNITS = {"min": 60, "h": 3600, "days": 24 * 3600, "MiB": 2**20}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    """Restores the package's logger, to which a page may add handlers."""
    logger = logging.getLogger("cirq_azure_sessions")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_code_of_page_prints_the_documented_output(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIRQ_AZURE_SESSIONS_EMULATOR_KEY", "emulator")
    names: dict[str, object] = {}
    with emulated_azure(monkeypatch) as server:
        for block in page.blocks:
            if block.language == "python":
                if all(importlib.util.find_spec(name) for name in NEEDED if name in block.text):
                    page.run_python(block, names)
            elif block.language == "sh":
                run_commands(block, server)
            else:
                assert block.language == "text", f"nobody runs {block.language}"


def run_commands(block: Block, server: EmulatorServer) -> None:
    """Runs commands as they are shown, on the emulated workspace."""
    for command in block.text.replace("\\\n", " ").splitlines():
        if command.startswith(FOREIGN):
            asked_for = re.findall(r"[\[,]([\w-]+)(?=[],])", command)
            assert set(asked_for) <= set(EXTRAS), command
        elif not command.startswith("cirq-azure-sessions emulate"):
            command = re.sub(r" --emulator \S+", "", command)
            where = "" if " journal " in command else f" --emulator {server.endpoint}"
            shown = call(command + where)
            assert shown.exit_code == 0, f"{command}\n{shown.output}"


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_links_of_page_are_valid(page: Page) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.path.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.path.parent / link).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    source = tmp_path_factory.mktemp("source")
    shutil.copy(ROOT / "mkdocs.yml", source)
    for included in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / included, source)
    shutil.copytree(ROOT / "docs", source / "docs")
    # Where the docstrings are read.
    (source / "cirq_azure_sessions").symlink_to(ROOT / "cirq_azure_sessions")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True)
    # Links, anchors and references lead somewhere, and docstrings fit their signatures: what does
    # not fit is only named, by griffe.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "griffe" not in done.stdout + done.stderr, done.stdout + done.stderr
    return source / "site"


def test_reference_shows_public_names_only(site: Path) -> None:
    pages = (site / "reference").glob("*/index.html")
    shown = {
        name
        for page in pages
        for name in re.findall(r'id="(cirq_azure_sessions\.[\w.]+)"', page.read_text())
    }
    assert [name for name in shown if "._" in name] == []
    # Classes and functions; the members of classes lie below their names.
    names = {name.rpartition(".")[2] for name in shown if not re.search(r"\.[A-Z]\w*\.", name)}
    modules = {"control", "emulator", "errors", "faults", "requests", "telemetry"}
    assert names - modules == {*cirq_azure_sessions.__all__, *BESIDE_THE_PACKAGE} - ALIASES


def test_signatures_in_the_reference_have_one_argument_per_line(site: Path) -> None:
    signatures = [
        re.sub(r"<[^>]+>", "", signature)
        for page in (site / "reference").glob("*/index.html")
        for signature in re.findall(
            r'<div class="[^"]*doc-signature.*?</div>', page.read_text(encoding="utf-8"), re.DOTALL
        )
    ]
    assert [each for each in signatures if re.search(r"\b_[a-zA-Z]", each)] == []
    sampler = next(each for each in signatures if each.strip().startswith("AzureSessionSampler("))
    options = list(inspect.signature(cirq_azure_sessions.AzureSessionSampler).parameters)
    assert re.findall(r"^ {4}(\w+):", sampler, re.MULTILINE) == options


def test_contributors_page_names_the_long_run_of_the_state_machine(site: Path) -> None:
    page = (site / "contributing" / "index.html").read_text()
    assert "CIRQ_AZURE_SESSIONS_STATE_MACHINE=2000" in re.sub(r"<[^>]+>", "", page)


def test_list_for_language_models_is_made_from_the_pages() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_llms_txt.py"))["llms_txt"]()
    listed = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    assert listed == made, "run python docs/make_llms_txt.py"
    assert [page for page in PAGES if f"({page})" not in listed] == ["index.md"]


def test_page_of_the_commands_has_all_of_their_options() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["commands_page"]()
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert page == made, "run python docs/make_commands.py"


def test_layout_of_the_package_lists_every_component() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    package = Path(cirq_azure_sessions.__file__).parent
    components = {path.name for path in package.glob("[!_]*.py")}
    components |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    listed = re.findall(r"^\| `([a-z_]+(?:\.py|/))` \|", contributing, re.MULTILINE)
    assert set(listed) == components


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if page not in contents] == []


def test_published_noise_is_in_the_reference_with_its_sources() -> None:
    text = (ROOT / "docs" / "reference" / "targets.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for target, source in published_targets().items():
        noise = published_noise(target)
        cells = (
            f"| {noise.one_qubit:.3g} | {noise.two_qubit:.3g} | {noise.readout[0]:.3g} | {source}"
        )
        assert any(f"`{target}`" in row and cells in row for row in rows), target


def test_limits_in_the_reference_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")
    checked = 0
    for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        _, value, names, *_ = row.split("|")
        shown = re.match(r" ([\d,.]+)(?: (min|h|days|MiB)\b)?", value)
        number = shown and float(shown[1].replace(",", "")) * UNITS.get(shown[2], 1)
        for module, constant in re.findall(r"`([a-z_.]+)\.(_?[A-Z_]+)`", names):
            checked += 1
            found = getattr(importlib.import_module(f"cirq_azure_sessions.{module}"), constant)
            assert found == number, row
        for owner, method, argument in re.findall(r"`(\w+)(?:\.(\w+))?\((\w+)=\)`", names):
            checked += 1
            call = _limited(owner) if not method else getattr(_limited(owner), method)
            default = inspect.signature(call).parameters[argument].default
            assert default == number, row
    assert checked > 40


def _limited(name: str) -> Any:
    """The class with this name that the page on limits mentions."""
    homes = (cirq_azure_sessions, emulator, harness)
    return next(getattr(home, name) for home in homes if hasattr(home, name))


def test_messages_of_the_page_on_troubleshooting_are_raised_somewhere() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    assert len(shown) > 30
    written = [
        "…".join(texts)
        for path in Path(cirq_azure_sessions.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (texts := _texts(node))
    ]
    assert [each for each in shown if not any(_holds(text, each) for text in written)] == []


def _holds(text: str, message: str) -> bool:
    """Whether the parts of a message between its dots are in a text, in this order."""
    place = 0
    for part in message.split("…"):
        place = text.find(part, place) + len(part)
        if place < len(part):
            return False
    return True


def _texts(node: ast.AST) -> list[str]:
    """The fixed parts of a string."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if not isinstance(node, ast.JoinedStr):
        return []
    return [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
