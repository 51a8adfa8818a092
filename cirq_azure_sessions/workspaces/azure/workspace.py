"""The verbs of a workspace as requests to Azure Quantum."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from azure.quantum import Workspace

from cirq_azure_sessions.clock import Clock, SystemClock
from cirq_azure_sessions.errors import ServiceError, SessionNotAvailable, UnsupportedTarget
from cirq_azure_sessions.model import (
    Job,
    JobRequest,
    JobStatus,
    Quota,
    Session,
    SessionRequest,
    TargetStatus,
)
from cirq_azure_sessions.options import checked
from cirq_azure_sessions.pickling import PickledAsRecipe
from cirq_azure_sessions.spelling import did_you_mean
from cirq_azure_sessions.workspaces.azure import documents
from cirq_azure_sessions.workspaces.azure.http import HttpClient
from cirq_azure_sessions.workspaces.azure.storage import (
    LinkedStorage,
    OwnStorage,
    SignedUrl,
    Storage,
    create_container,
)
from cirq_azure_sessions.workspaces.base import JOBS_PER_PAGE
from cirq_azure_sessions.workspaces.filters import ANY, ItemFilter

__all__ = ["AzureWorkspace"]

T = TypeVar("T")
Item = TypeVar("Item", Session, Job)

_INPUT_BLOB = "inputData"
# The content types that the SDK's targets give to their inputs.
_CONTENT_TYPES = {
    "ionq.circuit.v1": "application/json",
    "honeywell.openqasm.v1": "application/qasm",
    "qir.v1": "qir.v1",
}
_OTHER_CONTENT_TYPE = "application/json"

# The SDK's query for the first page of a list.
_FIRST_PAGE = {"skip": "0", "top": str(JOBS_PER_PAGE)}
_NEWEST_FIRST = {"orderby": "CreationTime desc"}

# Statuses that may mean an unknown target or provider; none was recorded.
_REFUSED = (400, 404)
# Statuses that may mean that there is nothing left to close or cancel.
_TOO_LATE = (400, 409)
# Statuses for a list whose filter, order or page the service does not support.
_LIST_REFUSED = (400, 403)
# Lists that go on after this many pages, enough for a million jobs, or empty pages have no end.
_MAX_PAGES = 10_000
_MAX_EMPTY_PAGES = 100
# Storage's statuses for a signature that has expired or is not accepted.
_BAD_SIGNATURE = (401, 403)


class AzureWorkspace(PickledAsRecipe):
    """An Azure Quantum workspace as a `WorkspacePort`.

    It sends requests over connections of its own, and does not change the SDK's `Workspace`. A
    connection is opened when a request needs one, reused by those that follow, and closed a minute
    after the last. A job takes four requests: a signature, the upload, the submission and the
    download of its result.

    Attributes:
        announces_ends: False: the service has to be polled.

    Args:
        workspace: The SDK's workspace, with its credential.
        clock: The clock for waiting, and for the expiry of signatures.
        max_connections: The maximum number of connections at a time, to the service and its storage
            together.
        read_timeout: Seconds without a byte after which a response counts as lost.
        max_result_bytes: The maximum size of a job's result. By default it follows from the job's
            shots and bits, so that no genuine result is too large and endless garbage does no harm.
            A refused result can still be fetched with another limit, such as `math.inf`.

    Raises:
        TypeError: If `workspace` is something else.
        ValueError: If its storage connection string has no key.
    """

    announces_ends = False

    @checked()
    def __init__(
        self,
        workspace: Workspace,
        *,
        clock: Clock | None = None,
        max_connections: int = 100,
        read_timeout: float = 20.0,
        max_result_bytes: float | None = None,
    ) -> None:
        if not isinstance(workspace, Workspace):
            raise TypeError(
                f"workspace must be an azure.quantum.Workspace, not {type(workspace).__name__}."
            )
        self._workspace = workspace
        self._clock: Clock = clock or SystemClock()
        self._client = HttpClient(
            workspace,
            clock=self._clock,
            max_connections=max_connections,
            read_timeout=read_timeout,
        )
        self._read_timeout = read_timeout
        self._max_result_bytes = max_result_bytes
        self._storage: Storage = (
            LinkedStorage(self._client)
            if workspace.storage is None
            else OwnStorage(self._client, workspace.storage, self._clock)
        )
        self._read_session = partial(documents.read_session, workspace)
        self._read_job = partial(documents.read_job, workspace)
        # State: the provider of each target in the service's latest list. Accessed on one event
        # loop.
        self._providers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"AzureWorkspace({self._workspace.name!r})"

    @property
    def identity(self) -> str:
        """Azure's resource id, in lower case because Azure ignores its case."""
        return (
            f"/subscriptions/{self._workspace.subscription_id}"
            f"/resourcegroups/{self._workspace.resource_group}"
            f"/providers/microsoft.quantum/workspaces/{self._workspace.name}"
        ).lower()

    def takes(self, target: str) -> bool:
        # A misspelled local target must not cause a request to the service.
        return target.partition(".")[0].strip().lower() != "local"

    # Sessions

    async def open_session(self, request: SessionRequest) -> Session:
        try:
            document = documents.session_document(request)
            return await self._put(("sessions", request.id), self._read_session, document)
        except ServiceError as error:
            # The id is ours alone, so it is our own earlier request that has arrived.
            if error.status_code != 409 and not error.is_unreadable:
                raise
        return await self.get_session(request.id)

    async def get_session(self, session_id: str) -> Session:
        read = _read_as(self._read_session, id=session_id)
        return await self._client.ask("GET", ("sessions", session_id), read)

    async def close_session(self, session_id: str) -> Session:
        try:
            path = ("sessions", f"{session_id}:close")
            read = _read_as(self._read_session, id=session_id)
            return await self._client.ask("POST", path, read)
        except ServiceError as error:
            if error.status_code not in _TOO_LATE and not error.is_unreadable:
                raise
            session = await self.get_session(session_id)
            if session.is_open:
                raise
            return session

    def list_sessions(self, where: ItemFilter = ANY) -> AsyncIterator[Session]:
        return where.apply(self._newest_first(("sessions",), self._read_session, where))

    # Jobs

    async def store_input(self, request: JobRequest) -> SignedUrl:
        container = await self._storage.open_container(f"job-{request.id}")
        headers = {
            "Content-Type": "application/octet-stream",
            "If-None-Match": "*",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-blob-content-type": _CONTENT_TYPES.get(request.input_format, _OTHER_CONTENT_TYPE),
        }
        for is_first in (True, False):
            url = container.sign(f"{container.url}/{_INPUT_BLOB}")
            try:
                await self._client.store("PUT", url, request.payload, headers)
            except ServiceError as error:
                # An upload is atomic: an existing blob is the whole of an earlier upload.
                if error.code == "BlobAlreadyExists":
                    break
                if is_first and error.is_missing:
                    # Before 2026, API versions leave it to the client to create the container.
                    await create_container(self._client, container.sign(container.url))
                elif is_first and error.status_code in _BAD_SIGNATURE:
                    container = await self._storage.open_container(f"job-{request.id}")
                else:
                    raise
            else:
                break
        return container

    async def submit_job(self, request: JobRequest, stored: SignedUrl) -> Job:
        if self._clock.time() >= stored.renewal:
            stored = await self._storage.open_container(f"job-{request.id}")
        document = documents.job_document(
            request,
            container_uri=stored.sign(stored.url),
            input_uri=f"{stored.url}/{_INPUT_BLOB}",
        )
        try:
            return await self._put(("jobs", request.id), self._read_job, document, repeatable=False)
        except ServiceError as error:
            if documents.says_session_has_ended(error.code, str(error)):
                raise SessionNotAvailable(
                    f"Session {request.session_id} has ended: submit the job in a new one.",
                    session_id=request.session_id,
                ) from None
            # The id is ours alone, so it is our own earlier request that has arrived.
            if error.status_code != 409 and not error.is_unreadable:
                raise
        try:
            return await self.get_job(request.id)
        except ServiceError as error:
            # The service may take a while to show an accepted job.
            if not (error.is_missing or error.is_unreadable):
                raise
        return Job(
            request.id,
            request.target,
            request.name,
            JobStatus.WAITING,
            session_id=request.session_id,
            output_format=request.output_format,
            input_params=request.input_params,
            metadata=request.metadata,
        )

    async def get_job(self, job_id: str, *, wait: float = 0.0) -> Job:
        if wait > 0:
            await self._clock.sleep(wait)
        read = _read_as(self._read_job, id=job_id)
        return await self._client.ask("GET", ("jobs", job_id), read)

    async def list_session_jobs(
        self,
        session_id: str,
        *,
        skip: int = 0,
        top: int = JOBS_PER_PAGE,
        wait: float = 0.0,
        until: Collection[str] = (),
    ) -> Sequence[Job]:
        if wait > 0:
            await self._clock.sleep(wait)
        try:
            jobs, _ = await self._client.ask(
                "GET",
                ("sessions", session_id, "jobs"),
                partial(documents.read_page, self._read_job),
                query={"skip": str(skip), "top": str(top), **_NEWEST_FIRST},
            )
            return jobs
        except ServiceError as error:
            is_useless = error.status_code in _LIST_REFUSED or error.is_unreadable
            if not (is_useless and until):
                raise
        # The awaited jobs can be read one by one.
        found = []
        for job_id in until:
            try:
                found.append(await self.get_job(job_id))
            except ServiceError as error:
                if not (error.is_missing or error.is_unreadable):
                    raise
        return found

    def list_jobs(
        self, where: ItemFilter = ANY, *, session_id: str | None = None
    ) -> AsyncIterator[Job]:
        path = ("jobs",) if session_id is None else ("sessions", session_id, "jobs")
        return where.apply(self._newest_first(path, self._read_job, where))

    async def cancel_job(self, job_id: str) -> Job:
        try:
            await self._client.ask("POST", ("jobs", f"{job_id}:cancel"), _ignore)
        except ServiceError as error:
            if error.status_code not in _TOO_LATE:
                raise
            job = await self.get_job(job_id)
            if not job.is_final:
                raise
            return job
        return await self.get_job(job_id)

    async def update_job(
        self, job_id: str, *, name: str | None, tags: Sequence[str] | None, priority: str | None
    ) -> Job:
        changes = {"name": name, "tags": tags and list(tags), "priority": priority}
        changes = {field: value for field, value in changes.items() if value is not None}
        # The response has only these fields.
        await self._client.ask("PATCH", ("jobs", job_id), _ignore, body=changes)
        return await self.get_job(job_id)

    async def delete_job(self, job_id: str) -> None:
        try:
            await self._client.ask("DELETE", ("jobs", job_id), _ignore)
        except ServiceError as error:
            # An earlier attempt may have arrived.
            if not error.is_missing:
                raise

    async def fetch_output(self, job: Job, stored: SignedUrl | None = None) -> bytes:
        if job.output_uri is None:
            # A job may be unreadable in a list though its own document is not.
            job = await self.get_job(job.id)
        if job.output_uri is None:
            raise ServiceError(
                f"Job {job.id} has no output URI; inspect it in the Azure portal.",
                status_code=404,
            )
        limit = self._max_result_bytes
        download = partial(
            self._client.store,
            "GET",
            max_bytes=documents.max_output_bytes(job) if limit is None else limit,
        )
        if stored and self._clock.time() < stored.renewal and stored.holds(job.output_uri):
            try:
                return await download(stored.sign(job.output_uri))
            except ServiceError as error:
                if error.status_code not in _BAD_SIGNATURE:
                    raise
        return await download(await self._storage.sign_blob(job.output_uri))

    # The workspace

    async def list_targets(self, *, retries: bool = True) -> Sequence[TargetStatus]:
        if retries:
            pages = self._pages(("providerStatus",), documents.read_targets, {})
            listed = [target async for page in pages for targets in page for target in targets]
        else:
            # Further pages, which no recording has, would take further requests.
            page, _ = await self._client.ask(
                "GET",
                ("providerStatus",),
                partial(documents.read_page, documents.read_targets),
                repeatable=False,
                timeout=self._read_timeout,
            )
            listed = [target for targets in page for target in targets]
        self._providers = {target.id: target.provider for target in listed}
        return listed

    async def list_quotas(self) -> Sequence[Quota]:
        pages = self._pages(("quotas",), documents.read_quota, {})
        return [quota async for page in pages for quota in page]

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _put(
        self,
        path: tuple[str, ...],
        read: Callable[[Any], T],
        document: Mapping[str, Any],
        *,
        repeatable: bool = True,
    ) -> T:
        """Puts a session or a job, including the id of its target's provider.

        A provider's id need not be the part before the first dot of its targets' ids: in Azure
        CLI's tests the provider of `msft.sim.ac1000.physical` is `atom-boulder`. Without a list
        that part is the guess, as in the SDK.

        Raises:
            UnsupportedTarget: If the list lacks the target, and the service refuses it.
        """
        target = document["target"]
        known = {name: document[name] for name in ("target", "sessionId") if document.get(name)}
        read = _read_as(read, id=path[1], **known)
        put = partial(self._client.ask, "PUT", path, read, repeatable=repeatable)
        guess, dot, _ = target.partition(".")
        provider = self._providers.get(target, guess if dot else "")
        provider = provider or await self._look_up(target) or guess
        try:
            return await put(body={**document, "providerId": provider})
        except ServiceError as error:
            # The service does not have what it refused, so it may be sent again.
            session_has_ended = documents.says_session_has_ended(error.code, str(error))
            if error.status_code not in _REFUSED or session_has_ended:
                raise
            try:
                listed = await self._look_up(target)
            except ServiceError:
                raise error from None
            if listed is None or listed.lower() == provider.lower():
                raise
        return await put(body={**document, "providerId": listed})

    async def _look_up(self, target: str) -> str | None:
        """The target's provider in the workspace's list of targets; None if the list is empty."""
        if target not in self._providers:
            try:
                await self.list_targets()
            except ServiceError as error:
                # This error is not that of the request that needs the provider.
                if not error.is_unreadable:
                    raise
        if self._providers and target not in self._providers:
            raise UnsupportedTarget(
                f"This workspace has no target {target!r}: `cirq-azure-sessions targets` lists "
                f"its targets.{did_you_mean(target, self._providers)}"
            )
        return self._providers.get(target)

    async def _newest_first(
        self, path: tuple[str, ...], read_item: Callable[[Any], Item], where: ItemFilter
    ) -> AsyncIterator[Item]:
        """The items of a list, filtered as far as the service can."""
        query = {**_FIRST_PAGE, **_NEWEST_FIRST}
        if expression := _filter_expression(where):
            query["filter"] = expression
        listed: set[str] = set()
        oldest = math.inf
        try:
            async for page in self._pages(path, read_item, query):
                # Pages overlap if an item was created in the meantime.
                new: list[Item] = [item for item in page if item.id not in listed]
                times = [oldest, *(each.creation_time for each in new if each.creation_time)]
                if times != sorted(times, reverse=True):
                    break
                oldest = times[-1]
                for item in new:
                    listed.add(item.id)
                    yield item
            else:
                return
        except ServiceError as error:
            if listed or error.status_code not in _LIST_REFUSED:
                raise
        # The service refuses or ignores this filter or order: apply both here.
        everything = self._pages(path, read_item, _FIRST_PAGE)
        items = {item.id: item async for page in everything for item in page}
        for item in sorted(
            items.values(), key=lambda item: item.creation_time or 0.0, reverse=True
        ):
            if item.id not in listed:
                yield item

    async def _pages(
        self,
        path: tuple[str, ...],
        read_item: Callable[[Any], T],
        query: Mapping[str, str],
    ) -> AsyncIterator[Sequence[T]]:
        """The pages of a list, as they are consumed."""
        read = partial(documents.read_page, read_item)
        page: Mapping[str, str] | None = query
        last: Sequence[T] = ()
        asked: set[frozenset[tuple[str, str]]] = set()
        num_empty = 0
        while page is not None:
            asked.add(frozenset(page.items()))
            items, following = await self._client.ask("GET", path, read, query=page)
            # A service may also number its links and ignore them.
            is_repeated = bool(items) and items == last
            if not is_repeated:
                yield items
            num_empty = 0 if items else num_empty + 1
            if following is not None:
                is_repeated |= frozenset(following.items()) in asked
            is_endless = num_empty == _MAX_EMPTY_PAGES or len(asked) == _MAX_PAGES
            if is_repeated or (is_endless and following is not None):
                request = f"GET {'/'.join(path)}"
                message = f"{request} returned pages without end; please report this."
                if is_repeated:
                    message = f"{request} returned the same page twice; please report this."
                raise ServiceError(message, status_code=HTTPStatus.OK)
            page, last = following, items


def _filter_expression(where: ItemFilter) -> str:
    """The filter in the service's language, as the SDK writes it (recorded); empty for none.

    It may match more than the filter itself: a date has no time of day, and a pattern cannot be
    translated.
    """
    terms = []
    if where.name:
        terms.append(f"startswith(Name, {_quoted(where.name)})")
    if where.target is not None and not any(character in where.target for character in "*?["):
        terms.append(f"(Target eq {_quoted(where.target)})")
    if where.statuses:
        states = " or ".join(f"State eq {_quoted(status)}" for status in sorted(where.statuses))
        terms.append(f"({states})")
    if where.created_after is not None and where.created_after > 0:
        date = datetime.fromtimestamp(where.created_after, UTC).date()
        terms.append(f"CreationTime ge {date.isoformat()}")
    return " and ".join(terms)


def _quoted(text: str) -> str:
    """A string of the filter language, with quotes doubled."""
    return "'" + text.replace("'", "''") + "'"


def _read_as(read: Callable[[Any], T], **known: str) -> Callable[[Any], T]:
    """A reader of one item with some known fields, which replace those of the response."""
    return lambda document: read({**document, **known})


def _ignore(document: Any) -> None:
    pass
