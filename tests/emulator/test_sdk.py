"""Azure's own SDK, unmodified, as a client of the emulator."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import cirq
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.quantum import Job, JobStatus, Priority, Session, SessionStatus, Workspace
from azure.quantum.cirq import AzureQuantumService

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer

BELL = {
    "qubits": 2,
    "circuit": [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}],
}
BELL_QSHARP = """
operation Bell() : (Result, Result) {
    use (a, b) = (Qubit(), Qubit());
    H(a);
    CNOT(a, b);
    return (MResetZ(a), MResetZ(b));
}
"""

needs_cirq_1_6 = pytest.mark.skipif(
    not cirq.__version__.startswith("1.6."),
    reason="the SDK's own targets of IonQ read a field that cirq-ionq 1.7 has renamed",
)


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    # The emulator's clock agrees with the machine's at first, by which the SDK judges a SAS.
    with EmulatorServer(clock=ManualClock(start=time.time()), seed=1) as server:
        yield server


@pytest.fixture
def workspace(server: EmulatorServer) -> Iterator[Workspace]:
    with server.workspace() as workspace:
        yield workspace


def submit(workspace: Workspace, target: str = "ionq.simulator", **options: Any) -> Job:
    return workspace.get_targets(target).submit(BELL, shots=100, **options)


# Targets, jobs and sessions.


def test_targets_have_their_classes_and_status(workspace: Workspace) -> None:
    targets = {target.name: target for target in workspace.get_targets()}
    assert type(targets["ionq.simulator"]).__name__ == "IonQ"
    assert type(targets["quantinuum.sim.h2-1e"]).__name__ == "Quantinuum"
    assert targets["rigetti.sim.qvm"].current_availability == "Available"
    assert workspace.get_targets(provider_id="quantinuum")


def test_a_job_goes_in_and_its_result_comes_out(workspace: Workspace) -> None:
    job = submit(workspace)
    assert job.get_results() == {"histogram": {"0": 0.5, "3": 0.5}}
    assert job.details.cost_estimate.estimated_total == 0.0
    assert workspace.get_job(job.id).details.status == JobStatus.SUCCEEDED


def test_a_job_that_fails_says_why(workspace: Workspace) -> None:
    job = workspace.get_targets("ionq.simulator").submit({"qubits": "many"})
    with pytest.raises(RuntimeError, match="InvalidInputData"):
        job.get_results()


def test_jobs_are_renamed_cancelled_and_deleted(workspace: Workspace) -> None:
    job = submit(workspace, name="before")
    job.update(name="after", priority=Priority.HIGH, tags=["a", "b"])
    assert (job.details.name, job.details.tags) == ("after", ["a", "b"])
    assert job.details.priority == Priority.HIGH
    assert workspace.cancel_job(job).details.status == JobStatus.SUCCEEDED
    job.delete()
    with pytest.raises(ResourceNotFoundError):
        workspace.get_job(job.id)


def test_attachments_are_stored_next_to_the_program(workspace: Workspace) -> None:
    job = submit(workspace)
    job.upload_attachment("note.txt", b"hello")
    assert job.download_attachment("note.txt") == b"hello"
    assert {"inputData", "note.txt"} <= {blob.name for blob in job.list_attachments()}


def test_a_session_holds_the_jobs_submitted_in_it(workspace: Workspace) -> None:
    target = workspace.get_targets("ionq.simulator")
    with target.open_session(name="My Session") as session:
        jobs = [target.submit(BELL, name=f"Job {number}") for number in range(3)]
        for job in jobs:
            job.wait_until_completed(print_progress=False)
        session.refresh()
        assert session.details.status == SessionStatus.EXECUTING
    assert session.details.status == SessionStatus.SUCCEEDED
    assert [job.id for job in session.list_jobs()] == [job.id for job in jobs[::-1]]
    found = workspace.list_session_jobs(session.id, name_match="Job 1")
    assert [job.id for job in found] == [jobs[1].id]
    assert workspace.get_session(session.id).details.name == "My Session"


def test_an_ended_session_takes_no_jobs(workspace: Workspace) -> None:
    target = workspace.get_targets("ionq.simulator")
    with target.open_session():
        pass
    with pytest.raises(HttpResponseError) as caught:
        target.submit(BELL)
    assert caught.value.error.code == "InvalidJobDefinition"
    assert "Session is already in a terminal state." in str(caught.value)


def test_a_session_times_out_without_its_client_noticing(server: EmulatorServer) -> None:
    with server.workspace() as workspace:
        session = Session(workspace, target="ionq.simulator").open()
        server.clock.advance(600)
        assert session.details.status == SessionStatus.WAITING
        session.refresh()
        assert session.details.status == SessionStatus.TIMED_OUT


@pytest.mark.parametrize(
    ("policy", "status"),
    [("Abort", SessionStatus.FAILED), ("Continue", SessionStatus.FAILURE_S_)],
)
def test_a_failed_job_fails_its_session_or_not(
    workspace: Workspace, policy: str, status: SessionStatus
) -> None:
    target = workspace.get_targets("echo-quantinuum")
    session = target.open_session(job_failure_policy=policy)
    target.submit("no program", input_data_format="qir.v1", output_data_format="none")
    assert workspace.get_session(session.id).details.status == status


def test_session_under_continue_remembers_its_failure(workspace: Workspace) -> None:
    target = workspace.get_targets("ionq.simulator")
    with target.open_session(job_failure_policy="Continue") as session:
        seen = []
        for program in (BELL, {"qubits": "many"}, BELL):
            target.submit(program).wait_until_completed(print_progress=False)
            session.refresh()
            seen.append(session.details.status)
    executing, failures = SessionStatus.EXECUTING, SessionStatus.FAILURE_S_
    assert seen == [executing, failures, failures]
    assert session.details.status == SessionStatus.FAILED
    assert [job.details.status for job in session.list_jobs()] == [
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.SUCCEEDED,
    ]


def test_teleportation_preserves_the_state(workspace: Workspace) -> None:
    """Measurements amid the program decide what follows; the sent state is read out as a one."""
    program = """
        OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg a[1]; creg b[1]; creg out[1];
        x q[2]; h q[0]; cx q[0],q[1]; cx q[2],q[0]; h q[2];
        measure q[0] -> a[0]; if (a==1) x q[1]; measure q[2] -> b[0]; if (b==1) z q[1];
        measure q[1] -> out[0];
    """
    job = workspace.get_targets("quantinuum.sim.h2-1e").submit(program, shots=200)
    result = job.get_results()
    assert set(result["a"]) == set(result["b"]) == {"0", "1"}
    # Noise turns some over: at these rates about one in a hundred, and beyond 40 of 200 never.
    assert result["out"].count("1") > 160


# Lists.


def test_lists_are_filtered_sorted_and_turned_page_by_page(server: EmulatorServer) -> None:
    with server.workspace() as workspace:
        for number in range(5):
            submit(workspace, name=f"paged {number}")
        page = workspace.list_jobs_paginated(
            name_match="paged", top=2, orderby_property="Name", is_asc=False
        )
        assert [job.name for job in page] == [f"paged {number}" for number in (4, 3, 2, 1, 0)]
        assert len(list(workspace.list_jobs_paginated(name_match="paged", skip=3))) == 2


def test_lists_take_every_filter_of_the_sdk(workspace: Workspace) -> None:
    target = workspace.get_targets("rigetti.sim.qvm")
    with target.open_session(name="filtered") as session:
        pass
    assert session.id in {
        found.id
        for found in workspace.list_sessions(
            provider=["rigetti"], target=["rigetti.sim.qvm"], status=[SessionStatus.SUCCEEDED]
        )
    }
    job = submit(workspace, name="filtered too")
    job.wait_until_completed(print_progress=False)
    created = job.details.creation_time
    assert job.id in {
        found.id
        for found in workspace.list_jobs(
            job_type=["QuantumComputing"], created_after=created, status=["Succeeded", "Failed"]
        )
    }
    assert job.id not in {found.id for found in workspace.list_jobs(created_before=created)}
    items = workspace.list_top_level_items(
        item_type=["Session"], name_match="filtered", orderby_property="CreationTime"
    )
    assert [item.id for item in items] == [session.id]


def test_quotas_are_listed(workspace: Workspace) -> None:
    quotas = workspace.get_quotas()
    assert {quota["period"] for quota in quotas} == {"None"}
    assert all(quota["utilization"] == 0.0 for quota in quotas)


# Cirq, Qiskit and Q#.


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "target",
    [
        pytest.param("ionq.simulator", marks=needs_cirq_1_6),
        pytest.param("ionq.qpu.aria-1", marks=needs_cirq_1_6),
        "quantinuum.sim.h2-1e",
        pytest.param(
            "rigetti.sim.qvm",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("qsharp") is None,
                reason="there the SDK needs qsharp, which the test extra brings",
            ),
        ),
    ],
)
def test_the_cirq_service_runs_circuits(workspace: Workspace, target: str) -> None:
    qubits = cirq.LineQubit.range(2)
    circuit = cirq.Circuit(
        cirq.H(qubits[0]),
        cirq.CNOT(*qubits),
        cirq.measure(qubits[0], key="a"),
        cirq.measure(qubits[1], key="b"),
    )
    service = AzureQuantumService(workspace)
    result = service.run(circuit, repetitions=200, target=target, timeout_seconds=30)
    counts = result.multi_measurement_histogram(keys=["a", "b"])
    assert sum(counts.values()) == 200
    # Noise makes up for a few of the others; beyond 60 of 200 is far outside of what it does.
    assert counts[(0, 0)] + counts[(1, 1)] > 140


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "target", ["ionq.simulator", "quantinuum.sim.h2-1e", "rigetti.sim.qvm", "qci.simulator"]
)
def test_the_qiskit_provider_runs_circuits(workspace: Workspace, target: str) -> None:
    qiskit = pytest.importorskip("qiskit", reason="the test extra brings qiskit")
    pytest.importorskip("qsharp.interop.qiskit", reason="the SDK's backends need qsharp[qiskit]")
    from azure.quantum.qiskit import AzureQuantumProvider

    circuit = qiskit.QuantumCircuit(2, 2, name="Bell")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    backend = AzureQuantumProvider(workspace).get_backend(target)
    with backend.open_session() as session:
        counts = backend.run(circuit, shots=100).result().get_counts()
    assert sum(counts.values()) == 100
    assert counts["00"] + counts["11"] > 80
    assert len(session.list_jobs()) == 1


@pytest.mark.parametrize(
    "target", ["ionq.simulator", "quantinuum.sim.h2-1e", "rigetti.sim.qvm", "sparse-sim-ionq"]
)
def test_qsharp_programs_run(workspace: Workspace, target: str) -> None:
    qsharp = pytest.importorskip("qdk.qsharp", reason="the extra qir brings qdk")
    qsharp.init(target_profile=qsharp.TargetProfile.Base)
    qsharp.eval(BELL_QSHARP)
    program = qsharp.compile("Bell()")
    job = workspace.get_targets(target).submit(program, shots=50)
    shots = job.get_results_shots()
    assert len(shots) == 50
    assert shots.count((0, 0)) + shots.count((1, 1)) > 40
    histogram = job.get_results_histogram()
    assert sum(entry["count"] for entry in histogram.values()) == 50
