"""The fixtures that the package ships for tests of circuits, as another project has them."""

from __future__ import annotations

import pytest
from pages import ROOT, Page

CIRCUIT = """
import cirq

qubit = cirq.LineQubit(0)
FLIP = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key="m"))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own, in which nothing but these fixtures is loaded into pytest."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p cirq_azure_sessions.pytest_plugin")
    return pytester


def passed(project: pytest.Pytester, *options: str, **outcomes: int) -> None:
    project.runpytest_subprocess(*options).assert_outcomes(**outcomes)


def test_nothing_is_imported_until_a_fixture_is_used(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import sys

        def test_nothing_is_loaded():
            assert not {"cirq", "numpy", "azure.quantum"} & set(sys.modules)
    """)
    passed(project, passed=1)


def test_a_sampler_is_local_unless_a_target_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(
        CIRCUIT,
        test_sampler="""
        from test_a_sampler_is_local_unless_a_target_is_named import FLIP

        def test_flip(azure_sampler):
            assert azure_sampler.target == "local.simulator"
            assert azure_sampler.run(FLIP, repetitions=5).measurements["m"].all()
    """,
    )
    passed(project, passed=1)


def test_a_test_runs_on_each_target_that_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(
        CIRCUIT
        + """
def test_flip(azure_sampler, request):
    result = azure_sampler.run(FLIP, repetitions=20)
    assert result.measurements["m"].mean() > 0.5
    assert azure_sampler.target in request.node.name

import pytest

@pytest.mark.parametrize("azure_sampler", ["local.clifford"], indirect=True)
def test_target_of_its_own(azure_sampler):
    assert azure_sampler.target == "local.clifford"
    """
    )
    targets = ["local.simulator", "ionq.simulator", "ionq.qpu.aria-1", "ionq.simulator"]
    options = [f"--azure-target={target}" for target in targets]
    passed(project, *options, passed=4)


def test_the_clock_times_a_session_out_and_the_pool_opens_another(
    project: pytest.Pytester,
) -> None:
    project.makepyfile("""
        def test_timeout(session_pool, azure_clock, azure_emulator):
            first = session_pool.session("ionq.simulator")
            azure_clock.advance(601)
            second = session_pool.session("ionq.simulator")
            assert first.id != second.id
            assert azure_emulator.requests["open"] == 2

        def test_the_workspace_is_the_sdks(azure_workspace, session_pool):
            from azure.quantum import Workspace

            assert isinstance(azure_workspace, Workspace)
            session = session_pool.session("ionq.simulator")
            assert [each.id for each in azure_workspace.list_sessions()] == [session.id]
    """)
    passed(project, passed=2)


def test_a_test_on_a_real_workspace_is_skipped_unless_one_is_named(
    project: pytest.Pytester,
) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.azure
        def test_workspace(azure_workspace):
            raise AssertionError("never reached")

        @pytest.mark.azure
        def test_sampler(azure_sampler):
            raise AssertionError("never reached")
    """)
    passed(project, "--strict-markers", skipped=2)
    resource_id = (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/group"
        "/providers/Microsoft.Quantum/Workspaces/mine"
    )
    project.makeconftest("""
        import pytest
        from cirq_azure_sessions.workspaces import azure

        @pytest.fixture(autouse=True)
        def connection(monkeypatch):
            def connect(resource_id, *, location):
                pytest.fail(f"connects to {resource_id} in {location}")

            monkeypatch.setattr(azure, "connect", connect)
    """)
    shown = project.runpytest_subprocess(
        f"--azure-resource-id={resource_id}", "--azure-location=eastus"
    )
    shown.assert_outcomes(errors=2)
    shown.stdout.fnmatch_lines([f"*connects to {resource_id} in eastus*"])


def test_every_worker_of_xdist_has_an_emulator_of_its_own(
    project: pytest.Pytester,
) -> None:
    pytest.importorskip("xdist", reason="xdist is not installed")
    project.makepyfile(
        CIRCUIT
        + """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_flip(azure_sampler, azure_emulator, number):
    azure_sampler.run(FLIP, repetitions=10)
    assert azure_emulator.requests["submit"] == 1
    """
    )
    passed(project, "-p", "xdist.plugin", "-n", "2", "--azure-target=ionq.simulator", passed=4)


def test_help_names_the_options(project: pytest.Pytester) -> None:
    shown = project.runpytest_subprocess("--help")
    shown.stdout.fnmatch_lines(["*--azure-target=NAME*", "*--azure-resource-id=ID*"])


def test_the_tests_of_the_page_pass(project: pytest.Pytester) -> None:
    page = Page.read(ROOT / "docs" / "how-to" / "testing.md")
    project.makepyfile("\n".join(block.text for block in page.in_language("python")))
    passed(project, passed=2, skipped=1)
