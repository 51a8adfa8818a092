"""The documentation's promises: the code of every page runs, and prints what is shown."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, Block, Page, call, emulated_azure

from cirq_azure_sessions.emulator import EmulatorServer

PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): Page.read(path)
    for path in sorted((ROOT / "docs").rglob("*.md"))
}

# What pages tell the reader to type that is not this package's.
FOREIGN = ("az login", "export ", "pip install ")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Leaves the package's logs to the next test as they were, whatever a page shows of them."""
    logger = logging.getLogger("cirq_azure_sessions")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom_and_prints_what_is_shown(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIRQ_AZURE_SESSIONS_EMULATOR_KEY", "emulator")
    names: dict[str, object] = {}
    with emulated_azure(monkeypatch) as server:
        for block in page.blocks:
            if block.language == "python":
                page.run_python(block, names)
            elif block.language == "sh":
                run_commands(block, server)
            else:
                assert block.language == "text", f"nobody runs {block.language}"


def run_commands(block: Block, server: EmulatorServer) -> None:
    """Runs commands as they are shown, but for the workspace: theirs is the emulated one."""
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
def test_a_page_links_to_what_is_there(page: Page) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.path.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.path.parent / link).exists()] == []


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors and references lead somewhere, and docstrings fit their signatures."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    # Where the docstrings are read.
    (tmp_path / "cirq_azure_sessions").symlink_to(ROOT / "cirq_azure_sessions")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # It names docstrings that do not fit, and is content with that.
    assert "griffe" not in done.stdout + done.stderr, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "sampler" / "index.html").read_text()
    assert "Samples circuits on one target" in reference


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if page not in contents] == []
