"""The commands that look at a workspace, on an emulated one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cirq
import pytest
from click.testing import CliRunner, Result

from cirq_azure_sessions import AzureSessionSampler, SessionPool, SweepError
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

QUBIT = cirq.LineQubit(0)
CIRCUIT = cirq.Circuit(cirq.X(QUBIT), cirq.measure(QUBIT, key="m"))


@dataclass(frozen=True)
class Scene:
    """A workspace with a closed session of two jobs, and an open one in which a job failed."""

    server: EmulatorServer
    closed: str
    open: str
    done: str
    failed: str

    def call(self, *arguments: str) -> Result:
        emulator = ["--emulator", self.server.endpoint, "--emulator-key", self.server.key]
        return CliRunner().invoke(main, [*arguments, *emulator])

    def read(self, *arguments: str) -> Any:
        shown = self.call(*arguments, "--json")
        assert shown.exit_code == 0, shown.stderr
        return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with EmulatorServer() as server:
        with SessionPool(server.workspace(), name="yesterday") as pool:
            sampler = AzureSessionSampler("ionq.simulator", pool=pool)
            sampler.run(CIRCUIT)
            done = sampler.run(CIRCUIT, repetitions=10)
        with SessionPool(server.workspace(), name="today") as pool:
            server.faults.fail_job(code="InvalidInputData", message="The program is odd.")
            sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool, tags=["a", "b"])
            with pytest.raises(SweepError) as caught:
                sampler.run(CIRCUIT)
            failed = caught.value.failures[0].job_id
            session = pool.session("quantinuum.sim.h2-1e").id
            yield Scene(server, done.session_id, session, done.job_id, failed)


def test_targets_are_listed(scene: Scene) -> None:
    rows = [line.split() for line in scene.call("targets").stdout.splitlines()]
    assert rows[0] == ["target", "availability", "queue"]
    assert ["ionq.simulator", "Available"] in [row[:2] for row in rows]
    by_id = {target["id"]: target for target in scene.read("targets")}
    assert by_id["ionq.simulator"]["provider"] == "ionq"


def test_quotas_are_listed(scene: Scene) -> None:
    header = scene.call("quotas").stdout.splitlines()[0]
    words = ["provider", "dimension", "scope", "period", "used", "held", "limit"]
    assert header.split() == words
    assert {"dimension", "limit", "utilization"} <= set(scene.read("quotas")[0])


def test_sessions_are_listed_newest_first_with_whole_ids(scene: Scene) -> None:
    header, *rows = scene.call("sessions", "list").stdout.splitlines()
    assert header.split() == ["id", "target", "status", "age"]
    assert [row.split()[:3] for row in rows] == [
        [scene.open, "quantinuum.sim.h2-1e", "Failure(s)"],
        [scene.closed, "ionq.simulator", "Succeeded"],
    ]
    assert max(map(len, rows)) <= 80


@pytest.mark.parametrize(
    "chosen",
    [["--target", "ionq.*"], ["--status", "succeeded"], ["--name", "yester"]],
)
def test_sessions_are_chosen(chosen: list[str], scene: Scene) -> None:
    assert [session["id"] for session in scene.read("sessions", "list", *chosen)] == [scene.closed]


def test_a_session_is_shown_with_its_jobs(scene: Scene) -> None:
    shown = scene.read("sessions", "show", scene.closed)
    assert shown["jobs"] == {"Succeeded": 2}
    assert shown["name"] == "yesterday"
    assert shown["creation_time"].endswith("+00:00")
    assert "2 Succeeded" in scene.call("sessions", "show", scene.closed).stdout


def test_watching_a_session_that_succeeded_ends_with_exit_code_0(scene: Scene) -> None:
    shown = scene.call("sessions", "watch", scene.closed)
    assert (shown.stdout, shown.exit_code) == ("Succeeded: 2 Succeeded\n", 0)
    assert scene.call("sessions", "wait", scene.closed).exit_code == 0


def test_waiting_for_a_session_that_did_not_succeed_ends_with_exit_code_1(scene: Scene) -> None:
    workspace = scene.server.workspace()
    with SessionPool(workspace) as pool:
        session = pool.session("ionq.simulator").id
        scene.server.clock.advance(601)
        shown = scene.call("sessions", "wait", session)
    assert (shown.stdout, shown.stderr, shown.exit_code) == ("", "", 1)


def test_sessions_are_closed(scene: Scene) -> None:
    with SessionPool(scene.server.workspace()) as pool:
        session = pool.session("ionq.simulator").id
        (closed,) = scene.read("sessions", "close", session)
    assert (closed["id"], closed["status"]) == (session, "Succeeded")


@pytest.mark.parametrize("what", ["sessions", "jobs"])
def test_a_status_that_there_is_not_is_a_wrong_command(what: str, scene: Scene) -> None:
    shown = scene.call(what, "list", "--status", "Succeded")
    assert shown.exit_code == 2
    assert "There is no status 'Succeded': give one of Queued, Waiting, Executing" in shown.stderr


def test_jobs_are_listed_and_chosen(scene: Scene) -> None:
    assert len(scene.read("jobs", "list", "--session", scene.closed)) == 2
    assert [job["id"] for job in scene.read("jobs", "list", "--status", "Failed")] == [scene.failed]
    assert len(scene.read("jobs", "list", "--limit", "1")) == 1


def test_a_failed_job_says_why(scene: Scene) -> None:
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


def test_cancelling_a_job_that_is_over_changes_nothing(scene: Scene) -> None:
    (job,) = scene.read("jobs", "cancel", scene.done)
    assert job["status"] == "Succeeded"


def test_a_result_is_fetched_without_its_circuit(scene: Scene) -> None:
    header, row = scene.call("jobs", "result", scene.done).stdout.splitlines()
    assert header.split() == ["m", "count", "fraction"]
    assert row.split()[:2] == ["1", "10"]
    (point,) = scene.read("jobs", "result", scene.done)["points"]
    assert point["counts"] == {"1": 10}


def test_a_result_is_shown_as_the_provider_wrote_it(scene: Scene) -> None:
    raw = scene.call("jobs", "result", scene.done, "--raw").stdout
    assert json.loads(raw) == {"histogram": {"1": 1.0}}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["jobs", "result", "{failed}"], "InvalidInputData"),
        (["jobs", "show", "00000000-0000-0000-0000-000000000000"], "404"),
        (["sessions", "show", "00000000-0000-0000-0000-000000000000"], "404"),
    ],
)
def test_failures_are_one_sentence_and_exit_code_1(
    arguments: list[str], told: str, scene: Scene
) -> None:
    shown = scene.call(*(argument.format(failed=scene.failed) for argument in arguments))
    assert (shown.stdout, shown.exit_code) == ("", 1)
    (sentence,) = shown.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert told in sentence


def test_without_a_workspace_the_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_QUANTUM_CONNECTION_STRING", "AZURE_QUANTUM_WORKSPACE_NAME"):
        monkeypatch.delenv(name, raising=False)
    shown = CliRunner().invoke(main, ["sessions", "list"])
    assert shown.exit_code == 2
    assert "--resource-id" in shown.stderr
