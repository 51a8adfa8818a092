"""The commands `jobs ...`, on an emulated workspace."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_line import Scene, call_on
from services import FLIP, HANG_TIMEOUT, in_background

from cirq_azure_sessions import AzureSessionSampler, JobEvent, SessionPool, SweepError
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer


def test_jobs_are_listed_and_filtered(scene: Scene) -> None:
    assert len(scene.read("jobs", "list", "--session", scene.closed)) == 2
    assert scene.read("jobs", "list", "--session", scene.closed[:8], "--target", "q*") == []
    assert [job["id"] for job in scene.read("jobs", "list", "--status", "Failed")] == [scene.failed]
    assert len(scene.read("jobs", "list", "--limit", "1")) == 1


def test_an_empty_list_names_the_session(scene: Scene) -> None:
    shown = scene.call("jobs", "list", "--session", scene.closed, "--status", "Failed")
    assert shown.stdout == f"No jobs in session {scene.closed} with status Failed.\n"


def test_failed_job_reports_its_reason(scene: Scene) -> None:
    shown = scene.read("jobs", "show", scene.failed)
    assert (shown["status"], shown["error_code"]) == ("Failed", "InvalidInputData")
    assert shown["tags"] == ["a", "b"]
    assert "The program is odd." in scene.call("jobs", "show", scene.failed).stdout


def test_nothing_secret_or_bulky_is_shown_of_a_job(scene: Scene) -> None:
    shown = (
        scene.call("jobs", "show", scene.done).stdout
        + scene.call("jobs", "show", scene.done, "--json").stdout
    )
    assert not [word for word in ("sig=", "blob", "metadata", "payload") if word in shown]


def test_cancelling_a_finished_job_is_reported(scene: Scene) -> None:
    shown = scene.call("jobs", "cancel", scene.done)
    assert shown.exit_code == 0
    assert shown.stderr == f"Job {scene.done} has already finished: Succeeded.\n"


@pytest.fixture
def running() -> Iterator[tuple[EmulatorServer, Any]]:
    """A job of somebody else that does not finish by itself."""
    with EmulatorServer(job_time=3600.0) as server:
        target = server.workspace().get_targets("ionq.simulator")
        program = {"qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
        yield server, target.submit(program, shots=10)


def test_without_yes_and_a_terminal_no_job_is_cancelled(
    running: tuple[EmulatorServer, Any],
) -> None:
    server, job = running
    shown = call_on(server, "jobs", "cancel", job.id)
    assert shown.exit_code == 2
    assert f"add --yes to cancel {job.id}" in shown.stderr
    assert server.requests["cancel"] == 0


def test_a_job_is_cancelled_with_yes(running: tuple[EmulatorServer, Any]) -> None:
    server, job = running
    assert call_on(server, "jobs", "cancel", job.id[:8], "--yes").exit_code == 0
    job.refresh()
    assert job.details.status == "Cancelled"


@pytest.mark.parametrize(
    ("verb", "route"), [("cancel", "cancel"), ("delete", "delete"), ("tag --tag mine", "update")]
)
def test_a_refusal_for_one_job_leaves_none_of_the_others_out(
    verb: str, route: str, running: tuple[EmulatorServer, Any]
) -> None:
    server, first = running
    program = {"qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
    second = server.workspace().get_targets("ionq.simulator").submit(program, shots=10)
    server.faults.add(route, status=400, message="Not this one.")
    command, *options = verb.split()
    shown = call_on(server, "jobs", command, first.id, second.id, *options, "--yes")
    assert server.requests[route] == 2
    assert shown.exit_code == 1
    (line,) = shown.stderr.splitlines()
    assert first.id in line
    assert second.id not in line
    assert "Not this one." in line
    assert second.id in shown.stdout


def test_jobs_of_a_journal_are_cancelled_beside_one_that_cannot_be_looked_up(
    running: tuple[EmulatorServer, Any], tmp_path: Path
) -> None:
    server, _ = running
    path, submitted = tmp_path / "run.journal", threading.Semaphore(0)
    with SessionPool(server.workspace(), journal=path) as pool:
        pool.subscribe(lambda event: isinstance(event, JobEvent) and submitted.release())
        sampler = AzureSessionSampler("ionq.simulator", pool=pool)
        batch = in_background(sampler.run_batch, [FLIP] * 3)
        assert all(submitted.acquire(timeout=HANG_TIMEOUT) for _ in range(3))
        server.faults.add("job", status=400)
        assert call_on(server, "jobs", "cancel", "--journal", path).exit_code == 1
        assert len(pool.list_jobs(status="Cancelled")) == 2
        assert call_on(server, "jobs", "cancel", "--journal", path).exit_code == 0
        assert isinstance(batch.exception(HANG_TIMEOUT), SweepError)


@pytest.mark.parametrize("verb", ["delete", "tag --tag mine"])
def test_without_yes_and_a_terminal_no_job_is_changed(
    verb: str, running: tuple[EmulatorServer, Any]
) -> None:
    server, job = running
    command, *options = verb.split()
    shown = call_on(server, "jobs", command, job.id, *options)
    assert shown.exit_code == 2
    assert f"add --yes to {command} {job.id}" in shown.stderr
    assert server.requests["delete"] == server.requests["update"] == 0


def test_deleted_job_is_gone(running: tuple[EmulatorServer, Any]) -> None:
    server, job = running
    assert call_on(server, "jobs", "delete", job.id[:8], "--yes").stdout == f"{job.id}\n"
    assert call_on(server, "jobs", "show", job.id).exit_code == 1


def test_tags_are_added_or_replace_the_others(running: tuple[EmulatorServer, Any]) -> None:
    server, job = running
    for options, tags in (
        ("--tag a --tag b", ["a", "b"]),
        ("--tag b --tag c", ["a", "b", "c"]),
        ("--tag d --replace", ["d"]),
    ):
        call_on(server, "jobs", "tag", job.id, *options.split(), "--yes")
        job.refresh()
        assert job.details.tags == tags
    assert "Give at least one --tag" in call_on(server, "jobs", "tag", job.id, "--yes").stderr


def test_a_result_is_fetched_without_its_circuit(scene: Scene) -> None:
    header, row = scene.call("jobs", "result", scene.done[:8]).stdout.splitlines()
    assert header.split() == ["m", "count", "fraction"]
    assert row.split()[:2] == ["1", "10"]
    (point,) = scene.read("jobs", "result", scene.done)["points"]
    assert point["counts"] == {"1": 10}


def test_raw_result_is_printed_unchanged(scene: Scene) -> None:
    raw = scene.call("jobs", "result", scene.done, "--raw").stdout
    assert json.loads(raw) == {"histogram": {"1": 1.0}}


def test_result_of_another_clients_job_is_the_sdks(server: EmulatorServer) -> None:
    program = {"qubits": 1, "circuit": [{"gate": "x", "target": 0}]}
    theirs = server.workspace().get_targets("ionq.simulator").submit(program, shots=10)
    shown = call_on(server, "jobs", "result", theirs.id)
    assert json.loads(shown.stdout) == theirs.get_results()


@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_a_failed_job_has_no_result(raw: list[str], scene: Scene) -> None:
    shown = scene.call("jobs", "result", scene.failed, *raw)
    assert (shown.stdout, shown.exit_code) == ("", 1)
    (sentence,) = shown.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert "InvalidInputData" in sentence


def test_without_a_workspace_the_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_QUANTUM_CONNECTION_STRING", "AZURE_QUANTUM_WORKSPACE_NAME"):
        monkeypatch.delenv(name, raising=False)
    shown = CliRunner().invoke(main, ["jobs", "list"])
    assert shown.exit_code == 2
    assert "--resource-id" in shown.stderr


@pytest.mark.parametrize("command", ["show", "wait", "result", "cancel", "delete"])
def test_id_of_any_length_is_refused_in_a_short_sentence(command: str, scene: Scene) -> None:
    refused = scene.call("jobs", command, "x" * 10_000)
    assert refused.exit_code == 1
    assert len(refused.stderr) < 500
