"""What lists show of jobs and sessions that go while somebody is looking."""

from __future__ import annotations

import asyncio

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator.program_runner import StoredProgram
from cirq_azure_sessions.emulator.query import parse_query, select
from cirq_azure_sessions.emulator.responses import ApiVersion
from cirq_azure_sessions.emulator.storage import LocalStorage
from cirq_azure_sessions.emulator.wire import Documents
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.model import JobRequest

TARGET = "ionq.simulator"
# More than a filter looks at in one go.
COUNT = 1200


def request(number: int) -> JobRequest:
    program = StoredProgram("ionq", f"job-{number}", "inputData", "", "")
    return JobRequest(str(number), TARGET, "name", program, "", "")


async def list_while_deleting(filter_text: str) -> list[str]:
    """The ids on a page of which the first and the last job are deleted while it is made."""
    clock = ManualClock()
    workspace = EmulatedWorkspace({TARGET: lambda request: None}, clock=clock)
    documents = Documents(workspace, LocalStorage(lambda: "http://127.0.0.1:80", clock))
    for number in range(COUNT):
        await workspace.submit_job(request(number))
    query = parse_query({"filter": filter_text, "orderby": "Name asc"})
    looking = asyncio.ensure_future(select(workspace.jobs(), query, documents.field))
    await asyncio.sleep(0)
    for number in (0, COUNT - 1):
        await workspace.delete_job(str(number))
    page, _ = await looking
    return [document["id"] for document in documents.listed(page, ApiVersion("2026-01-15-preview"))]


def test_a_job_that_is_deleted_while_a_filter_looks_is_left_out() -> None:
    for text in ("(ProviderId eq 'ionq')", "(Target eq 'ionq.simulator')"):
        ids = asyncio.run(list_while_deleting(text))
        assert ids == [str(number) for number in range(1, 100)]
