"""The routes of the data plane: each reads a request, calls the workspace, and writes the response.

The rules of sessions and jobs are all in `EmulatedWorkspace`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
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

_Handler = Callable[[web.Request, ApiVersion], Awaitable[web.Response]]


class WorkspaceRoutes:
    """Serves a workspace over HTTP.

    Args:
        endpoint: Returns the base address for links to further pages.
        workspace: Holds the sessions and jobs.
        storage: Holds programs and results.
        catalog: The targets.
        quotas: The limits on consumption.
        faults: The faults to inject.
        max_stored_jobs: How many finished jobs keep their programs and results; None means all.
    """

    def __init__(
        self,
        endpoint: Callable[[], str],
        workspace: EmulatedWorkspace,
        storage: Storage,
        catalog: Catalog,
        quotas: Quotas,
        faults: Faults,
        max_stored_jobs: int | None,
    ) -> None:
        self._endpoint = endpoint
        self._workspace = workspace
        self._storage = storage
        self._catalog = catalog
        self._quotas = quotas
        self._faults = faults
        self._max_stored_jobs = max_stored_jobs
        # State: the jobs whose containers are kept, oldest first.
        self._stored: deque[str] = deque()
        self._documents = Documents(workspace, storage)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the routes of the data plane."""
        handlers: dict[str, _Handler] = {
            "open": self._open_session,
            "session": self._get_session,
            "close": self._close_session,
            "sessions": partial(self._list, self._workspace.sessions),
            "sessionJobs": self._list_session_jobs,
            "sasUri": self._give_sas_uri,
            "submit": self._submit_job,
            "job": self._get_job,
            "update": self._update_job,
            "cancel": self._cancel_job,
            "delete": self._delete_job,
            "jobs": partial(self._list, self._workspace.jobs),
            "topLevelItems": partial(self._list, self._workspace.top_level_items),
            "providerStatus": partial(self._list_all, self._catalog.documents),
            "quotas": partial(self._list_all, self._quotas.documents),
        }
        for name, (verb, path) in ROUTES.items():
            router.add_route(verb, path, _with_version(handlers[name]), name=name)

    # Sessions.

    async def _open_session(self, request: web.Request, version: ApiVersion) -> web.Response:
        document = await read_json(request)
        session_request = read_session(_item_id(request), document)
        self._catalog.check(session_request.provider, session_request.target)
        session = await self._workspace.open_session(session_request)
        return self._answer_session(session, version)

    async def _get_session(self, request: web.Request, version: ApiVersion) -> web.Response:
        session = await self._workspace.get_session(_item_id(request))
        return self._answer_session(session, version)

    async def _close_session(self, request: web.Request, version: ApiVersion) -> web.Response:
        session = await self._workspace.close_session(_item_id(request))
        return self._answer_session(session, version)

    # Jobs.

    async def _give_sas_uri(self, request: web.Request, version: ApiVersion) -> web.Response:
        container, blob = read_blob_details(await read_json(request))
        if version.is_of_2026:
            await self._storage.create_container(container)
        if blob:
            uri = self._storage.blob_sas_uri(container, blob, "rcw")
        else:
            uri = self._storage.container_sas_uri(container)
        return json_response({"sasUri": uri})

    async def _submit_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job_request = read_job(_item_id(request), await read_json(request), self._storage)
        self._catalog.check(job_request.payload.provider, job_request.target)
        self._quotas.check(self._catalog.provider(job_request.target))
        job_request = await self._disturb(job_request)
        job = await self._workspace.submit_job(job_request)
        await self._store_no_more(job_request)
        fault: Fault | None = job_request.payload.fault
        if fault is not None and fault.job == "cancel":
            await self._workspace.cancel_job(job.id)
        return self._answer_job(job, JobView.PUT, version)

    async def _store_no_more(self, request: JobRequest) -> None:
        """Drops the containers of the oldest jobs, if there are too many with that of this job.

        Only those named `job-ID`, as the SDK names a job's own container, and only once the job has
        finished. The job itself stays in the lists.
        """
        most = self._max_stored_jobs
        if most is None or request.payload.container != f"job-{request.id}":
            return
        self._stored.append(request.id)
        for _ in range(len(self._stored) - most):
            job_id = self._stored.popleft()
            is_finished = True
            # A job that was deleted or dropped has finished too.
            with suppress(ServiceError):
                is_finished = (await self._workspace.get_job(job_id)).is_final
            if is_finished:
                await self._storage.drop(f"job-{job_id}")
            else:
                self._stored.append(job_id)

    async def _get_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job = await self._workspace.get_job(_item_id(request))
        return self._answer_job(job, JobView.GET, version)

    async def _update_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        document = await read_json(request)
        job = await self._workspace.update_job(
            _item_id(request),
            name=read_text(document, "name", default="") or None,
            priority=read_priority(document),
            tags=read_tags(document) if document.get("tags") is not None else None,
        )
        return json_response(self._documents.update(job))

    async def _cancel_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job = await self._workspace.cancel_job(_item_id(request))
        return self._answer_job(job, JobView.GET, version)

    async def _delete_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        if version.deletes_jobs:
            await self._workspace.delete_job(_item_id(request))
        else:
            await self._workspace.cancel_job(_item_id(request))
        return web.Response(status=204)

    # Lists.

    async def _list(
        self,
        items: Callable[[], Sequence[Session | Job]],
        request: web.Request,
        version: ApiVersion,
    ) -> web.Response:
        await self._workspace.settle()
        return self._answer_page(request, items(), version)

    async def _list_session_jobs(self, request: web.Request, version: ApiVersion) -> web.Response:
        session_id = _item_id(request)
        await self._workspace.settle(session_id)
        jobs = self._workspace.jobs(session_id)
        return self._answer_page(request, jobs, version, newest_first=version.is_of_2025)

    async def _list_all(
        self, documents: Callable[[], list[Any]], request: web.Request, version: ApiVersion
    ) -> web.Response:
        return json_response({"value": documents(), "nextLink": None})

    # Answers.

    def _answer_session(self, session: Session, version: ApiVersion) -> web.Response:
        return json_response(self._documents.session(session, version))

    def _answer_job(self, job: Job, view: JobView, version: ApiVersion) -> web.Response:
        return json_response(self._documents.job(job, view, version))

    def _answer_page(
        self,
        request: web.Request,
        items: Sequence[Session | Job],
        version: ApiVersion,
        *,
        newest_first: bool = False,
    ) -> web.Response:
        query = parse_query(request.query)
        page, has_more = select(items, query, self._documents.field, newest_first=newest_first)
        link = None
        if has_more:
            path = request.rel_url.raw_path
            link = f"{self._endpoint()}{path}?{query.next_query(version.name)}"
        return json_response({"value": self._documents.listed(page, version), "nextLink": link})

    # Faults.

    async def _disturb(self, request: JobRequest) -> JobRequest:
        """Applies the pending faults to the job and its session."""
        if request.session_id is not None:
            found = self._faults.take_session(request.target)
            if found is not None and found.session is not None:
                end = SessionStatus(found.session)
                await self._workspace.break_off_session(request.session_id, end)
        fault = self._faults.take_job(request.target)
        return replace(request, payload=replace(request.payload, fault=fault))


def _with_version(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        return await handler(request, ApiVersion.parse(request.query.get("api-version")))

    return serve


def _item_id(request: web.Request) -> str:
    return read_item_id(request.match_info["id"])
