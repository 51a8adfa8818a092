"""The routes of the data plane: each reads a request, asks the workspace, and writes the answer.

No rule of sessions or jobs is here: `LocalWorkspace` has them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from cirq_azure_sessions.emulator.api_error import ApiError
from cirq_azure_sessions.emulator.api_version import ApiVersion
from cirq_azure_sessions.emulator.catalog import UNAVAILABLE, Catalog
from cirq_azure_sessions.emulator.query import ListQuery, parse_query, select
from cirq_azure_sessions.emulator.reading import (
    read_blob_details,
    read_item_id,
    read_job,
    read_json,
    read_session,
    read_tags,
    read_text,
)
from cirq_azure_sessions.emulator.responses import json_response
from cirq_azure_sessions.emulator.route_names import route_name
from cirq_azure_sessions.emulator.storage import Storage
from cirq_azure_sessions.emulator.wire import (
    JobView,
    SessionNotes,
    job_document,
    session_document,
)
from cirq_azure_sessions.local_workspace import LocalWorkspace
from cirq_azure_sessions.model import Job, Session

__all__ = ["WorkspaceRoutes"]

_Handler = Callable[[web.Request, ApiVersion], Awaitable[web.Response]]

_SESSION_FIELDS: dict[str, Callable[[Session], Any]] = {
    "Name": lambda session: session.name,
    "ItemType": lambda session: "Session",
    "JobType": lambda session: "",
    "Target": lambda session: session.target,
    "State": lambda session: session.status.value,
    "CreationTime": lambda session: session.creation_time,
}
_JOB_FIELDS: dict[str, Callable[[Job], Any]] = {
    "Name": lambda job: job.name,
    "ItemType": lambda job: "Job",
    "JobType": lambda job: "QuantumComputing",
    "Target": lambda job: job.target,
    "State": lambda job: job.status.value,
    "CreationTime": lambda job: job.creation_time,
}


class WorkspaceRoutes:
    """Serves a workspace over HTTP.

    Lives on the server's event loop, and needs no lock.

    Args:
        workspace: Holds the sessions and jobs.
        storage: Where programs and results lie.
        catalog: The targets that there are.
    """

    def __init__(self, workspace: LocalWorkspace, storage: Storage, catalog: Catalog) -> None:
        self._workspace = workspace
        self._storage = storage
        self._catalog = catalog
        # State: what the workspace need not know of each session.
        self._notes: dict[str, SessionNotes] = {}
        self._handlers: dict[str, _Handler] = {
            "open": self._open_session,
            "session": self._get_session,
            "close": self._close_session,
            "sessions": self._list_sessions,
            "sessionJobs": self._list_session_jobs,
            "sasUri": self._give_sas_uri,
            "submit": self._submit_job,
            "job": self._get_job,
            "update": self._update_job,
            "cancel": self._cancel_job,
            "delete": self._delete_job,
            "jobs": self._list_jobs,
            "providerStatus": self._list_providers,
        }

    async def serve(self, request: web.Request) -> web.Response:
        """Answers any request of the data plane.

        Raises:
            ApiError: If it is refused.
        """
        handler = self._handlers.get(route_name(request.method, request.path))
        if handler is None:
            raise ApiError(404, "NotFound", "There is no such route.")
        return await handler(request, ApiVersion.parse(request.query.get("api-version")))

    # Sessions.

    async def _open_session(self, request: web.Request, version: ApiVersion) -> web.Response:
        document = await read_json(request)
        session_request = read_session(_item_id(request), document)
        notes = SessionNotes(
            provider=read_text(document, "providerId").lower(),
            priority=read_text(document, "priority", default="") or None,
            tags=read_tags(document),
        )
        self._check_target(session_request.target)
        session = await self._workspace.open_session(session_request)
        self._notes.setdefault(session.id, notes)
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
        if version.makes_containers:
            await self._storage.create_container(container)
        if blob:
            uri = self._storage.blob_sas_uri(container, blob, "rcw")
        else:
            uri = self._storage.container_sas_uri(container)
        return json_response({"sasUri": uri})

    async def _submit_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job_request = read_job(_item_id(request), await read_json(request), self._storage)
        self._check_target(job_request.target)
        job = await self._workspace.submit_job(job_request)
        return self._answer_job(job, JobView.PUT, version)

    async def _get_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job = await self._workspace.get_job(_item_id(request))
        return self._answer_job(job, JobView.GET, version)

    async def _update_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        document = await read_json(request)
        job = await self._workspace.update_job(
            _item_id(request),
            name=read_text(document, "name", default="") or None,
            priority=read_text(document, "priority", default="") or None,
            tags=read_tags(document) if document.get("tags") is not None else None,
        )
        return self._answer_job(job, JobView.PUT, version)

    async def _cancel_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        job = await self._workspace.cancel_job(_item_id(request))
        return self._answer_job(job, JobView.GET, version)

    async def _delete_job(self, request: web.Request, version: ApiVersion) -> web.Response:
        await self._workspace.delete_job(_item_id(request))
        return web.Response(status=204)

    # Lists.

    async def _list_sessions(self, request: web.Request, version: ApiVersion) -> web.Response:
        query = parse_query(request.query)
        await self._workspace.settle()
        page, has_more = select(self._workspace.sessions(), query, self._read_session_field)
        documents = [self._session_document(session, version) for session in page]
        return _answer_page(request, query, documents, has_more, version)

    async def _list_session_jobs(self, request: web.Request, version: ApiVersion) -> web.Response:
        query, session_id = parse_query(request.query), _item_id(request)
        await self._workspace.settle(session_id)
        jobs = self._workspace.jobs(session_id)
        newest_first = version.lists_newest_first
        page, has_more = select(jobs, query, self._read_job_field, newest_first=newest_first)
        documents = [self._job_document(job, JobView.LIST, version) for job in page]
        return _answer_page(request, query, documents, has_more, version)

    async def _list_jobs(self, request: web.Request, version: ApiVersion) -> web.Response:
        query = parse_query(request.query)
        await self._workspace.settle()
        page, has_more = select(self._workspace.jobs(), query, self._read_job_field)
        documents = [self._job_document(job, JobView.LIST, version) for job in page]
        return _answer_page(request, query, documents, has_more, version)

    async def _list_providers(self, request: web.Request, version: ApiVersion) -> web.Response:
        return json_response({"value": self._catalog.documents(), "nextLink": None})

    # Answers.

    def _answer_session(self, session: Session, version: ApiVersion) -> web.Response:
        return json_response(self._session_document(session, version))

    def _answer_job(self, job: Job, view: JobView, version: ApiVersion) -> web.Response:
        return json_response(self._job_document(job, view, version))

    def _session_document(self, session: Session, version: ApiVersion) -> Mapping[str, Any]:
        return session_document(session, self._notes[session.id], version)

    def _job_document(self, job: Job, view: JobView, version: ApiVersion) -> Mapping[str, Any]:
        details = self._workspace.job_details(job.id)
        return job_document(job, details, self._storage, view, version)

    # Fields of items, by the names that filters give them.

    def _read_session_field(self, session: Session, field: str) -> Any:
        if field == "ProviderId":
            return self._notes[session.id].provider
        return _SESSION_FIELDS[field](session)

    def _read_job_field(self, job: Job, field: str) -> Any:
        if field == "ProviderId":
            return self._workspace.job_details(job.id).request.payload.provider
        return _JOB_FIELDS[field](job)

    def _check_target(self, target: str) -> None:
        availability = self._catalog.availability(target)
        if availability is None:
            raise ApiError(
                400, "InvalidJobDefinition", "The target does not exist in this workspace."
            )
        if availability == UNAVAILABLE:
            raise ApiError(
                400, "InvalidJobDefinition", "The target is unavailable and takes no jobs now."
            )


def _item_id(request: web.Request) -> str:
    """The id in `.../sessions/ID/jobs`, `.../jobs/ID:cancel` and their like."""
    segments = request.path.rstrip("/").split("/")
    return read_item_id(segments[10].partition(":")[0])


def _answer_page(
    request: web.Request,
    query: ListQuery,
    documents: Sequence[Mapping[str, Any]],
    has_more: bool,
    version: ApiVersion,
) -> web.Response:
    here = request.url.with_query(None)
    link = f"{here}?{query.next_query(version.name)}" if has_more else None
    return json_response({"value": documents, "nextLink": link})
