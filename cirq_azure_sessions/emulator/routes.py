"""The routes of the data plane: each reads a request, calls the workspace, and writes the response.

The rules of sessions and jobs are all in `EmulatedWorkspace`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.billing import Quotas
from cirq_azure_sessions.emulator.catalog import Catalog
from cirq_azure_sessions.emulator.faults import Fault, Faults
from cirq_azure_sessions.emulator.query import parse_query, select
from cirq_azure_sessions.emulator.reading import (
    read_blob_details,
    read_item_id,
    read_job,
    read_json,
    read_priority,
    read_session,
    read_tags,
    read_text,
)
from cirq_azure_sessions.emulator.requests import ROUTES
from cirq_azure_sessions.emulator.responses import ApiVersion, json_response
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.wire import Documents, JobView
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import Job, JobRequest, Session, SessionStatus

__all__ = ["WorkspaceRoutes"]

# Returns the document to answer with, or None for an empty answer.
_Handler = Callable[[web.Request, Documents], Awaitable[Mapping[str, Any] | None]]


@dataclass(eq=False, repr=False)
class WorkspaceRoutes:
    """Serves a workspace over HTTP."""

    # Returns the base address for links to further pages.
    endpoint: Callable[[], str]
    workspace: EmulatedWorkspace
    storage: Storage
    catalog: Catalog
    quotas: Quotas
    faults: Faults
    # How many finished jobs keep their programs and results; None means all.
    max_stored_jobs: int | None

    def __post_init__(self) -> None:
        # State: the jobs whose containers are kept, oldest first.
        self._stored: deque[str] = deque()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes of the data plane."""
        workspace = self.workspace
        handlers: dict[str, _Handler] = {
            "open": self._open_session,
            "session": partial(self._session, workspace.get_session),
            "close": partial(self._session, workspace.close_session),
            "sessions": partial(self._list, workspace.sessions),
            "sessionJobs": self._list_session_jobs,
            "sasUri": self._sas_uri,
            "submit": self._submit_job,
            "job": partial(self._job, workspace.get_job),
            "update": self._update_job,
            "cancel": partial(self._job, workspace.cancel_job),
            "delete": self._delete_job,
            "jobs": partial(self._list, workspace.jobs),
            "topLevelItems": partial(self._list, workspace.top_level_items),
            "providerStatus": partial(self._list_all, self.catalog.documents),
            "quotas": partial(self._list_all, self.quotas.documents),
        }
        for name, (verb, path) in ROUTES.items():
            router.add_route(verb, path, partial(self._serve, handlers[name]), name=name)

    async def _serve(self, handler: _Handler, request: web.Request) -> web.Response:
        version = ApiVersion.parse(request.query.get("api-version"))
        document = await handler(request, Documents(self.workspace, self.storage, version))
        return web.Response(status=204) if document is None else json_response(document)

    # Sessions.

    async def _open_session(self, request: web.Request, documents: Documents) -> Mapping[str, Any]:
        session_request = read_session(_item_id(request), await read_json(request))
        self.catalog.check(session_request.provider, session_request.target)
        return documents.session(await self.workspace.open_session(session_request))

    async def _session(
        self,
        do: Callable[[str], Awaitable[Session]],
        request: web.Request,
        documents: Documents,
    ) -> Mapping[str, Any]:
        return documents.session(await do(_item_id(request)))

    # Jobs.

    async def _sas_uri(self, request: web.Request, documents: Documents) -> Mapping[str, Any]:
        container, blob = read_blob_details(await read_json(request))
        if documents.version.is_of_2026:
            await self.storage.create_container(container)
        if blob:
            uri = self.storage.blob_sas_uri(container, blob, "rcw")
        else:
            uri = self.storage.container_sas_uri(container)
        return {"sasUri": uri}

    async def _submit_job(self, request: web.Request, documents: Documents) -> Mapping[str, Any]:
        job_request = read_job(_item_id(request), await read_json(request), self.storage)
        self.catalog.check(job_request.payload.provider, job_request.target)
        self.quotas.check(job_request.payload.provider)
        job_request = await self._disturb(job_request)
        job = await self.workspace.submit_job(job_request)
        await self._store_no_more(job_request)
        fault: Fault | None = job_request.payload.fault
        if fault is not None and fault.job == "cancel":
            await self.workspace.cancel_job(job.id)
        return documents.job(job, JobView.PUT)

    async def _disturb(self, request: JobRequest) -> JobRequest:
        """Applies the pending faults to the job and its session."""
        if request.session_id is not None:
            found = self.faults.take_session(request.target)
            if found is not None and found.session is not None:
                end = SessionStatus(found.session)
                await self.workspace.break_off_session(request.session_id, end)
        fault = self.faults.take_job(request.target)
        return replace(request, payload=replace(request.payload, fault=fault)) if fault else request

    async def _store_no_more(self, request: JobRequest) -> None:
        """Drops the containers of the oldest jobs, if there are too many with that of this job.

        Only those named `job-ID`, as the SDK names a job's own container, and only once the job has
        finished. The job itself stays in the lists.
        """
        most = self.max_stored_jobs
        if most is None or request.payload.container != f"job-{request.id}":
            return
        self._stored.append(request.id)
        for _ in range(len(self._stored) - most):
            job_id = self._stored.popleft()
            is_finished = True
            # A job that was deleted or dropped has finished too.
            with suppress(ServiceError):
                is_finished = (await self.workspace.get_job(job_id)).is_final
            if is_finished:
                await self.storage.drop(f"job-{job_id}")
            else:
                self._stored.append(job_id)

    async def _job(
        self, do: Callable[[str], Awaitable[Job]], request: web.Request, documents: Documents
    ) -> Mapping[str, Any]:
        return documents.job(await do(_item_id(request)), JobView.GET)

    async def _update_job(self, request: web.Request, documents: Documents) -> Mapping[str, Any]:
        document = await read_json(request)
        job = await self.workspace.update_job(
            _item_id(request),
            name=read_text(document, "name", default="") or None,
            priority=read_priority(document),
            tags=read_tags(document) if document.get("tags") is not None else None,
        )
        return documents.update(job)

    async def _delete_job(self, request: web.Request, documents: Documents) -> None:
        if documents.version.deletes_jobs:
            await self.workspace.delete_job(_item_id(request))
        else:
            await self.workspace.cancel_job(_item_id(request))

    # Lists.

    async def _list(
        self,
        items: Callable[[], Sequence[Session | Job]],
        request: web.Request,
        documents: Documents,
    ) -> Mapping[str, Any]:
        await self.workspace.settle()
        return self._page(request, items(), documents)

    async def _list_session_jobs(
        self, request: web.Request, documents: Documents
    ) -> Mapping[str, Any]:
        session_id = _item_id(request)
        await self.workspace.settle(session_id)
        jobs = self.workspace.jobs(session_id)
        return self._page(request, jobs, documents, newest_first=documents.version.is_of_2025)

    async def _list_all(
        self, entries: Callable[[], list[Any]], request: web.Request, documents: Documents
    ) -> Mapping[str, Any]:
        return {"value": entries(), "nextLink": None}

    def _page(
        self,
        request: web.Request,
        items: Sequence[Session | Job],
        documents: Documents,
        *,
        newest_first: bool = False,
    ) -> Mapping[str, Any]:
        query = parse_query(request.query)
        page, has_more = select(items, query, documents.field, newest_first=newest_first)
        link = None
        if has_more:
            path = request.rel_url.raw_path
            link = f"{self.endpoint()}{path}?{query.next_query(documents.version.name)}"
        return {"value": documents.listed(page), "nextLink": link}


def _item_id(request: web.Request) -> str:
    return read_item_id(request.match_info["id"])
