"""What was in the workspace before a recording began: the items that its lists show.

The recordings do not say how these were made, only what became of them. A session that cost
something has run a job, one that failed a job that fails; each session ends when it is said to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from recordings import Exchange, times

from cirq_azure_sessions.workspaces.local import JobPace

NEWEST = "api-version=2025-12-01-preview"

_QASM = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; creg c[1]; h q[0]; measure q[0] -> c[0];'

# provider: a program, its format and that of its result.
_PROGRAMS = {
    "ionq": (
        b'{"qubits": 1, "circuit": [{"gate": "h", "target": 0}]}',
        "ionq.circuit.v1",
        "ionq.quantum-results.v1",
    ),
    "quantinuum": (_QASM, "honeywell.openqasm.v1", "honeywell.quantum-results.v1"),
    "rigetti": (
        b"DECLARE ro BIT[1]\nH 0\nMEASURE 0 ro[0]\n",
        "rigetti.quil.v1",
        "rigetti.quil-results.v1",
    ),
    # Nothing that its jobs cost would show, so only those that failed have to be made.
    "microsoft.test.firstparty": (b"", "qir.v1", "honeywell.qir.v1"),
}


@dataclass(frozen=True)
class Step:
    """One request that made something.

    Attributes:
        time: When, in seconds since the epoch.
        workspace: The workspace's path.
        path: The rest of the path.
        document: The body.
        program: For a job: what it is to run.
        pace: For a job: how long it takes.
    """

    time: float
    workspace: str
    method: str
    path: str
    item_id: str
    document: dict[str, Any] | None = None
    program: bytes | None = field(default=None, repr=False)
    pace: JobPace | None = None


def earlier_steps(exchanges: Sequence[Exchange]) -> list[Step]:
    """The steps in order of time."""
    steps = [step for item, path in _earlier_items(exchanges) for step in _make(item, path)]
    return sorted(steps, key=lambda step: step.time)


def _earlier_items(exchanges: Sequence[Exchange]) -> Iterator[tuple[dict[str, Any], str]]:
    """Each item that a list shows and no request of the recording made, with its workspace."""
    known = {e.path.rpartition("/")[2] for e in exchanges if e.method == "PUT"}
    has_jobs = {job["sessionId"] for e in exchanges for job in e.items() if "sessionId" in job}
    for exchange in exchanges:
        for item in exchange.items():
            if item["id"] not in known:
                known.add(item["id"])
                path = "/".join(exchange.path.split("/")[:9])
                yield {**item, "hasJobs": item["id"] in has_jobs}, path


def _make(item: dict[str, Any], workspace: str) -> Iterator[Step]:
    if item["itemType"] == "Job":
        yield _submit(item, workspace)
        return
    when = times(item)
    begin, end = when["creationTime"], when.get("endExecutionTime", math.inf)
    fields = ("itemType", "name", "providerId", "target", "jobFailurePolicy")
    path = f"/sessions/{item['id']}"
    document = {name: item[name] for name in fields}
    yield Step(begin, workspace, "PUT", path, item["id"], document)
    if not item["hasJobs"] and item["costEstimate"] is not None:
        yield _run_something(item, workspace, begin, JobPace())
    is_aborted = item["status"] == "Failed" and item["jobFailurePolicy"] == "Abort"
    if item["status"] == "Failed":
        pace = JobPace(queue=end - begin if is_aborted else 0.0)
        yield _run_something(item, workspace, begin, pace, program=b"?")
    if item["status"] in ("Succeeded", "Failed") and not is_aborted:
        yield Step(end, workspace, "POST", f"{path}:close", item["id"])


def _run_something(
    session: dict[str, Any],
    workspace: str,
    time: float,
    pace: JobPace,
    program: bytes | None = None,
) -> Step:
    """A job that some session must have run, good or bad."""
    good, input_format, output_format = _PROGRAMS[session["providerId"]]
    job = {
        "id": str(uuid5(NAMESPACE_OID, f"{session['id']} {program!r}")),
        "itemType": "Job",
        "name": "An earlier job",
        "providerId": session["providerId"],
        "target": session["target"],
        "sessionId": session["id"],
        "inputDataFormat": input_format,
        "outputDataFormat": output_format,
    }
    return _job_step(job, workspace, time, program or good, pace)


def _submit(job: dict[str, Any], workspace: str) -> Step:
    """A job that a list shows, made as it says."""
    when = times(job)
    created, begin, end = when["creationTime"], when["beginExecutionTime"], when["endExecutionTime"]
    fields = (
        *("id", "itemType", "name", "providerId", "target", "sessionId", "inputParams"),
        *("inputDataFormat", "outputDataFormat", "metadata"),
    )
    program = _PROGRAMS[job["providerId"]][0]
    document = {name: job[name] for name in fields}
    return _job_step(document, workspace, created, program, JobPace(begin - created, end - begin))


def _job_step(
    job: dict[str, Any], workspace: str, time: float, program: bytes, pace: JobPace
) -> Step:
    container = f"https://mystorage.blob.core.windows.net/job-{job['id']}"
    document = {**job, "containerUri": container}
    return Step(time, workspace, "PUT", f"/jobs/{job['id']}", job["id"], document, program, pace)
