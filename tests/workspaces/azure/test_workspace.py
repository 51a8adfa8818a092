"""The verbs of an Azure workspace: which requests they send, and what they make of faults.

The rules that every workspace keeps are in `test_workspace_contract`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.quantum
import pytest
from azure.core.credentials import AzureKeyCredential
from azure_suite import (
    BELL,
    SESSION,
    ScriptedServer,
    answer,
    job_request,
    sdk_workspace_at,
    session_request,
    tell,
    until_over,
)
from odd_answers import OddService

from cirq_azure_sessions.clock import ManualClock
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.model import Job, JobFailurePolicy, JobStatus, SessionStatus
from cirq_azure_sessions.workspaces.azure import AzureWorkspace
from cirq_azure_sessions.workspaces.azure import workspace as workspace_module
from cirq_azure_sessions.workspaces.filters import OPEN, ItemFilter


@pytest.fixture(scope="module")
def shared_server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def server(shared_server: EmulatorServer) -> EmulatorServer:
    shared_server.faults.clear()
    shared_server.requests.clear()
    return shared_server


def asked(server: EmulatorServer) -> dict[str, int]:
    """The requests since the last call, by route."""
    counts = server.requests.by_route
    server.requests.clear()
    return counts


def test_four_requests_bring_a_job_there_and_its_result_back(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()

        stored = await workspace.store_input(request)
        assert asked(server) == {"sasUri": 1, "upload": 1}

        job = await workspace.submit_job(request, stored)
        assert asked(server) == {"submit": 1}

        job = await until_over(workspace, job)
        asked(server)
        output = await workspace.fetch_output(job, stored)
        assert output == b'{"histogram": {"0": 0.5, "3": 0.5}}'
        assert asked(server) == {"download": 1}

    tell(story, server.workspace())


def test_every_other_verb_is_one_request_except_a_cancellation(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        assert asked(server) == {"open": 1}
        await workspace.get_session(session.id)
        assert asked(server) == {"session": 1}
        await workspace.list_session_jobs(session.id)
        assert asked(server) == {"sessionJobs": 1}
        await workspace.close_session(session.id)
        assert asked(server) == {"close": 1}
        await workspace.list_targets()
        assert asked(server) == {"providerStatus": 1}

        request = job_request()
        job = await workspace.submit_job(request, await workspace.store_input(request))
        asked(server)
        await workspace.cancel_job(job.id)
        # As with the SDK, whose cancellation may be answered without a job.
        assert asked(server) == {"cancel": 1, "job": 1}

    tell(story, server.workspace())


def test_a_session_carries_the_name_and_policy_asked_for(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = dataclasses.replace(session_request(), job_failure_policy=JobFailurePolicy.ABORT)
        session = await workspace.open_session(request)
        assert (session.id, session.name) == (request.id, "mine")
        assert session.job_failure_policy is JobFailurePolicy.ABORT
        assert session == await workspace.get_session(session.id)

    tell(story, server.workspace())


def test_handles_are_the_sdks_own_objects_and_work(server: EmulatorServer) -> None:
    sdk_workspace = server.workspace()

    async def story(workspace: AzureWorkspace) -> tuple[Any, Any]:
        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        job = await workspace.submit_job(request, await workspace.store_input(request))
        return session.handle, job.handle

    session, job = tell(story, sdk_workspace)

    assert isinstance(session, azure.quantum.Session)
    assert session.workspace is sdk_workspace
    assert [listed.id for listed in session.list_jobs()] == [job.id]
    job.wait_until_completed(print_progress=False)
    session.close()
    assert session.details.status == "Succeeded"

    assert isinstance(job, azure.quantum.Job)
    assert job.details.session_id == session.id
    job.wait_until_completed(print_progress=False)
    assert job.has_succeeded()
    assert job.get_results() == {"histogram": {"0": 0.5, "3": 0.5}}


def test_the_users_workspace_is_not_changed(server: EmulatorServer) -> None:
    sdk_workspace = server.workspace()
    before = dict(vars(sdk_workspace)), dict(vars(sdk_workspace._connection_params))

    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        await workspace.submit_job(request, await workspace.store_input(request))

    tell(story, sdk_workspace)
    assert before == (vars(sdk_workspace), vars(sdk_workspace._connection_params))


def test_only_an_azure_workspace_is_accepted() -> None:
    with pytest.raises(TypeError, match=r"azure\.quantum\.Workspace, not str"):
        AzureWorkspace("my-workspace")


def test_local_targets_are_not_taken(server: EmulatorServer) -> None:
    workspace = AzureWorkspace(server.workspace())
    assert workspace.takes("ionq.simulator")
    assert workspace.takes("echo-output")
    assert not workspace.takes("local.simulator")


# Targets and providers


def test_a_target_whose_id_does_not_name_its_provider_is_looked_up_once(
    server: EmulatorServer,
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        for _ in range(2):
            session = await workspace.open_session(session_request("echo-quantinuum"))
            assert session.handle.details.provider_id == "microsoft.test.firstparty"
        assert asked(server) == {"providerStatus": 1, "open": 2}

    tell(story, server.workspace())


ATOMS = "msft.sim.ac1000.physical"


@pytest.mark.parametrize("is_listed_first", [False, True])
def test_the_provider_is_that_of_the_services_list(
    is_listed_first: bool, server: EmulatorServer
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        if is_listed_first:
            await workspace.list_targets()
            asked(server)
        session = await workspace.open_session(session_request(ATOMS))
        assert session.handle.details.provider_id == "atom-boulder"
        # What stands before the first dot is guessed once, and refused.
        assert asked(server)["open"] == (1 if is_listed_first else 2)

    tell(story, server.workspace())


def test_a_job_that_names_the_wrong_provider_is_submitted_again_with_the_right_one(
    server: EmulatorServer,
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = dataclasses.replace(job_request(), target=ATOMS, input_format="qir.v1")
        job = await workspace.submit_job(request, await workspace.store_input(request))
        assert job.handle.details.provider_id == "atom-boulder"
        assert asked(server)["submit"] == 2

    tell(story, server.workspace())


def test_refusal_is_raised_if_the_list_is_refused_too(server: EmulatorServer) -> None:
    server.faults.add("open", status=400, message="The first refusal.")
    server.faults.add("providerStatus", status=403)
    with pytest.raises(ServiceError, match="The first refusal"):
        tell(
            lambda workspace: workspace.open_session(session_request("ionq.simulator")),
            server.workspace(),
        )


@pytest.mark.parametrize("target", ["ionq.simulator", "echo-ionq"])
@pytest.mark.parametrize(
    "garbage", ["null", '{"value": []}', '{"value": [{"id": "ionq", "targets": null}]}']
)
def test_a_list_without_targets_says_nothing_about_one(
    server: EmulatorServer, target: str, garbage: str
) -> None:
    server.faults.add("open", status=400, message="The name is odd.")
    server.faults.garble("providerStatus", garbage, times=None)
    with pytest.raises(ServiceError, match="The name is odd"):
        tell(
            lambda workspace: workspace.open_session(session_request(target)),
            server.workspace(),
        )


@pytest.mark.parametrize("target", ["echo-nothing", "ionq.qpu.nothing", "newcomer.qpu"])
def test_a_target_that_no_provider_has_is_named(server: EmulatorServer, target: str) -> None:
    with pytest.raises(UnsupportedTarget, match=f"{target}.*cirq-azure-sessions targets"):
        tell(
            lambda workspace: workspace.open_session(session_request(target)),
            server.workspace(),
        )


def test_refusal_on_an_existing_target_has_the_services_message(
    server: EmulatorServer,
) -> None:
    server.set_availability("qci.machine1", "Unavailable")
    try:
        with pytest.raises(ServiceError, match="takes no jobs now"):
            tell(
                lambda workspace: workspace.open_session(session_request("qci.machine1")),
                server.workspace(),
            )
    finally:
        server.set_availability("qci.machine1", "Available")


def test_targets_have_providers_and_queue_times() -> None:
    with EmulatorServer(realistic=True) as server:
        targets = tell(lambda workspace: workspace.list_targets(), server.workspace())
    by_id = {target.id: target for target in targets}
    assert by_id["ionq.simulator"].provider == "ionq"
    assert by_id["ionq.simulator"].average_queue_time == 3.0
    assert by_id["echo-output"].provider == "Microsoft.Test.FirstParty"


# Lists


def test_sessions_are_listed_newest_first_and_no_further_than_consumed(
    server: EmulatorServer,
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        target = "rigetti.sim.qvm"
        opened = [await workspace.open_session(session_request(target)) for _ in range(120)]
        await workspace.open_session(session_request("ionq.simulator"))
        asked(server)

        listing = workspace.list_sessions(ItemFilter(target=target))
        newest = [await anext(listing) for _ in range(100)]
        assert asked(server) == {"sessions": 1}
        rest = [session async for session in listing]
        assert asked(server) == {"sessions": 1}
        assert [session.id for session in newest + rest] == [
            session.id for session in reversed(opened)
        ]

    tell(story, server.workspace())


def test_quote_in_a_target_does_not_end_the_filter(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> list[str]:
        listing = workspace.list_sessions(ItemFilter(target="x' or Target ne 'y"))
        return [session.id async for session in listing]

    assert tell(story, server.workspace()) == []


def test_open_sessions_of_a_name_cost_one_request_in_a_long_history() -> None:
    async def story(workspace: AzureWorkspace) -> None:
        # The history ended an hour ago: on the service it is only still there.
        for _ in range(500):
            await workspace.open_session(session_request())
        clock.advance(3600.0)
        for name in ("other", "mine"):
            await workspace.open_session(session_request(name=name))
        newest = await workspace.open_session(session_request(name="mine"))
        asked(server)
        where = ItemFilter(target="ionq.simulator", statuses=OPEN, name="mine")
        found = [session.id async for session in workspace.list_sessions(where)]
        assert (found[0], len(found)) == (newest.id, 2)
        assert asked(server) == {"sessions": 1}

    clock = ManualClock()
    with EmulatorServer(clock=clock) as server:
        tell(story, server.workspace(), clock=clock)


def test_filter_is_written_as_recorded() -> None:
    asked_for = ItemFilter(
        target="ionq.simulator",
        statuses=frozenset(["Waiting", "Executing", "Failure(s)"]),
        name="my run",
        created_after=datetime(2024, 4, 1, 13, tzinfo=UTC).timestamp(),
    )

    async def story() -> bytes:
        async with ScriptedServer(answer({"value": [], "nextLink": None})) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            assert [item async for item in workspace.list_sessions(asked_for)] == []
            await workspace.aclose()
            return server.requests[0]

    line = asyncio.run(story()).partition(b"\r\n")[0].decode()
    assert "+" not in line
    query = dict(parse_qsl(urlsplit(line.split()[1]).query))
    assert query["filter"] == (
        "startswith(Name, 'my run') and (Target eq 'ionq.simulator') and (State eq 'Executing' or "
        "State eq 'Failure(s)' or State eq 'Waiting') and CreationTime ge 2024-04-01"
    )
    assert query["orderby"] == "CreationTime desc"


@pytest.mark.parametrize(
    "where",
    [ItemFilter(target="ionq.*"), ItemFilter(created_after=-1e15), ItemFilter(statuses=OPEN)],
    ids=["pattern", "before all dates", "statuses"],
)
def test_filter_is_accepted_by_the_service(server: EmulatorServer, where: ItemFilter) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        asked(server)
        assert (await anext(workspace.list_sessions(where))).id == session.id
        assert asked(server) == {"sessions": 1}

    tell(story, server.workspace())


@pytest.mark.parametrize("status", [400, 403])
def test_refused_filter_falls_back_to_filtering_here(status: int) -> None:
    document = {**SESSION, "status": "Succeeded"}
    old = {**document, "id": "old", "creationTime": "2026-01-01T00:00:00Z"}
    new = {**document, "id": "new", "creationTime": "2026-02-01T00:00:00Z"}
    other = {**document, "id": "other", "name": "other"}

    async def story() -> list[str]:
        refusal = answer({"error": {"code": "InvalidFilter", "message": "No."}}, status)
        page = answer({"value": [old, other, new], "nextLink": None})
        async with ScriptedServer(refusal, page) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            listing = workspace.list_sessions(ItemFilter(name="mine"))
            found = [session.id async for session in listing]
            await workspace.aclose()
            return found

    assert asyncio.run(story()) == ["new", "old"]


def test_list_that_ignores_the_order_is_sorted_here() -> None:
    documents = [
        {**SESSION, "id": f"s{day}", "creationTime": f"2026-01-{day:02}T00:00:00Z"}
        for day in range(1, 6)
    ]

    async def story() -> list[str]:
        page = answer({"value": documents, "nextLink": None})
        async with ScriptedServer(page, page) as server:
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            found = [session.id async for session in workspace.list_sessions(ItemFilter(limit=2))]
            await workspace.aclose()
            return found

    assert asyncio.run(story()) == ["s5", "s4"]


def test_pages_that_overlap_show_every_session_once() -> None:
    documents = [
        {**SESSION, "id": f"s{day}", "creationTime": f"2026-01-{day:02}T00:00:00Z"}
        for day in range(5, 0, -1)
    ]

    async def story() -> list[str]:
        async with ScriptedServer() as server:
            following = f"{server.endpoint}/sessions?skip=3&top=100"
            server.add(
                answer({"value": documents[:3], "nextLink": following}),
                # A session was opened between the pages.
                answer({"value": documents[2:], "nextLink": None}),
            )
            workspace = AzureWorkspace(sdk_workspace_at(server.endpoint))
            found = [session.id async for session in workspace.list_sessions()]
            await workspace.aclose()
            return found

    assert asyncio.run(story()) == ["s5", "s4", "s3", "s2", "s1"]


ENDLESS = {
    "the same page": lambda number: ([SESSION], number),
    "two pages in turn": lambda number: ([{**SESSION, "id": f"s{number % 2}"}], number % 2),
    "empty pages": lambda number: ([], number),
    "two empty pages in turn": lambda number: ([], number % 2),
    "new sessions": lambda number: ([{**SESSION, "id": f"s{number}"}], number),
}


@pytest.mark.parametrize("pages", ENDLESS.values(), ids=ENDLESS)
def test_list_without_end_is_refused(
    pages: Callable[[int], tuple[list[Any], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "_MAX_PAGES", 200)

    async def story(workspace: AzureWorkspace) -> None:
        def answer(route: str, document: Any) -> bytes:
            listed, following = pages(next(numbers))
            return json.dumps({"value": listed, "nextLink": f"?skip={following}"}).encode()

        numbers = itertools.count(1)
        server.spoil = answer
        with pytest.raises(
            ServiceError, match=r"GET sessions returned (the same page twice|pages without end)"
        ):
            async for _ in workspace.list_sessions():
                pass

    with OddService() as server:
        tell(story, server.workspace())


@pytest.mark.parametrize("status", [400, 403])
def test_refused_list_of_jobs_falls_back_to_asking_for_each(
    server: EmulatorServer, status: int
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        await workspace.submit_job(request, await workspace.store_input(request))
        server.faults.add("sessionJobs", status=status, times=2)
        until = [request.id, str(uuid.uuid4())]
        found = await workspace.list_session_jobs(session.id, until=until)
        assert [job.id for job in found] == [request.id]
        with pytest.raises(ServiceError):
            await workspace.list_session_jobs(session.id)

    tell(story, server.workspace())


def test_limit_of_zero_sends_no_request(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        assert [item async for item in workspace.list_jobs(ItemFilter(limit=0))] == []
        assert asked(server) == {}

    tell(story, server.workspace())


def test_the_jobs_of_a_session_come_newest_first_by_the_page(server: EmulatorServer) -> None:
    clock = ManualClock()

    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        requests = [job_request(session.id) for _ in range(3)]
        for request in requests:
            await workspace.submit_job(request, await workspace.store_input(request))
        newest_first = [request.id for request in reversed(requests)]

        page = await workspace.list_session_jobs(session.id, skip=1, wait=7.0)
        assert [job.id for job in page] == newest_first[1:]
        assert clock.monotonic() == 7.0
        listing = workspace.list_jobs(session_id=session.id)
        assert [job.id async for job in listing] == newest_first
        everything = [job.id async for job in workspace.list_jobs()]
        assert everything[:3] == newest_first

    tell(story, server.workspace(), clock=clock)


# What is asked twice


def test_opening_again_under_the_same_id_is_harmless(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = session_request()
        first = await workspace.open_session(request)
        assert (await workspace.open_session(request)).id == first.id

    tell(story, server.workspace())


def test_closing_twice_and_cancelling_a_finished_job_is_harmless(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        job = await workspace.submit_job(request, await workspace.store_input(request))
        await until_over(workspace, job)
        assert (await workspace.cancel_job(job.id)).status is JobStatus.SUCCEEDED
        closed = await workspace.close_session(session.id)
        assert closed.status is SessionStatus.SUCCEEDED
        assert await workspace.close_session(session.id) == closed

    tell(story, server.workspace())


@pytest.mark.parametrize("status", [400, 409])
def test_error_of_closing_twice_reads_the_sessions_status(
    server: EmulatorServer, status: int
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        server.faults.add("close", status=status)
        with pytest.raises(ServiceError, match="close"):
            await workspace.close_session(session.id)
        await workspace.close_session(session.id)
        server.faults.add("close", status=status)
        assert not (await workspace.close_session(session.id)).is_open

    tell(story, server.workspace())


@pytest.mark.parametrize("status", [400, 409])
def test_error_of_a_late_cancellation_reads_the_jobs_status(
    server: EmulatorServer, status: int
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        server.faults.hang_job()
        request = job_request()
        job = await workspace.submit_job(request, await workspace.store_input(request))
        server.faults.add("cancel", status=status)
        with pytest.raises(ServiceError, match="cancel"):
            await workspace.cancel_job(job.id)
        await workspace.cancel_job(job.id)
        job = await until_over(workspace, job)
        server.faults.add("cancel", status=status)
        assert (await workspace.cancel_job(job.id)).is_final

    tell(story, server.workspace())


# A job is submitted once


def test_a_submission_to_an_ended_session_is_refused(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        stored = await workspace.store_input(request)
        server.faults.time_out_session()
        with pytest.raises(SessionNotAvailable, match=session.id) as refusal:
            await workspace.submit_job(request, stored)
        assert refusal.value.session_id == session.id

        # The same id, elsewhere: the service never had it.
        with pytest.raises(ServiceError) as missing:
            await workspace.get_job(request.id)
        assert missing.value.is_missing
        elsewhere = await workspace.open_session(session_request())
        again = dataclasses.replace(request, session_id=elsewhere.id)
        assert (await workspace.submit_job(again, stored)).session_id == elsewhere.id

    tell(story, server.workspace())


def test_refusals_for_too_many_jobs_are_left_to_the_caller(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        stored = await workspace.store_input(request)
        server.faults.add("submit", status=429, retry_after=7)
        with pytest.raises(ServiceError) as refusal:
            await workspace.submit_job(request, stored)
        assert refusal.value.is_throttled
        assert not refusal.value.is_ambiguous
        assert refusal.value.retry_after == 7.0
        assert server.requests["submit"] == 1

    tell(story, server.workspace())


Harm = Callable[[EmulatorServer, str], None]

FAULTS: dict[str, Harm] = {
    "429 with Retry-After": lambda server, route: server.faults.add(
        route, status=429, retry_after=3
    ),
    "429": lambda server, route: server.faults.add(route, status=429),
    "408": lambda server, route: server.faults.add(route, status=408),
    "500": lambda server, route: server.faults.add(route, status=500),
    "503": lambda server, route: server.faults.add(route, status=503),
    "503 after it took effect": lambda server, route: server.faults.add(
        route, status=503, after=True
    ),
    "reset": lambda server, route: server.faults.reset(route),
    "reset after it took effect": lambda server, route: server.faults.reset(route, after=True),
    "garbage": lambda server, route: server.faults.garble(route),
    "garbage after it took effect": lambda server, route: server.faults.garble(route, after=True),
}


@pytest.mark.parametrize("fault", [name for name in FAULTS if not name.startswith("429")])
def test_a_submission_without_an_answer_is_ambiguous_and_not_repeated(
    server: EmulatorServer, fault: str
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        # A connection that has been used before is what other clients repeat a PUT on.
        request = job_request()
        stored = await workspace.store_input(request)
        FAULTS[fault](server, "submit")
        with pytest.raises(ServiceError) as lost:
            await workspace.submit_job(request, stored)
        assert lost.value.is_ambiguous
        assert server.requests["submit"] == 1

        if fault.endswith("after it took effect"):
            assert (await workspace.get_job(request.id)).id == request.id
        else:
            with pytest.raises(ServiceError) as missing:
                await workspace.get_job(request.id)
            assert missing.value.is_missing

    tell(story, server.workspace())


def test_a_submission_that_has_arrived_before_is_recognised(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        stored = await workspace.store_input(request)
        await workspace.submit_job(request, stored)
        server.faults.add("submit", status=409, code="Conflict")
        assert (await workspace.submit_job(request, stored)).id == request.id

    tell(story, server.workspace())


# Everything else is asked again

Verb = Callable[[AzureWorkspace, Job], Awaitable[Any]]

VERBS: dict[str, tuple[str, Verb]] = {
    "open_session": ("open", lambda workspace, job: workspace.open_session(session_request())),
    "get_session": ("session", lambda workspace, job: workspace.get_session(job.session_id)),
    "close_session": ("close", lambda workspace, job: workspace.close_session(job.session_id)),
    "store_input, signature": (
        "sasUri",
        lambda workspace, job: workspace.store_input(job_request()),
    ),
    "store_input, upload": ("upload", lambda workspace, job: workspace.store_input(job_request())),
    "get_job": ("job", lambda workspace, job: workspace.get_job(job.id)),
    "list_session_jobs": (
        "sessionJobs",
        lambda workspace, job: workspace.list_session_jobs(job.session_id),
    ),
    "cancel_job": ("cancel", lambda workspace, job: workspace.cancel_job(job.id)),
    "fetch_output": ("download", lambda workspace, job: workspace.fetch_output(job)),
    "list_targets": ("providerStatus", lambda workspace, job: workspace.list_targets()),
}


@pytest.fixture(scope="module")
def job(shared_server: EmulatorServer) -> Job:
    """A job that is over, in a session that is open."""

    async def story(workspace: AzureWorkspace) -> Job:
        session = await workspace.open_session(session_request())
        request = job_request(session.id)
        job = await workspace.submit_job(request, await workspace.store_input(request))
        return await until_over(workspace, job)

    return tell(story, shared_server.workspace())


# Of these answers only the status counts, so there is nothing to be garbled.
WITHOUT_WORDS = ("download", "cancel")


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        (verb, fault)
        for verb, (route, _) in VERBS.items()
        for fault in FAULTS
        if not (route in WITHOUT_WORDS and fault.startswith("garbage"))
    ],
)
def test_one_fault_costs_seconds_at_most(
    server: EmulatorServer, job: Job, verb: str, fault: str
) -> None:
    route, call = VERBS[verb]
    clock = ManualClock()
    FAULTS[fault](server, route)
    tell(lambda workspace: call(workspace, job), server.workspace(), clock=clock)
    assert server.requests[route] == 2
    pause = 3.0 if fault == "429 with Retry-After" else 0.2
    # After a 429 answer the next request of the verb is sent a little later.
    assert pause <= clock.monotonic() <= pause + 0.1


@pytest.mark.parametrize("verb", VERBS)
def test_a_lasting_fault_is_reported_after_seconds(
    server: EmulatorServer, job: Job, verb: str
) -> None:
    route, call = VERBS[verb]
    clock = ManualClock()
    server.faults.add(route, status=503, times=None)
    with pytest.raises(ServiceError, match="try again later") as failure:
        tell(lambda workspace: call(workspace, job), server.workspace(), clock=clock)
    assert failure.value.status_code == 503
    assert server.requests[route] == 6
    assert 3.0 < clock.monotonic() < 6.5


def test_retry_after_is_obeyed(server: EmulatorServer, job: Job) -> None:
    clock = ManualClock()
    server.faults.add("job", status=429, retry_after=2, times=30)
    tell(lambda workspace: workspace.get_job(job.id), server.workspace(), clock=clock)
    # At least what it asked for, and more where it asks again and again.
    assert 60.0 <= clock.monotonic() <= 240.0


def test_an_answer_that_does_not_come_is_not_waited_for_long() -> None:
    with EmulatorServer() as server:
        server.faults.add("providerStatus", delay=3600)
        assert tell(
            lambda workspace: workspace.list_targets(), server.workspace(), read_timeout=0.1
        )
        assert server.requests["providerStatus"] == 2
        server.clock.advance(3600)


# Storage


def test_an_upload_that_was_stored_but_not_acknowledged_is_recognised(
    server: EmulatorServer,
) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        server.faults.reset("upload", after=True)
        stored = await workspace.store_input(request)
        job = await workspace.submit_job(request, stored)
        assert (await until_over(workspace, job)).status is JobStatus.SUCCEEDED

    tell(story, server.workspace())


def test_storing_again_under_the_same_id_is_harmless(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        await workspace.store_input(request)
        await workspace.store_input(request)

    tell(story, server.workspace())


def test_an_older_service_leaves_the_container_to_the_client(server: EmulatorServer) -> None:
    sdk_workspace = sdk_workspace_at(
        server.endpoint, AzureKeyCredential(server.key), api_version="2025-12-01-preview"
    )

    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        stored = await workspace.store_input(request)
        assert asked(server) == {"sasUri": 1, "upload": 2, "container": 1}
        job = await workspace.submit_job(request, stored)
        assert (await until_over(workspace, job)).status is JobStatus.SUCCEEDED

    tell(story, sdk_workspace)


def test_a_refused_signature_is_renewed_once_for_an_upload(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        server.faults.expire_sas(f"job-{request.id}")
        await workspace.store_input(request)
        assert asked(server) == {"sasUri": 2, "upload": 2}

        server.faults.expire_sas("job-*", times=None)
        with pytest.raises(ServiceError, match="AuthenticationFailed") as failure:
            await workspace.store_input(job_request())
        assert failure.value.status_code == 403
        assert asked(server) == {"sasUri": 2, "upload": 2}

    tell(story, server.workspace())


def test_a_refused_signature_is_renewed_for_a_download(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        server.faults.expire_sas(f"job-{request.id}")
        stored = await workspace._storage.open_container(f"job-{request.id}")
        good = await workspace.store_input(request)
        job = await until_over(workspace, await workspace.submit_job(request, good))
        asked(server)
        assert await workspace.fetch_output(job, stored)
        assert asked(server) == {"sasUri": 1, "download": 2}

    tell(story, server.workspace())


def test_a_signature_with_less_than_five_minutes_left_is_renewed_first(
    server: EmulatorServer,
) -> None:
    clock = ManualClock(server.clock.time())

    async def story(workspace: AzureWorkspace) -> None:
        request = job_request()
        server.faults.expire_sas(f"job-{request.id}", announced=290)
        stored = await workspace.store_input(request)
        asked(server)
        job = await workspace.submit_job(request, stored)
        assert asked(server) == {"sasUri": 1, "submit": 1}
        job = await until_over(workspace, job)
        asked(server)
        assert await workspace.fetch_output(job, stored)
        assert asked(server) == {"sasUri": 1, "download": 1}

    tell(story, server.workspace(), clock=clock)


def test_a_result_is_fetched_without_what_store_input_returned(
    server: EmulatorServer, job: Job
) -> None:
    output = tell(lambda workspace: workspace.fetch_output(job), server.workspace())
    assert output == b'{"histogram": {"0": 0.5, "3": 0.5}}'
    assert asked(server) == {"sasUri": 1, "download": 1}


def test_nonexistent_result_is_missing(server: EmulatorServer, job: Job) -> None:
    elsewhere = f"{server.endpoint}/storage/job-{uuid.uuid4()}/rawOutputData"
    lost = dataclasses.replace(job, output_uri=elsewhere)
    with pytest.raises(ServiceError) as missing:
        tell(lambda workspace: workspace.fetch_output(lost), server.workspace())
    assert missing.value.is_missing


def test_missing_result_address_in_a_list_is_read_from_the_job(
    server: EmulatorServer, job: Job
) -> None:
    listed = dataclasses.replace(job, output_uri=None)
    output = tell(lambda workspace: workspace.fetch_output(listed), server.workspace())
    assert b"histogram" in output


def test_the_input_is_stored_as_the_sdk_stores_it(server: EmulatorServer) -> None:
    async def story(workspace: AzureWorkspace) -> Any:
        request = job_request()
        return (await workspace.submit_job(request, await workspace.store_input(request))).handle

    handle = tell(story, server.workspace())
    assert handle.download_data(handle.details.input_data_uri) == BELL
    properties = handle.download_blob_properties(handle.details.input_data_uri)
    assert properties.name == "inputData"
    assert properties.content_settings.content_type == "application/json"


# Connections


def test_connections_are_bounded_and_kept_for_the_next_sweep(server: EmulatorServer) -> None:
    async def sweep(workspace: AzureWorkspace) -> None:
        await asyncio.gather(*(workspace.store_input(job_request()) for _ in range(50)))

    async def story(workspace: AzureWorkspace) -> None:
        await sweep(workspace)
        assert 0 < server.requests.connections <= 8
        server.requests.clear()
        await sweep(workspace)
        assert server.requests.connections == 0

    tell(story, server.workspace(), max_connections=8)


def test_a_workspace_goes_on_after_it_was_closed_and_on_another_event_loop(
    server: EmulatorServer, job: Job
) -> None:
    workspace = AzureWorkspace(server.workspace())

    async def story() -> None:
        assert await workspace.get_job(job.id) == job
        await workspace.aclose()
        assert await workspace.get_job(job.id) == job
        await workspace.aclose()
        await workspace.aclose()

    asyncio.run(story())
    asyncio.run(workspace.get_job(job.id))  # not closed, as after a crash
    asyncio.run(story())
