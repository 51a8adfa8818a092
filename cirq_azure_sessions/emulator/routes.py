"""The routes of the data plane: each reads a request, calls the workspace, and writes the response.

The rules of sessions and jobs are all in `EmulatedWorkspace`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.billing import Quotas
from cirq_azure_sessions.emulator.catalog import Catalog
from cirq_azure_sessions.emulator.faults import Fault, Faults
from cirq_azure_sessions.emulator.query import select
from cirq_azure_sessions.emulator.reading import (
    read_blob_details,
    read_item_id,
    read_job,
    read_json,
    read_session,
    read_update,
)
from cirq_azure_sessions.emulator.requests import ROUTES
from cirq_azure_sessions.emulator.responses import ApiVersion
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.wire import Documents
from cirq_azure_sessions.emulator.workspace import EmulatedWorkspace
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import Job, JobRequest, Session, SessionStatus

__all__ = ["WorkspaceRoutes"]


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
        for name, (verb, path) in ROUTES.items():
            router.add_route(verb, path, partial(self._serve, name), name=name)

    async def _serve(self, name: str, request: web.Request) -> web.Response:
        version = ApiVersion.parse(request.query.get("api-version"))
        document = await self._document(name, request, version)
        return web.Response(status=204) if document is None else web.json_response(document)

    async def _document(
        self, name: str, request: web.Request, version: ApiVersion
    ) -> Mapping[str, Any] | None:
        """Serves the route of this name; returns the document to answer with, if any."""
        workspace, documents = self.workspace, Documents(self.workspace, self.storage, version)
        item_id = read_item_id(request.match_info["id"]) if "id" in request.match_info else ""
        page = partial(self._page, request, documents)
        match name:
            case "job":
                return documents.job(await workspace.get_job(item_id), "get")
            case "submit":
                job = await self._submit_job(item_id, await read_json(request))
                return documents.job(job, "put")
            case "sasUri":
                container, blob = read_blob_details(await read_json(request))
                if version.is_of_2026:
                    await self.storage.create_container(container)
                permissions = "rcw" if blob else None
                return {"sasUri": self.storage.sas_uri(container, blob, permissions)}
            case "close":
                return documents.session(await workspace.close_session(item_id))
            case "open":
                opening = read_session(item_id, await read_json(request))
                self.catalog.check(opening.provider, opening.target)
                return documents.session(await workspace.open_session(opening))
            case "session":
                return documents.session(await workspace.get_session(item_id))
            case "cancel":
                return documents.job(await workspace.cancel_job(item_id), "get")
            case "update":
                changes = read_update(await read_json(request))
                return documents.update(await workspace.update_job(item_id, **changes))
            case "delete":
                remove = workspace.delete_job if version.deletes_jobs else workspace.cancel_job
                await remove(item_id)
                return None
            case "sessions":
                return await page(workspace.sessions)
            case "jobs":
                return await page(workspace.jobs)
            case "topLevelItems":
                return await page(workspace.top_level_items)
            case "sessionJobs":
                jobs = partial(workspace.jobs, item_id)
                return await page(jobs, item_id, newest_first=version.is_of_2025)
            case "providerStatus":
                return {"value": self.catalog.documents(), "nextLink": None}
            case "quotas":
                return {"value": self.quotas.documents(), "nextLink": None}
        raise AssertionError(f"{name} is not in ROUTES.")

    async def _submit_job(self, job_id: str, document: Mapping[str, Any]) -> Job:
        request = read_job(job_id, document, self.storage)
        self.catalog.check(request.payload.provider, request.target)
        self.quotas.check(request.payload.provider)
        request = await self._disturb(request)
        job = await self.workspace.submit_job(request)
        await self._store_no_more(request)
        fault: Fault | None = request.payload.fault
        if fault is not None and fault.job == "cancel":
            await self.workspace.cancel_job(job.id)
        return job

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

    async def _page(
        self,
        request: web.Request,
        documents: Documents,
        items: Callable[[], Sequence[Session | Job]],
        session_id: str | None = None,
        *,
        newest_first: bool = False,
    ) -> Mapping[str, Any]:
        await self.workspace.settle(session_id)
        page, following = select(items(), request.query, documents.field, newest_first=newest_first)
        link = following and f"{self.endpoint()}{request.rel_url.raw_path}?{following}"
        return {"value": documents.listed(page), "nextLink": link}
